"""Webhooks as the receiver leaves them, and what ingest makes of them."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from otn.crypto import Keyring
from otn.database import Engine, transaction
from otn.intake.balance import Balance
from otn.intake.ingest import ingest_pending
from otn.settings import PageSettings

PAGE = "1001"
NOW = datetime.now(UTC).replace(microsecond=0)


def milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def item(psid: str | None = "2002", at: Any = None, page: str = PAGE, **content: Any) -> dict[str, Any]:
    """One item of ``messaging``; ``at`` is a time, or anything that should stand as timestamp."""
    at = NOW if at is None else at
    event: dict[str, Any] = {"recipient": {"id": page}, "timestamp": at}
    if isinstance(at, datetime):
        event["timestamp"] = milliseconds(at)
    if psid is not None:
        event["sender"] = {"id": psid}
    return event | content


def optin(token: str, payload: str | None = "sale", **rest: Any) -> dict[str, Any]:
    content = {"type": "one_time_notif_req", "payload": payload, "one_time_notif_token": token}
    return item(optin={key: value for key, value in content.items() if value is not None}, **rest)


def message(text: str, mid: str | None = None, **rest: Any) -> dict[str, Any]:
    return item(message={"mid": mid or f"m_{uuid.uuid4().hex}", "text": text}, **rest)


def policy(action: str, reason: str = "", **rest: Any) -> dict[str, Any]:
    return item(psid=None, policy_enforcement={"action": action, "reason": reason}, **rest)


def body(*items: dict[str, Any], page: str = PAGE) -> bytes:
    entry = {"id": page, "time": milliseconds(NOW), "messaging": list(items)}
    return json.dumps({"object": "page", "entry": [entry]}).encode()


@dataclass
class Inbox:
    """The stored webhooks of a test."""

    database: Engine
    keyring: Keyring

    def put(self, *bodies: bytes, day: date | None = None, keyring: Keyring | None = None) -> list[str]:
        ids = [str(uuid.uuid4()) for _ in bodies]
        day = day or NOW.date()
        with transaction(self.database) as conn, conn.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO otn.webhook_event (received_day, id, body) VALUES (%s, %s, %s)",
                [
                    (day, receipt, (keyring or self.keyring).encrypt(raw, "webhook"))
                    for receipt, raw in zip(ids, bodies, strict=True)
                ],
            )
        return ids

    def ingest(self, **options: Any) -> Balance:
        return ingest_pending(self.database, self.keyring, **options)

    def rows(self, statement: str, *parameters: Any) -> list[Any]:
        with transaction(self.database) as conn, conn.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return list(cursor.fetchall()) if cursor.description else []

    def value(self, statement: str, *parameters: Any) -> Any:
        return self.rows(statement, *parameters)[0][0]

    def counts(self) -> dict[str, int]:
        tables = ("subscriber", "token", "event", "topic", "quarantine", "suppression")
        return {table: self.value(f"SELECT count(*) FROM otn.{table}") for table in tables}

    def tokens(self) -> set[str]:
        rows = self.rows("SELECT token_encrypted FROM otn.token")
        return {self.keyring.decrypt(row.token_encrypted, "token").decode() for row in rows}

    def tokens_left(self) -> set[str]:
        rows = self.rows("SELECT token_encrypted FROM otn.token WHERE token_encrypted IS NOT NULL")
        return {self.keyring.decrypt(row.token_encrypted, "token").decode() for row in rows}

    def figures(self) -> list[tuple[int, ...]]:
        return [
            tuple(row)
            for row in self.rows(
                "SELECT events, ingested, duplicate, quarantined FROM otn.webhook_event ORDER BY received_day, id"
            )
        ]


def page_settings(page_id: str = PAGE, connection_id: str = "messenger_default") -> PageSettings:
    return PageSettings(connection_id, "http://127.0.0.1:1", page_id, "token of the page")
