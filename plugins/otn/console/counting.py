"""Figures that take longer than a page may take: counted aside, and shown as of the moment of the count."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from otn.database import Engine

PATIENCE_S = 0.12  # what a page waits for a count; a million people take longer
RARELY = 20  # what took a second to count is shown for twenty: a twentieth of one connection, whoever looks on
MOST_KEPT = 500  # of one kind

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
_WORKERS = ThreadPoolExecutor(max_workers=2, thread_name_prefix="otn-counting")


@dataclass(frozen=True)
class Counted(Generic[T]):
    """What was counted.

    Args:
        figures: the result.
        at: when.
        took_s: how long it took.
    """

    figures: T
    at: datetime
    took_s: float


@dataclass
class _Place(Generic[K, T]):
    """What is known, and what is under way, of one database."""

    known: dict[K, Counted[T]] = field(default_factory=dict)
    due: dict[K, float] = field(default_factory=dict)
    running: dict[K, Future[None]] = field(default_factory=dict)


class Kept(Generic[K, T]):
    """Counts of one kind, by what they are of, for the life of this process.

    Args:
        count: counts; runs in a thread of its own.
        rarely: a result is taken for fresh so many times as long as it took to count.
        quick_s: one that took less is made anew at each look.
        at_once: no further one is begun while so many are under way; whoever asks for it asks again.
    """

    def __init__(
        self,
        count: Callable[[Engine, K], T],
        rarely: Callable[[T], float] = lambda _: RARELY,
        *,
        quick_s: float = 0.0,
        at_once: int | None = None,
    ) -> None:
        self._count = count
        self._rarely = rarely
        self._quick_s = quick_s
        self._at_once = at_once
        self._places: WeakKeyDictionary[Engine, _Place[K, T]] = WeakKeyDictionary()
        self._lock = Lock()

    def get(self, engine: Engine, key: K, *, patience_s: float = PATIENCE_S) -> Counted[T] | None:
        """The latest count; None while the first one is still under way."""
        return self.get_all(engine, [key], patience_s=patience_s).get(key)

    def get_all(self, engine: Engine, keys: Iterable[K], *, patience_s: float = PATIENCE_S) -> dict[K, Counted[T]]:
        """The latest counts; whatever is not counted yet is left out. A stale one is counted anew meanwhile.

        Args:
            engine: of the database.
            keys: of what.
            patience_s: seconds to wait for those that are not fresh.

        Raises:
            Whatever the count raises, to whoever waited for it.
        """
        wanted = list(keys)
        with self._lock:
            place = self._places.setdefault(engine, _Place())
            now = time.monotonic()
            due = [one for one in wanted if place.due.get(one, 0.0) <= now]
            running = [future for one in due if (future := self._start(engine, place, one)) is not None]
        done, _ = wait(running, timeout=patience_s)
        for one in done:
            one.result()
        with self._lock:
            return {one: place.known[one] for one in wanted if one in place.known}

    def forget(self, engine: Engine, key: K) -> None:
        """Count anew at the next look, and drop what a count under way will say: somebody changed the matter."""
        with self._lock:
            place = self._places.setdefault(engine, _Place())
            for part in (place.known, place.due, place.running):
                part.pop(key, None)

    def _start(self, engine: Engine, place: _Place[K, T], key: K) -> Future[None] | None:
        running = place.running.get(key)
        if running is None and (self._at_once is None or len(place.running) < self._at_once):
            running = place.running[key] = Future()
            _WORKERS.submit(self._run, engine, place, key, running)
        return running

    def _run(self, engine: Engine, place: _Place[K, T], key: K, running: Future[None]) -> None:
        began = time.monotonic()
        try:
            found = self._count(engine, key)
        except BaseException as error:  # noqa: BLE001 - told to whoever waits
            with self._lock:
                if place.running.get(key) is running:
                    del place.running[key]
            running.set_exception(error)
            return
        took = time.monotonic() - began
        with self._lock:
            if place.running.get(key) is running:
                del place.running[key]
                self._keep(place, key, Counted(found, datetime.now(UTC), took))
        running.set_result(None)

    def _keep(self, place: _Place[K, T], key: K, counted: Counted[T]) -> None:
        place.known.pop(key, None)
        place.known[key] = counted
        fresh = self._rarely(counted.figures) * counted.took_s if counted.took_s >= self._quick_s else 0.0
        place.due[key] = time.monotonic() + fresh
        if len(place.known) > MOST_KEPT:
            oldest = next(iter(place.known))
            del place.known[oldest], place.due[oldest]
