"""Two ways to do the same to a database that was filled once: in turns, each on a copy of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.shop import do
from benchmarks.stage import Cluster
from otn.database import Engine, make_engine, migrate
from otn.local.progress import Progress

NOT_EMPTY = """
SELECT string_agg(relid::regclass::text, ', ') FROM pg_stat_user_tables WHERE pg_relation_size(relid) > 0
"""
Work = Callable[[Engine], object]


@dataclass(frozen=True)
class Filled:
    """A database that is copied for each turn, so that no turn finds what another left.

    Args:
        cluster: where it is.
        name: of the database.
    """

    cluster: Cluster
    name: str

    @classmethod
    def by(cls, cluster: Cluster, fill: Work, name: str = "filled") -> Filled:
        """Make it.

        Tables that stay empty are left as a new installation has them: counted as empty, they would be walked over by
        whoever has made his plan before they grow.

        Args:
            cluster: where.
            fill: writes what is in it.
            name: of the database.
        """
        one = cls(cluster, name)
        one._do("postgres", f"CREATE DATABASE {name}")
        migrate(cluster.server.url(name))
        with one._open(name) as engine:
            fill(engine)
            filled = do(engine, NOT_EMPTY)
        one._do(name, f"VACUUM (ANALYZE) {filled}")
        return one

    def seconds(self, work: Work, check: Work) -> float:
        """How long work takes on a copy.

        Args:
            work: what is measured.
            check: raises where the copy is not what the work should have made of it.
        """
        with self.turn() as engine:
            began = time.monotonic()
            work(engine)
            took = time.monotonic() - began
            check(engine)
        return took

    @contextmanager
    def turn(self) -> Iterator[Engine]:
        """A copy for one turn: the database ``turn``."""
        self._do("postgres", f"CREATE DATABASE turn TEMPLATE {self.name} STRATEGY file_copy")
        try:
            with self._open("turn") as engine:
                yield engine
        finally:
            self._do("postgres", "DROP DATABASE turn (FORCE)")

    @contextmanager
    def _open(self, name: str) -> Iterator[Engine]:
        engine = make_engine(self.cluster.server.url(name))
        try:
            yield engine
        finally:
            engine.dispose()

    def _do(self, database: str, command: str) -> None:
        """Outside of a transaction, as these commands want it."""
        with closing(self.cluster.server.connect(database)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(command)


def beside(
    filled: Filled, ours: Work, limit: Work, check: Work, *, rows: int, rounds: int, bound: float, progress: Progress
) -> dict[str, Any]:
    """Measure ours and the limit in turns.

    Args:
        filled: what each turn begins with.
        ours: what is judged.
        limit: does as little as can be done.
        check: raises where one of them did not do it.
        rows: that each of them works on.
        rounds: how often each.
        bound: of the ratio of times.
        progress: told what happens.
    """
    seconds: dict[str, list[float]] = {"ours": [], "limit": []}
    for number in range(rounds):
        for name, work in (("limit", limit), ("ours", ours)):
            progress.stage(f"round {number + 1} of {rounds}, {name}")
            seconds[name].append(filled.seconds(work, check))
    ratios = [one / other for one, other in zip(seconds["ours"], seconds["limit"], strict=True)]
    return {
        "rows": rows,
        "rounds": rounds,
        "sides": [side(name, rows, some) for name, some in seconds.items()],
        "to_limit": round(median(ratios), 2),
        "to_limit_least": round(min(ratios), 2),
        "to_limit_most": round(max(ratios), 2),
        "bound": bound,
    }


def side(name: str, rows: int, seconds: list[float]) -> dict[str, Any]:
    """Figures of a side that worked on so many rows in each turn."""
    return {
        "name": name,
        "rows": rows,
        "s": round(median(seconds), 3),
        "least_s": round(min(seconds), 3),
        "most_s": round(max(seconds), 3),
        "us_each": round(median(seconds) / rows * 1e6, 1),
    }
