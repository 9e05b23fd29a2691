"""What became of people and campaigns, packed into events in the order in which it happened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from otn.database import Engine, queries, transaction

ROWS_PER_EVENT = 1000
ROWS_PER_PACK = 20_000  # one transaction, in the memory of Postgres
KEEP_DAYS = 30


@dataclass(frozen=True)
class Packed:
    """What a run has packed.

    Args:
        outcomes: of people and campaigns.
        events: requests that came of them, for each endpoint that wants them.
    """

    outcomes: int = 0
    events: int = 0


def pack(engine: Engine, *, over: Callable[[], bool] = lambda: False) -> Packed:
    """Pack all that has happened; two at once do no harm: the second leaves it to the first.

    Args:
        engine: the project's database.
        over: says that the time of this run is up; the next one goes on.
    """
    outcomes = events = 0
    while not over():
        with transaction(engine) as connection:
            if not queries("outgoing").lock_packing(connection):
                break
            row = queries("outgoing").pack(connection, most=ROWS_PER_PACK, rows_per_event=ROWS_PER_EVENT)
        outcomes, events = outcomes + row.outcomes, events + row.events
        if row.outcomes < ROWS_PER_PACK:
            break
    return Packed(outcomes, events)


def forget(engine: Engine) -> int:
    """Forget events of long ago; answers how many of them an endpoint had not taken yet."""
    with transaction(engine) as connection:
        if not queries("outgoing").lock_packing(connection):
            return 0
        return int(queries("outgoing").forget_events(connection, days=KEEP_DAYS).missed)
