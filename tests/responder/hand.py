"""Webhooks as the receiver leaves them, and a responder that is led by hand."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from otn.responder.loop import Responder
from tests.asking.desk import Desk
from tests.consent.inbox import Inbox, body, item, message, optin

PATIENCE_S = 15.0


def store(desk: Desk, *items: dict[str, Any]) -> None:
    """Store a webhook."""
    Inbox(desk.engine, desk.keyring).put(body(*items, page=desk.settings.page_id))


def say(desk: Desk, psid: str, text: str, **rest: Any) -> None:
    """A person writes."""
    store(desk, message(text, psid=psid, **_now(desk, rest)))


def tap(desk: Desk, psid: str, token: str, payload: str = "restock", **rest: Any) -> None:
    """A person taps Notify Me."""
    store(desk, optin(token, payload, psid=psid, **_now(desk, rest)))


def echo(row: dict[str, Any]) -> dict[str, Any]:
    """The echo of a message that the sandbox showed."""
    content = {"is_echo": True, "app_id": 1, "mid": row["mid"], "metadata": row["metadata"]}
    made = item(at=row["at"], message=content, psid=row["page_id"], page=row["psid"])
    return made | {"recipient": {"id": row["psid"]}}


def finish(responder: Responder, desk: Desk) -> None:
    """Let a responder do what there is to do."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        assert time.monotonic() < deadline, "the responder does not come to rest"
        responder.step()
        senders = [voice.sender for voice in responder._voices.all()]
        if all(sender.resting for sender in senders) and not _waiting(desk):
            return
        for sender in senders:
            sender.rest(0.01)


def _waiting(desk: Desk) -> int:
    count: int = desk.sql(
        "SELECT (SELECT count(*) FROM otn.webhook_event WHERE ingested_at IS NULL)"
        " + (SELECT count(*) FROM otn.window_message m JOIN otn.page p ON p.id = m.page_id WHERE p.halted_at IS NULL"
        "    AND m.state = 'waiting' AND m.cause <> 'ask'"
        "    AND (m.not_before IS NULL OR m.not_before <= clock_timestamp()))"
    )[0][0]
    return count


def _now(desk: Desk, rest: dict[str, Any]) -> dict[str, Any]:
    return {"at": datetime.now(UTC), "page": desk.settings.page_id, **rest}
