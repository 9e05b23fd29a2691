"""Webhook events, encoded (Meta docs, Webhooks: events). Inner objects only; the outbox wraps them into entries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sandbox.model import Event, Page
from sandbox.wire import graph_json, graph_string


def from_person(page_id: str, psid: str, at: int, field: str, **what: Any) -> Event:
    """Return an event whose sender is a person, such as ``optin={...}`` or ``read={...}``."""
    inner = {"sender": {"id": psid}, "recipient": {"id": page_id}, "timestamp": at, **what}
    return Event(0, page_id, field, at, graph_json(inner))


def optin(page_id: str, psid: str, at: int, payload: str, token: str) -> Event:
    """Return the opt-in of a tap on Notify Me (Meta docs, One-Time Notification)."""
    body = (
        f'{{"sender":{{"id":"{psid}"}},"recipient":{{"id":"{page_id}"}},"timestamp":{at},"optin":{{'
        f'"type":"one_time_notif_req","payload":{graph_string(payload)},"one_time_notif_token":"{token}"}}}}'
    )
    return Event(0, page_id, "messaging_optins", at, body)


def echo(page: Page, psid: str, at: int, mid: str, message: dict[str, Any]) -> Event:
    """Return the echo of a message of the page: sender and recipient change places."""
    parts = [f'"is_echo":true,"app_id":{page.app_id},"mid":"{mid}"']
    parts += [f'"{key}":{graph_string(message[key])}' for key in ("metadata", "text") if key in message]
    if "attachment" in message:
        parts.append(f'"attachments":{graph_json([message["attachment"]])}')
    body = (
        f'{{"sender":{{"id":"{page.page_id}"}},"recipient":{{"id":"{psid}"}},"timestamp":{at},'
        f'"message":{{{",".join(parts)}}}}}'
    )
    return Event(0, page.page_id, "message_echoes", at, body)


def delivery(page_id: str, psid: str, at: int, mid: str | None) -> Event:
    """Return the delivery of what was sent until `at`; without a mid as old devices report it."""
    mids = f'"mids":["{mid}"],' if mid else ""
    body = (
        f'{{"sender":{{"id":"{psid}"}},"recipient":{{"id":"{page_id}"}},"timestamp":{at},'
        f'"delivery":{{{mids}"watermark":{at}}}}}'
    )
    return Event(0, page_id, "message_deliveries", at, body)


def read(page_id: str, psid: str, at: int) -> Event:
    """Return that a person read what came until `at`."""
    body = (
        f'{{"sender":{{"id":"{psid}"}},"recipient":{{"id":"{page_id}"}},"timestamp":{at},"read":{{"watermark":{at}}}}}'
    )
    return Event(0, page_id, "message_reads", at, body)


def referral(ref: str, source: str) -> dict[str, str]:
    """Return what an m.me link carries, inside a referral or the postback of Get Started (Meta docs, Webhooks)."""
    return {"ref": ref, "source": source, "type": "OPEN_THREAD"}


def policy(page_id: str, at: int, action: str, reason: str) -> Event:
    """Return a policy event; it has no sender."""
    inner = {
        "recipient": {"id": page_id},
        "timestamp": at,
        "policy_enforcement": {"action": action, "reason": reason},
    }
    return Event(0, page_id, "messaging_policy_enforcement", at, graph_json(inner))


def raw(page_id: str, at: int, inner: Mapping[str, Any]) -> Event:
    """Return an event with any inner object."""
    return Event(0, page_id, "", at, graph_json(inner))
