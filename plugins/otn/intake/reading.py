"""Webhook bodies, read and judged: what may be stored, and what goes to quarantine with which reason."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from otn.messenger import wire
from otn.messenger.events import Event, parse_webhook

# The Messenger Platform opened in spring 2016, and its own samples are of that year: an earlier time was misread.
EARLIEST = datetime(2016, 1, 1, tzinfo=UTC)
CLOCK_SKEW = timedelta(days=1)
_LISTS = ("messaging", "standby", "changes")


@dataclass(frozen=True)
class Source:
    """A body to read.

    Args:
        day: the day of its receipt.
        id: the receipt's id.
        body: as it came, decrypted.
        prefix: goes before positions; set where the body is an item of another one.
    """

    day: date
    id: str
    body: bytes = field(repr=False)
    prefix: str = ""


@dataclass(frozen=True)
class Refusal:
    """An item that cannot be used.

    Args:
        position: entry and index in its body.
        reason: one line without personal data.
        item: a whole webhook body with this item alone, so that it can be read again as it stands.
    """

    position: str
    reason: str
    item: bytes = field(repr=False)


@dataclass
class Outcome:
    """What became of the events of one source.

    Args:
        received: events found.
        new: stored for the first time.
        erased: of people who were erased; nothing of them is stored.
        optins_new: of the new ones, opt-ins.
        refusals: what could not be used.
    """

    received: int = 0
    new: int = 0
    erased: int = 0
    optins_new: int = 0
    refusals: list[Refusal] = field(default_factory=list)


@dataclass(frozen=True)
class Reading:
    """Some sources, read.

    Args:
        events: index of the source, and an event that may be stored.
        outcomes: one per source; ``new`` and ``erased`` are not known yet.
    """

    events: list[tuple[int, Event]]
    outcomes: list[Outcome]


def read(sources: Sequence[Source], pages: Mapping[str, int], now: datetime) -> Reading:
    """Read bodies into events.

    Args:
        sources: the bodies.
        pages: Facebook's id of each registered page, and ours.
        now: the database's clock; an event of the day after tomorrow cannot be believed.
    """
    latest = now + CLOCK_SKEW
    events: list[tuple[int, Event]] = []
    outcomes = []
    for index, source in enumerate(sources):
        parsed = parse_webhook(source.body, pages)
        refused = [(item.position, item.reason) for item in parsed.rejected]
        for event in parsed.events:
            if EARLIEST <= event.occurred_at <= latest:
                events.append((index, event))
            else:
                refused.append((event.position, _implausible(event.occurred_at)))
        refusals = _refusals(source, refused) if refused else []
        outcomes.append(Outcome(received=len(parsed.events) + len(parsed.rejected), refusals=refusals))
    return Reading(events, outcomes)


def _implausible(moment: datetime) -> str:
    if moment < EARLIEST:
        return f"the timestamp is before {EARLIEST.year}"
    return "the timestamp is more than a day in the future"


def _refusals(source: Source, refused: Iterable[tuple[tuple[int, int], str]]) -> list[Refusal]:
    try:
        body = wire.decode(source.body)
    except ValueError:
        body = None
    return [
        Refusal(f"{source.prefix}{position[0]}/{position[1]}", reason, _cut_out(source.body, body, position))
        for position, reason in sorted(refused)
    ]


def _cut_out(raw: bytes, body: Any, position: tuple[int, int]) -> bytes:
    """A body with one item alone; the whole of what cannot be taken apart."""
    if not isinstance(body, dict) or body.get("object") != "page" or not isinstance(body.get("entry"), list):
        return raw  # it was refused as a whole, however much of it could be told apart
    try:
        entry = body["entry"][position[0]]
    except IndexError:
        return raw
    part = entry
    if isinstance(entry, dict):
        items = [(name, item) for name in _LISTS if isinstance(entry.get(name), list) for item in entry[name]]
        if position[1] < len(items):
            name, item = items[position[1]]
            part = {key: value for key, value in entry.items() if key not in _LISTS} | {name: [item]}
    try:
        return json.dumps({**body, "entry": [part]}, separators=(",", ":")).encode()
    except RecursionError:
        return raw
