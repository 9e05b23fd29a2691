"""Webhook items as the platform documents them (Meta docs, Messenger webhooks and the event reference)."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from copy import deepcopy
from typing import Any

PAGE = "1001"
NOW_MS = time.time_ns() // 1_000_000

# Texts that mean something to COPY, SQL, JSON, a template, a terminal or a spreadsheet.
TEXTS = (
    "sale",
    "\\N",
    "\\.",
    "a\tb\nc\rd",
    "\\x00\\u0000",
    "'; DROP TABLE otn.token; --",
    "%s %(x)s %%",
    "{{ 7 * 7 }}",
    '{"topic":"sale","ref":"späť 🎉"}',
    "\u202eelas\u202c \u2028",
    "e\u0301\ufeff",
    "=1+1",
    "\x1b[2J\x07",
    "😀" * 50,
)

Item = dict[str, Any]
Maker = Callable[[int, random.Random], Item]


def _message(**content: Any) -> Maker:
    return lambda number, _: {"message": {"mid": f"m_{number}", **deepcopy(content)}}  # whoever takes one may change it


def _referral(number: int) -> Item:
    return {"ref": f"ref-{number}", "source": "SHORTLINK", "type": "OPEN_THREAD"}


def _optin(number: int, rng: random.Random) -> Item:
    token = f"tok/{number}\\"
    return {"optin": {"type": "one_time_notif_req", "payload": rng.choice(TEXTS), "one_time_notif_token": token}}


def _echo(number: int, rng: random.Random) -> Item:
    app_id = rng.choice((1517776481860111, "26390203743090"))
    return {"message": {"is_echo": True, "app_id": app_id, "metadata": f"x{number}", "mid": f"m_{number}"}}


def _postback(number: int, rng: random.Random) -> Item:
    return {"postback": {"mid": f"m_{number}", "title": rng.choice(TEXTS), "payload": rng.choice(TEXTS)}}


def _unknown(number: int, rng: random.Random) -> Item:
    return {rng.choice(("message_edit", "messaging_feedback", "account_linking")): {"number": number}}


# Kind of event, and what makes the inside of one.
SHAPES: tuple[tuple[str, Maker], ...] = (
    *[("optin", _optin)] * 9,
    ("other_optin", lambda number, _: {"optin": {"ref": f"ref-{number}"}}),
    ("checkbox", lambda number, _: {"optin": {"ref": f"ref-{number}", "user_ref": f"user-{number}"}}),
    ("echo", _echo),
    ("delivery", lambda number, _: {"delivery": {"mids": [f"mid.$c:{number}", 'm_{},\\"'], "watermark": NOW_MS}}),
    ("read", lambda *_: {"read": {"watermark": NOW_MS}}),
    ("postback", _postback),
    ("postback", lambda number, _: {"postback": {"payload": "GO", "referral": _referral(number)}}),
    *[("message", _message(text=text)) for text in TEXTS],
    ("message", _message(text="yes", quick_reply={"payload": TEXTS[3]})),
    ("message", _message(text="half \ud83d", reply_to={"mid": "m_1"})),
    ("message", _message(attachments=[{"type": "image", "payload": {"url": "https://x.test/a/b?c"}}])),
    ("reaction", lambda *_: {"reaction": {"reaction": "love", "emoji": "\u2764", "action": "react", "mid": "m_1"}}),
    ("referral", lambda number, _: {"referral": _referral(number)}),
    ("policy", lambda number, _: {"policy_enforcement": {"action": "warning", "reason": f"reason-{number}"}}),
    ("other", _unknown),
)


def sound_item(number: int, rng: random.Random) -> tuple[tuple[str, str], Item]:
    """Return an item that must be stored, and by what it is found: its kind, and the person or else its own text.

    Args:
        number: no other item has it.
        rng: what is drawn from.
    """
    name, make = rng.choice(SHAPES)
    psid, at = f"9{number:016d}", NOW_MS - number
    item: Item = {"sender": {"id": psid}, "recipient": {"id": PAGE}}
    if name == "echo":
        item = {"sender": {"id": PAGE}, "recipient": {"id": psid}}
    if name in {"policy", "checkbox"}:
        del item["sender"]
    if name != "delivery" or rng.random() < 0.5:  # Meta's own sample of a delivery has no time
        # In seconds only with a person: two warnings to one page within a second are told apart by their time alone.
        item["timestamp"] = rng.choice((at, at, at, str(at), at if "sender" not in item else at // 1000))
    texts = {"policy": f"warning: reason-{number}", "checkbox": f"ref-{number}"}
    kind = "other_optin" if name == "checkbox" else name
    return (kind, texts.get(name, psid)), {**item, **make(number, rng)}
