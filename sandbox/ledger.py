"""What people saw, what was called, and how fast: the account a checker trusts."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
from collections.abc import Iterator
from typing import Any

from sandbox.limits import Meters
from sandbox.model import Call
from sandbox.world import World

CALLS_AT_ONCE = 2000
Row = dict[str, Any]


def seen(world: World, page_id: str | None = None, kind: str | None = None) -> Iterator[Row]:
    """Yield each message a person saw, oldest first.

    Args:
        world: the state.
        page_id: only of this page.
        kind: only of this kind, such as ``text`` or ``one_time_notif_req``.
    """
    for call in world.seen:
        if page_id in {None, call.page_id} and kind in {None, call.kind}:
            message = call.message or {}
            card = message["attachment"]["payload"] if call.kind == "one_time_notif_req" else {}
            yield {
                "psid": call.psid,
                "page_id": call.page_id,
                "mid": call.mid,
                "token": call.token,
                "metadata": call.metadata,
                "kind": call.kind,
                "text": message.get("text"),
                "title": card.get("title"),
                "payload": card.get("payload"),
                "message": message,
                "at": call.at,
            }


def calls(world: World, page_id: str | None = None, *, tokens_only: bool = True) -> Iterator[Row]:
    """Yield each call of the Send API, in the order the platform took them up.

    Args:
        world: the state.
        page_id: only of this page.
        tokens_only: only calls that named a token.
    """
    for call in world.calls:
        if page_id in {None, call.page_id} and (call.token is not None or not tokens_only):
            yield {
                "at_ms": call.at,
                "page_id": call.page_id,
                "token": call.token,
                "psid": call.psid,
                "metadata": call.metadata,
                "effect": call.effect,
                "answer": _answer(call),
                "mid": call.mid,
                "fault": call.fault,
            }


def _answer(call: Call) -> Row:
    return {"status": call.status, "code": call.code, "subcode": call.subcode, "given": call.status is not None}


def tokens(world: World, page_id: str | None = None, payload: str | None = None) -> Iterator[Row]:
    """Yield each token, spent or not."""
    for token in list(world.tokens.values()):
        if page_id in {None, token.page_id} and payload in {None, token.payload}:
            yield dataclasses.asdict(token)


def taps(world: World, page_id: str | None = None, psid: str | None = None) -> Iterator[Row]:
    """Yield each tap on a card, oldest first."""
    for tap in list(world.taps):
        if page_id in {None, tap.page_id} and psid in {None, tap.psid}:
            yield dataclasses.asdict(tap)


def people(world: World, page_id: str | None = None) -> Iterator[Row]:
    """Yield each person with profile, block and window."""
    for person in list(world.people.values()):
        if page_id in {None, person.page_id}:
            yield dataclasses.asdict(person)


async def summary(world: World, page_id: str | None = None) -> Row:
    """Return the figures of what people saw; it counts anew each time, without holding up the calls of others."""
    made: collections.Counter[str] = collections.Counter()
    faults: collections.Counter[str] = collections.Counter()
    errors: collections.Counter[str] = collections.Counter()
    kinds: collections.Counter[str] = collections.Counter()
    spent: collections.Counter[str] = collections.Counter()
    each: collections.Counter[str] = collections.Counter()
    same: collections.Counter[tuple[str, str]] = collections.Counter()
    people: set[str] = set()
    for number, call in enumerate(world.calls):
        if number % CALLS_AT_ONCE == 0:
            await asyncio.sleep(0)
        if page_id not in {None, call.page_id}:
            continue
        made["calls"] += 1
        made["calls_with_token"] += call.token is not None
        if call.fault is not None:
            faults[call.fault] += 1
        if call.code is not None:
            errors[_code(call)] += 1
        if call.effect:
            psid, message = str(call.psid), call.message or {}
            people.add(psid)
            kinds[str(call.kind)] += 1
            same[psid, str(message.get("text") or message.get("attachment"))] += 1
            if call.token is not None:
                spent[call.token] += 1
                each[psid] += 1
    return {
        "messages": kinds.total(),
        "people": len(people),
        "tokens_spent": len(spent),
        "most_per_token": max(spent.values(), default=0),
        "most_per_person": max(each.values(), default=0),
        "most_same_message_per_person": max(same.values(), default=0),
        "kinds": dict(kinds),
        "calls": made["calls"],
        "calls_with_token": made["calls_with_token"],
        "faults": dict(faults),
        "errors": dict(errors),
    }


def _code(call: Call) -> str:
    return str(call.code) if call.subcode is None else f"{call.code}/{call.subcode}"


def pace(meters: Meters) -> Row:
    """Return, for each page, the calls and accepted messages in all and at most within any one second."""
    return {
        page_id: {
            "calls": meter.calls.total,
            "most_calls_in_1s": meter.calls.most,
            "accepted": meter.accepted.total,
            "most_accepted_in_1s": meter.accepted.most,
        }
        for page_id, meter in meters.items()
    }
