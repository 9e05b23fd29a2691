"""The labelled steps of a sender, and what happens to it there: killed, stopped, or told that the database is away."""

from __future__ import annotations

import http.client
import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import psycopg2

from otn.campaign import control, ledger, plan, send
from otn.database import DatabaseAwayError, Engine

Work = Callable[..., Any]


class Arm(NamedTuple):
    """What happens at a step.

    Args:
        step: key of ``STEPS`` or of ``REPLIES``.
        nth: at which passing of it.
        how: ``kill`` (SIGKILL), ``stop`` (SIGSTOP) or, for a reply, ``lose``.
    """

    step: str
    nth: int = 1
    how: str = "kill"


class Step(NamedTuple):
    """A function of the sender and the moment at it.

    Args:
        place: module or class that has it.
        name: of the function.
        after: once it returned something, in place of before it begins.
    """

    place: Any
    name: str
    after: bool = False


# In the order of a life. "inside" is inside the transaction: done, not committed.
STEPS: dict[str, tuple[Step, ...]] = {
    "inside open": (Step(control, "audit", after=True),),
    "inside plan": (Step(plan, "Plan"),),
    "after plan": (Step(plan, "plan", after=True),),
    "before claim": (Step(ledger, "claim"),),
    "inside claim": (Step(ledger.WaitingChunk, "claim", after=True), Step(ledger.Doubtful, "claim", after=True)),
    "after claim": (Step(ledger, "claim", after=True),),
    "before call": (Step(send._Sender, "_send"),),
    "on the wire": (Step(http.client.HTTPConnection, "getresponse"),),
    "after answer": (Step(send._Sender, "_send", after=True),),
    "before record": (Step(ledger, "record"),),
    "inside record": (Step(ledger, "_record", after=True),),
    "after record": (Step(ledger, "record", after=True),),
    "before end": (Step(control, "end_run"),),
}

# Committed, and the reply to the commit is lost: the sender is told that the database is away.
REPLIES = ("reply to the claim", "reply to the record")


def arm(arms: Sequence[Arm]) -> None:
    """Make this process do at its steps what it is told."""
    for step, nth, how in arms:
        if step == "reply to the claim":
            _watch(STEPS["after claim"], nth, _raise_away)
        elif step == "reply to the record":
            _lose_record(nth)
        elif how == "stop":
            _watch(STEPS[step], nth, _stop_between_transactions())
        else:
            _watch(STEPS[step], nth, lambda: os.kill(os.getpid(), signal.SIGKILL))


def _stop_between_transactions() -> Callable[[], None]:
    """A stop while no other thread is inside a transaction: its locks would make everybody else stand still, too."""
    quiet, real = threading.RLock(), Engine.begin

    @contextmanager
    def begin(engine: Engine) -> Iterator[Any]:
        with quiet, real(engine) as connection:
            yield connection

    def stop() -> None:
        with quiet:
            os.kill(os.getpid(), signal.SIGSTOP)

    Engine.begin = begin  # type: ignore[method-assign,assignment]
    return stop


def _raise_away() -> None:
    raise DatabaseAwayError(psycopg2.OperationalError())


def _lose_record(nth: int) -> None:
    here = threading.local()
    _watch(STEPS["inside record"], nth, lambda: setattr(here, "lost", True))
    module: Any = ledger
    real = module.transaction

    @contextmanager
    def lossy(engine: Any) -> Iterator[Any]:
        with real(engine) as connection:
            yield connection
        if getattr(here, "lost", False):
            here.lost = False
            _raise_away()

    module.transaction = lossy


def _watch(places: Sequence[Step], nth: int, happens: Callable[[], None]) -> None:
    passing = itertools.count(1)
    for place, name, after in places:
        setattr(place, name, _watched(getattr(place, name), passing, nth, happens, after=after))


def _watched(real: Work, passing: Iterator[int], nth: int, happens: Callable[[], None], *, after: bool) -> Work:
    def work(*arguments: Any, **named: Any) -> Any:
        if not after:
            if next(passing) == nth:
                happens()
            return real(*arguments, **named)
        result = real(*arguments, **named)
        found = result.rows if isinstance(result, ledger.Claims) else result
        # A claim of nobody is no step of a sending; what returns nothing (audit) always counts.
        if (found is None or found) and next(passing) == nth:
            happens()
        return result

    return work
