"""What is usual for a page: events by quarter of an hour, and silence measured against the days before it."""

from __future__ import annotations

from collections.abc import Sequence

from otn.database import PsycopgConnection, queries

SHORTEST_S = 3_600
DAYS_KNOWN = 7  # fewer say nothing
USUAL_EVENTS = 10  # so many by chance not at all: once in twenty thousand times


def count(conn: PsycopgConnection) -> None:
    """Bring the figures up to date; twice, or after a day without a look, they are the same.

    Args:
        conn: a connection in a transaction.
    """
    queries("watch").count_traffic(conn)
    queries("watch").forget_traffic(conn)


def is_unusual(silent_s: int, usual: Sequence[int | None]) -> bool:
    """Whether a silence is one that this page does not have at these hours.

    A day of the two weeks before may have been silent too (an outage), the same day of the week may not (closed).

    Args:
        silent_s: seconds since the last event.
        usual: events in the same hours of the 14 days before the silence, yesterday first; None: not known yet.
    """
    known = [events for events in usual if events is not None]
    if silent_s < SHORTEST_S or len(known) < DAYS_KNOWN:
        return False
    same_day_of_week = usual[6::7]
    if 0 in same_day_of_week or known.count(0) > len(known) // 14:
        return False
    return sum(known) >= USUAL_EVENTS * len(known)
