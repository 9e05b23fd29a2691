"""Campaigns that meet a killed worker, a worker without its database, and perhaps a Postgres that is away."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Play:
    """One campaign and what befalls it.

    Args:
        name: also the campaign's key and the topic's.
        people: how many are opted in.
        rate: messages a second of the page, which is its own.
        slow_ms: so long every answer takes, so that some are awaited at any moment.
        cut_s: so long the worker that is left hears nothing of Postgres.
        away_s: so long Postgres is stopped for everybody; 0: it is not.
        within_s: patience with the end.
    """

    name: str
    people: int
    rate: float
    slow_ms: int
    cut_s: float
    away_s: float
    within_s: float

    @property
    def connection(self) -> str:
        """Airflow connection of the page."""
        return f"messenger_{self.name}"


# A chunk is a minute of the page's pace: the small one has two, and is over soon after the lease of who was killed.
SMALL = Play("small", people=220, rate=3, slow_ms=1_500, cut_s=12, away_s=0, within_s=300)
LARGE = Play("large", people=50_000, rate=200, slow_ms=0, cut_s=30, away_s=120, within_s=900)
PLAYS = (SMALL, LARGE) if os.environ.get("OTN_LONG") else (SMALL,)
