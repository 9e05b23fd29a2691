"""Figures that take longer than a page may take: counted aside, and shown as of the moment of the count."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
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
class _Place(Generic[T]):
    """What is known, and what is under way, of one database."""

    known: dict[int, Counted[T]] = field(default_factory=dict)
    due: dict[int, float] = field(default_factory=dict)
    running: dict[int, Future[None]] = field(default_factory=dict)


class Kept(Generic[T]):
    """Counts of one kind, by number, for the life of this process.

    Args:
        count: counts; runs in a thread of its own.
        rarely: a result is taken for fresh so many times as long as it took to count.
    """

    def __init__(self, count: Callable[[Engine, int], T], rarely: Callable[[T], float] = lambda _: RARELY) -> None:
        self._count = count
        self._rarely = rarely
        self._places: WeakKeyDictionary[Engine, _Place[T]] = WeakKeyDictionary()
        self._lock = Lock()

    def get(self, engine: Engine, number: int, *, patience_s: float = PATIENCE_S) -> Counted[T] | None:
        """The latest count; None while the first one is still under way."""
        return self.get_all(engine, [number], patience_s=patience_s).get(number)

    def get_all(
        self, engine: Engine, numbers: Iterable[int], *, patience_s: float = PATIENCE_S
    ) -> dict[int, Counted[T]]:
        """The latest counts; whatever is not counted yet is left out. A stale one is counted anew meanwhile.

        Args:
            engine: of the database.
            numbers: of what.
            patience_s: seconds to wait for those that are not fresh.

        Raises:
            Whatever the count raises, to whoever waited for it.
        """
        wanted = list(numbers)
        with self._lock:
            place = self._places.setdefault(engine, _Place())
            now = time.monotonic()
            running = [self._start(engine, place, one) for one in wanted if place.due.get(one, 0.0) <= now]
        done, _ = wait(running, timeout=patience_s)
        for one in done:
            one.result()
        with self._lock:
            return {one: place.known[one] for one in wanted if one in place.known}

    def forget(self, engine: Engine, number: int) -> None:
        """Count anew at the next look, and drop what a count under way will say: somebody changed the matter."""
        with self._lock:
            place = self._places.setdefault(engine, _Place())
            for part in (place.known, place.due, place.running):
                part.pop(number, None)

    def _start(self, engine: Engine, place: _Place[T], number: int) -> Future[None]:
        running = place.running.get(number)
        if running is None:
            running = Future()
            place.running[number] = running
            _WORKERS.submit(self._run, engine, place, number, running)
        return running

    def _run(self, engine: Engine, place: _Place[T], number: int, running: Future[None]) -> None:
        began = time.monotonic()
        try:
            found = self._count(engine, number)
        except BaseException as error:  # noqa: BLE001 - told to whoever waits
            with self._lock:
                if place.running.get(number) is running:
                    del place.running[number]
            running.set_exception(error)
            return
        took = time.monotonic() - began
        with self._lock:
            if place.running.get(number) is running:
                del place.running[number]
                self._keep(place, number, Counted(found, datetime.now(UTC), took))
        running.set_result(None)

    def _keep(self, place: _Place[T], number: int, counted: Counted[T]) -> None:
        place.known.pop(number, None)
        place.known[number] = counted
        place.due[number] = time.monotonic() + self._rarely(counted.figures) * counted.took_s
        if len(place.known) > MOST_KEPT:
            oldest = next(iter(place.known))
            del place.known[oldest], place.due[oldest]
