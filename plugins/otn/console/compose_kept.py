"""Counts that took long are shown for a while: whoever writes a text asks for the same audience at each pause."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from datetime import UTC, datetime
from threading import Lock
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from otn.database import Engine

QUICK_S = 0.1
RARELY = 10  # a count that takes a second is shown for ten
MOST_KEPT = 50

T = TypeVar("T")
_KEPT: WeakKeyDictionary[Engine, dict[Hashable, tuple[Any, datetime, float]]] = WeakKeyDictionary()
_LOCK = Lock()


def kept(engine: Engine, key: Hashable, make: Callable[[], T]) -> tuple[T, datetime]:
    """What ``make`` gives, or gave a moment ago, and when that was; what is quick is made anew.

    Args:
        engine: whose figures.
        key: what they are of.
        make: asks the database.
    """
    with _LOCK:
        before = _KEPT.get(engine, {}).get(key)
    if before is not None and time.monotonic() < before[2]:
        return before[0], before[1]
    began, at = time.monotonic(), datetime.now(UTC)
    made = make()
    ended = time.monotonic()
    if ended - began > QUICK_S:
        with _LOCK:
            place = _KEPT.setdefault(engine, {})
            place.pop(key, None)
            place[key] = made, at, ended + RARELY * (ended - began)
            while len(place) > MOST_KEPT:
                del place[next(iter(place))]
    return made, at
