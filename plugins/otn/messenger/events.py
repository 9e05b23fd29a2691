"""Webhooks of the Messenger Platform, read into events. Pure, and never raises on what a stranger may send."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from otn.messenger import wire
from otn.messenger.fields import Unreadable, identifier, moment, opaque, party, prose

__all__ = ["Event", "EventKind", "ParsedWebhook", "Rejected", "parse_webhook"]

TOKEN_LIMIT = 16_384
PAYLOAD_LIMIT = 16_384
TEXT_LIMIT = 20_000
MID_LIMIT = 1000
MIDS_LIMIT = 10_000


class EventKind(StrEnum):
    """What happened."""

    OPTIN = "optin"  # Notify Me was tapped: carries the one-time token
    OTHER_OPTIN = "other_optin"  # an opt-in of a plugin, a checkbox or another product
    ECHO = "echo"  # the page sent a message, by whatever app
    DELIVERY = "delivery"
    READ = "read"
    POSTBACK = "postback"
    MESSAGE = "message"
    REACTION = "reaction"
    REFERRAL = "referral"
    POLICY = "policy"  # the platform warns, blocks or unblocks the page
    OTHER = "other"  # readable, but nothing we know: kept countable


@dataclass(frozen=True, slots=True)
class Event:
    """One item of a webhook. Its repr shows no person, no token and nothing that was said.

    Args:
        kind: What happened.
        page_id: The page it happened on.
        psid: The person, None where the platform names none (policy, checkbox).
        occurred_at: The event's own time; where it has none, the time of its entry or its watermark.
        token: One-time token of an OPTIN.
        payload: The developer's string: of an opt-in, a postback, a quick reply; ``ref`` of a referral or plugin.
        mid: Id of the message that the event is or is about.
        mids: Of a DELIVERY, where the client names them.
        metadata: Of an ECHO: what the sender put there.
        watermark: Of DELIVERY and READ: everything up to then.
        text: Of a MESSAGE or ECHO.
        title: Of a POSTBACK.
        app_id: Of an ECHO: the app that sent.
        action: Of a POLICY or a REACTION.
        reason: Of a POLICY.
        ref: What the link or plugin carried: of a REFERRAL, of a POSTBACK through an m.me link (Get Started), of a
            plugin's opt-in.
        reply_to: Of a MESSAGE: id of the message it answers.
        reaction: Of a REACTION: its name, such as ``love``; where the platform gives none, the emoji.
        standby: Another app owns the thread; the page only listens (Meta docs, Handover Protocol).
        position: Index of the entry, and of the item within it (``messaging``, then ``standby``, then ``changes``).
    """

    kind: EventKind
    page_id: str
    psid: str | None = field(repr=False)
    occurred_at: datetime
    token: str | None = field(default=None, repr=False)
    payload: str | None = field(default=None, repr=False)
    mid: str | None = None
    mids: tuple[str, ...] = ()
    metadata: str | None = field(default=None, repr=False)
    watermark: datetime | None = None
    text: str | None = field(default=None, repr=False)
    title: str | None = field(default=None, repr=False)
    app_id: str | None = None
    action: str | None = None
    reason: str | None = None
    ref: str | None = field(default=None, repr=False)
    reply_to: str | None = None
    reaction: str | None = None
    standby: bool = False
    position: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Rejected:
    """What could not be read.

    Args:
        position: As of an event; (0, 0) for a whole body, (n, 0) for a whole entry.
        reason: One line, free of personal data.
        raw: The JSON of the item, or the body as it came.
    """

    position: tuple[int, int]
    reason: str
    raw: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ParsedWebhook:
    """A body, read: each item of it is in exactly one of the two."""

    events: tuple[Event, ...]
    rejected: tuple[Rejected, ...]


def parse_webhook(raw: bytes, page_ids: Collection[str] | None = None) -> ParsedWebhook:
    """Read the body of a webhook whose signature was verified.

    Source: Meta docs, Messenger webhooks and the event reference. Every item becomes exactly one event or one rejected
    piece; a body or an entry without items becomes one rejected piece, so that nothing received ever vanishes.

    Args:
        raw: The body as it came.
        page_ids: The registered pages; events of others are rejected. None = any page.
    """
    try:
        entries = _entries(raw)
    except Unreadable as error:
        return ParsedWebhook((), (Rejected((0, 0), str(error), raw),))
    read = [outcome for index, entry in enumerate(entries) for outcome in _read_entry(index, entry, page_ids, raw)]
    return ParsedWebhook(
        tuple(outcome for outcome in read if isinstance(outcome, Event)),
        tuple(outcome for outcome in read if isinstance(outcome, Rejected)),
    )


def _entries(raw: bytes) -> list[Any]:
    try:
        body = wire.decode(raw)
    except ValueError:
        raise Unreadable("the body is no JSON in UTF-8") from None
    if not isinstance(body, dict):
        raise Unreadable("the body is no object")
    if body.get("object") != "page":
        raise Unreadable("object is not page")
    entries = body.get("entry")
    if not isinstance(entries, list) or not entries:
        raise Unreadable("entry is missing, empty or no list")
    return entries


def _read_entry(number: int, entry: Any, page_ids: Collection[str] | None, body: bytes) -> Iterator[Event | Rejected]:
    try:
        items = _items(entry)
    except Unreadable as error:
        yield Rejected((number, 0), str(error), _raw(entry, body))
        return
    for index, (item, name) in enumerate(items):
        try:
            yield _read_item(item, entry, _page(entry, page_ids), name, (number, index))
        except Unreadable as error:
            yield Rejected((number, index), str(error), _raw(item, body))


def _items(entry: Any) -> list[tuple[Any, str]]:
    if not isinstance(entry, dict):
        raise Unreadable("the entry is no object")
    items: list[tuple[Any, str]] = []
    for name in ("messaging", "standby", "changes"):
        found = entry.get(name)
        found = [] if found is None else found
        if not isinstance(found, list):
            raise Unreadable(f"{name} is no list")
        items += [(item, name) for item in found]
    if not items:
        raise Unreadable("the entry holds no event")
    return items


def _page(entry: Mapping[str, Any], page_ids: Collection[str] | None) -> str:
    page_id = identifier(entry, "id", "entry.id")
    if page_id is None:
        raise Unreadable("entry.id is missing")
    if page_ids is not None and page_id not in page_ids:
        raise Unreadable("the page is not registered")
    return page_id


def _read_item(item: Any, entry: Mapping[str, Any], page_id: str, name: str, position: tuple[int, int]) -> Event:
    if not isinstance(item, dict):
        raise Unreadable("the item is no object")
    # Subscriptions to page fields, not to Messenger, come as changes: none of ours, but received.
    kind, details = (EventKind.OTHER, {}) if name == "changes" else _read_kind(item)
    return Event(
        kind=kind,
        page_id=page_id,
        psid=_person(item, page_id, kind),
        occurred_at=_time(item, entry, details.get("watermark")),
        standby=name == "standby",
        position=position,
        **details,
    )


def _person(item: Mapping[str, Any], page_id: str, kind: EventKind) -> str | None:
    sender, recipient = party(item, "sender"), party(item, "recipient")
    if kind is EventKind.OTHER:  # who speaks and who is spoken to is unknown here
        return next((name for name in (sender, recipient) if name not in {None, page_id}), None)
    page, person = (sender, recipient) if kind is EventKind.ECHO else (recipient, sender)
    if page is not None and page != page_id:
        raise Unreadable("the event names another page than its entry")
    if person is None and kind not in _WITHOUT_PERSON:
        raise Unreadable("the event names no person")
    return person


_WITHOUT_PERSON = {EventKind.POLICY, EventKind.OTHER_OPTIN}


def _time(item: Mapping[str, Any], entry: Mapping[str, Any], watermark: datetime | None) -> datetime:
    if item.get("timestamp") is not None:
        return moment(item["timestamp"], "timestamp")
    # Meta's own delivery sample has no time of its own.
    if entry.get("time") is not None:
        return moment(entry["time"], "entry.time")
    if watermark is not None:
        return watermark
    raise Unreadable("timestamp is missing")


def _read_kind(item: Mapping[str, Any]) -> tuple[EventKind, dict[str, Any]]:
    known = [name for name in _READERS if name in item]
    if len(known) > 1:
        raise Unreadable(f"the item is several events at once: {', '.join(known)}")
    if not known:
        if not item.keys() - {"sender", "recipient", "timestamp"}:
            raise Unreadable("the item holds no event")
        return EventKind.OTHER, {}
    content = item[known[0]]
    if not isinstance(content, dict):
        raise Unreadable(f"{known[0]} is no object")
    return _READERS[known[0]](content)


def _read_optin(optin: Mapping[str, Any]) -> tuple[EventKind, dict[str, Any]]:
    kind = optin.get("type")
    token = opaque(optin, "one_time_notif_token", "optin.one_time_notif_token", TOKEN_LIMIT)
    payload = opaque(optin, "payload", "optin.payload", PAYLOAD_LIMIT)
    if kind != "one_time_notif_req" and (kind is not None or token is None):
        ref = opaque(optin, "ref", "optin.ref", PAYLOAD_LIMIT)
        return EventKind.OTHER_OPTIN, {"payload": ref if payload is None else payload, "ref": ref}
    if not token:
        raise Unreadable("optin.one_time_notif_token is missing or empty")
    # A token is worth a message: without payload it is kept under the empty one rather than set aside.
    return EventKind.OPTIN, {"token": token, "payload": payload or ""}


def _read_message(message: Mapping[str, Any]) -> tuple[EventKind, dict[str, Any]]:
    details: dict[str, Any] = {
        "mid": opaque(message, "mid", "message.mid", MID_LIMIT),
        "text": prose(message, "text", "message.text", TEXT_LIMIT),
    }
    if message.get("is_echo") is True:
        details["metadata"] = opaque(message, "metadata", "message.metadata", PAYLOAD_LIMIT)
        details["app_id"] = identifier(message, "app_id", "message.app_id")
        return EventKind.ECHO, details
    reply = message.get("quick_reply")
    if isinstance(reply, dict):
        details["payload"] = opaque(reply, "payload", "message.quick_reply.payload", PAYLOAD_LIMIT)
    return EventKind.MESSAGE, {**details, "reply_to": _aside(message.get("reply_to"), "mid", MID_LIMIT)}


def _read_delivery(delivery: Mapping[str, Any]) -> tuple[EventKind, dict[str, Any]]:
    mids = delivery.get("mids")
    mids = [] if mids is None else mids
    if not isinstance(mids, list) or len(mids) > MIDS_LIMIT:
        raise Unreadable("delivery.mids is no list, or endless")
    named = tuple(opaque({"mid": mid}, "mid", "delivery.mids", MID_LIMIT) for mid in mids)
    if not all(named):
        raise Unreadable("delivery.mids holds an empty one")
    watermark = delivery.get("watermark")
    if watermark is None and not named:
        raise Unreadable("delivery names neither mids nor watermark")
    at = None if watermark is None else moment(watermark, "delivery.watermark")
    return EventKind.DELIVERY, {"mids": named, "watermark": at}


def _read_read(read: Mapping[str, Any]) -> tuple[EventKind, dict[str, Any]]:
    return EventKind.READ, {"watermark": moment(read.get("watermark"), "read.watermark")}


def _read_postback(postback: Mapping[str, Any]) -> tuple[EventKind, dict[str, Any]]:
    return EventKind.POSTBACK, {
        "mid": opaque(postback, "mid", "postback.mid", MID_LIMIT),
        "title": prose(postback, "title", "postback.title", TEXT_LIMIT),
        "payload": opaque(postback, "payload", "postback.payload", PAYLOAD_LIMIT),
        "ref": _aside(postback.get("referral"), "ref", PAYLOAD_LIMIT),
    }


def _read_reaction(reaction: Mapping[str, Any]) -> tuple[EventKind, dict[str, Any]]:
    return EventKind.REACTION, {
        "mid": opaque(reaction, "mid", "reaction.mid", MID_LIMIT),
        "action": prose(reaction, "action", "reaction.action", 100),
        "reaction": _aside(reaction, "reaction", 100) or _aside(reaction, "emoji", 100),
    }


def _read_referral(referral: Mapping[str, Any]) -> tuple[EventKind, dict[str, Any]]:
    ref = opaque(referral, "ref", "referral.ref", PAYLOAD_LIMIT)
    return EventKind.REFERRAL, {"payload": ref, "ref": ref}


def _read_policy(policy: Mapping[str, Any]) -> tuple[EventKind, dict[str, Any]]:
    action = prose(policy, "action", "policy_enforcement.action", 100)
    if not action:
        raise Unreadable("policy_enforcement.action is missing")
    return EventKind.POLICY, {
        "action": action,
        "reason": prose(policy, "reason", "policy_enforcement.reason", TEXT_LIMIT),
    }


def _aside(holder: Any, key: str, limit: int) -> str | None:
    """Read what an event carries by the way: where it is odd it is left out, for the event itself is sound."""
    try:
        return opaque(holder, key, key, limit) if isinstance(holder, dict) else None
    except Unreadable:
        return None


_READERS = {
    "optin": _read_optin,
    "message": _read_message,
    "delivery": _read_delivery,
    "read": _read_read,
    "postback": _read_postback,
    "reaction": _read_reaction,
    "referral": _read_referral,
    "policy_enforcement": _read_policy,
    "policy-enforcement": _read_policy,
}


def _raw(item: Any, body: bytes) -> bytes:
    try:
        return json.dumps(item, separators=(",", ":")).encode()
    except RecursionError:
        return body
