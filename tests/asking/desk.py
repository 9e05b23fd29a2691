"""A page whose people have just written, and short ways to ask and to answer them."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from otn.asking import ask
from otn.asking.ask import Ask, AskSpec
from otn.asking.sending import Limits, Sent, send_waiting
from otn.consent import pages, topics
from otn.consent.pages import Page
from otn.consent.topics import Topic
from otn.crypto import Keyring
from otn.database import Engine, transaction
from otn.messenger.client import MessengerClient
from otn.messenger.messages import one_time_request
from otn.settings import PageSettings
from sandbox.control_client import Sandbox

QUICK = Limits(lease_s=60, call_s=16)  # calls as the client of the fixtures makes them
CARD = one_time_request("Back in stock", "restock")


@dataclass
class Desk:
    """One page, its people, and short ways to do what a run and the responder do."""

    engine: Engine
    keyring: Keyring
    sandbox: Sandbox
    settings: PageSettings
    client: MessengerClient
    page_row: int
    topic_row: int

    @property
    def page(self) -> Page:
        with transaction(self.engine) as connection:
            return pages.find(connection, self.settings.page_id)

    @property
    def topic(self) -> Topic:
        with transaction(self.engine) as connection:
            return topics.find(connection, self.page, "restock")

    def people(self, count: int = 1, *, ago: str = "0 s", **columns: Any) -> list[str]:
        """People who wrote so long ago."""
        psids = self.sandbox.people(self.settings.page_id, count)
        self.sandbox.window(self.settings.page_id, psids)
        names = "".join(f", {name}" for name in columns)
        for number, psid in enumerate(psids):
            self.sql(
                f"INSERT INTO otn.subscriber (page_id, psid, first_name, last_interaction_at{names})"
                f" VALUES (%s, %s, %s, clock_timestamp() - %s::interval{', %s' * len(columns)})",
                self.page_row,
                psid,
                f"P{number}",
                ago,
                *columns.values(),
            )
        return psids

    def token(self, psid: str, *, ref: str | None = None, at: str = "0 s", ends: str = "300 days") -> int:
        return int(
            self.sql(
                "INSERT INTO otn.token"
                " (subscriber_id, topic_id, token_hash, token_encrypted, ref, opted_in_at, expires_at)"
                " SELECT id, %s, sha256(gen_random_uuid()::text::bytea), 'sealed', %s,"
                " clock_timestamp() - %s::interval, clock_timestamp() + %s::interval"
                " FROM otn.subscriber WHERE psid = %s RETURNING id",
                self.topic_row,
                ref,
                at,
                ends,
                psid,
            )[0][0]
        )

    def event(self, psid: str, kind: str = "message", ago: str = "0 s", **columns: Any) -> int:
        """Something that a person did, as ingest stores it; answers its id."""
        names = "".join(f", {name}" for name in columns)
        return int(
            self.sql(
                "INSERT INTO otn.event (fingerprint, webhook_day, webhook_id, page_id, subscriber_id, kind, occurred_at"
                f"{names}) SELECT sha256(gen_random_uuid()::text::bytea), current_date, gen_random_uuid(), page_id, id,"
                f" %s, clock_timestamp() - %s::interval{', %s' * len(columns)} FROM otn.subscriber WHERE psid = %s"
                " RETURNING id",
                kind,
                ago,
                *columns.values(),
                psid,
            )[0][0]
        )

    def answer(
        self, psid: str, message: dict[str, Any] | None = None, *, cause: str = "rule", ago: str = "0 s", **columns: Any
    ) -> int:
        """An answer that waits, as ingest writes it: a card, or a message; answers its id."""
        values: dict[str, Any] = {
            "card": message is None,
            "message": json.dumps(CARD if message is None else message),
            "topic_id": self.topic_row if message is None else None,
            "event_id": self.event(psid, "optin" if cause == "opt_in" else "message", ago),
            **columns,
        }
        names = ", ".join(values)
        return int(
            self.sql(
                f"INSERT INTO otn.window_message (page_id, subscriber_id, cause, not_after, {names})"
                f" SELECT page_id, id, %s, clock_timestamp() - %s::interval + interval '24 hours'{', %s' * len(values)}"
                " FROM otn.subscriber WHERE psid = %s RETURNING id",
                cause,
                ago,
                *values.values(),
                psid,
            )[0][0]
        )

    def stop(self, psid: str, topic: int | None = None, ago: str = "0 s") -> None:
        self.sql(
            "INSERT INTO otn.suppression (subscriber_id, reason, topic_id, since)"
            " SELECT id, 'stop_word', %s, clock_timestamp() - %s::interval FROM otn.subscriber WHERE psid = %s",
            topic,
            ago,
            psid,
        )

    def open(self, key: str = "first", **values: Any) -> Ask:
        return ask.open_ask(self.engine, AskSpec(key, **values), self.page, self.topic, actor="test")

    def send(self, **values: Any) -> Sent:
        arguments = {"client": self.client, "settings": self.settings, "limits": QUICK, **values}
        return send_waiting(self.engine, page_row_id=self.page_row, **arguments)

    def fault(self, kind: str, **values: Any) -> None:
        """The next call of this page meets it."""
        self.sandbox.faults(next=[{"kind": kind, "page_id": self.settings.page_id, **values}])

    def report(self, opened: Ask) -> dict[str, Any]:
        figures = ask.report(self.engine, opened.id)
        parts = ("waiting", "sending", "sent", "refused", "unknown")
        assert figures["asked"] == sum(figures[part] for part in parts) + sum(figures["skipped"].values())
        return figures

    def seen(self) -> Counter[str]:
        """Messages that each person of this page saw, by PSID."""
        return Counter(row["psid"] for row in self.sandbox.ledger(self.settings.page_id))

    def row(self, row_id: int) -> Any:
        return self.sql("SELECT * FROM otn.window_message WHERE id = %s", row_id)[0]

    def states(self) -> Counter[str]:
        return Counter(row[0] for row in self.sql("SELECT state::text FROM otn.window_message"))

    def sql(self, statement: str, *values: Any) -> list[Any]:
        with transaction(self.engine) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall() if cursor.description else []
