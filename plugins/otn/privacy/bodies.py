"""What stands in stored webhook bodies about a person: found, taken out, or only its words taken away.

An item that is taken out leaves a place-holder, so that a body has as many items as before and each its position.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from otn.messenger import wire

LISTS = ("messaging", "standby", "changes")
ERASED = "erased"
KEPT_BACK = "(kept back)"

_WORDS = ("text", "attachments", "nlp")  # what people wrote or attached, and what the platform made of it
_NOTHING = b"{}"
_ESCAPED_DIGIT = b"\\u003"


def mentioned(raw: bytes, psids: Collection[str]) -> set[str]:
    """Which of these people a body names; where it is no JSON, whose id stands in it as a word."""
    if len(psids) == 1 and not _may_name(raw, next(iter(psids))):
        return set()
    try:
        return _names(wire.decode(raw)).intersection(psids)
    except ValueError:
        return {psid for psid in psids if _has_word(raw, psid)}


def without_person(raw: bytes, psid: str) -> bytes | None:
    """The body with a place-holder for each item that names the person; None where nothing does.

    What cannot be taken apart and names the person is emptied as a whole.
    """
    if not _may_name(raw, psid):
        return None
    try:
        body = wire.decode(raw)
    except ValueError:
        return _NOTHING if _has_word(raw, psid) else None
    if psid not in _names(body):
        return None
    if not isinstance(body, dict) or not isinstance(body.get("entry"), list):
        return _NOTHING
    entries = [_cut(entry, psid) if psid in _names(entry) else entry for entry in body["entry"]]
    return _written({"object": body.get("object"), "entry": entries})


def _cut(entry: Any, psid: str) -> Any:
    if not isinstance(entry, dict):
        return {}
    kept = {name: entry[name] for name in ("id", "time") if name in entry and psid not in _names(entry[name])}
    for name in LISTS:
        if isinstance(entry.get(name), list):
            kept[name] = [_placeholder(item) if psid in _names(item) else item for item in entry[name]]
    return kept


def _placeholder(item: Any) -> dict[str, Any]:
    # Its time stays where it had one: without, an item would be one that cannot be read.
    timed = {"timestamp": item["timestamp"]} if isinstance(item, dict) and "timestamp" in item else {}
    return timed | {ERASED: True}


def items_of(raw: bytes, psid: str) -> list[dict[str, Any]]:
    """The items of a body that name the person, without the text of tokens."""
    try:
        body = wire.decode(raw)
    except ValueError:
        return []
    found = [item for item in _items(body) if psid in _names(item)]
    for item in found:
        for content in item.values():
            if isinstance(content, dict) and "one_time_notif_token" in content:
                content["one_time_notif_token"] = KEPT_BACK
    return found


def without_words(raw: bytes) -> bytes | None:
    """The body without what people wrote and attached; None where there is nothing of it.

    The texts of a message without an id stay until the body goes: they are part of what makes it this message, and
    without them it would be another one when it is read again.
    """
    try:
        body = wire.decode(raw)
    except ValueError:
        return None
    changed = False
    for change in _items(body, ("changes",)):  # posts and comments under them; nobody here reads these
        changed |= change.pop("value", None) is not None
    for item in _items(body):
        for name, content in item.items():
            if isinstance(content, dict) and not (name == "message" and not content.get("mid")):
                words = [word for word in _WORDS if word in content]
                for word in words:
                    del content[word]
                changed |= bool(words)
    return _written(body) if changed else None


def _items(body: Any, lists: Sequence[str] = LISTS) -> Iterator[dict[str, Any]]:
    entries = body.get("entry") if isinstance(body, dict) else None
    for entry in entries if isinstance(entries, list) else ():
        for name in lists if isinstance(entry, dict) else ():
            if isinstance(entry.get(name), list):
                yield from (item for item in entry[name] if isinstance(item, dict))


def _names(value: Any) -> set[str]:
    """Every text and whole number in it; without recursion, as strangers nest deeply."""
    found: set[str] = set()
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            left += one.values()
        elif isinstance(one, list):
            left += one
        elif isinstance(one, str):
            found.add(one)
        elif isinstance(one, int) and not isinstance(one, bool):
            found.add(str(one))
    return found


def _may_name(raw: bytes, psid: str) -> bool:
    return psid.encode() in raw or _ESCAPED_DIGIT in raw


def _has_word(raw: bytes, psid: str) -> bool:
    return re.search(rb"(?<![0-9A-Za-z])" + re.escape(psid.encode()) + rb"(?![0-9A-Za-z])", raw) is not None


def _written(body: Any) -> bytes:
    try:
        return json.dumps(body, separators=(",", ":")).encode()
    except RecursionError:  # deeper than can be written: none of the platform's
        return _NOTHING
