"""From a run's context to the days that it is about."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

DAY = timedelta(days=1)


def window(context: Mapping[str, Any]) -> tuple[datetime, datetime]:
    """Start and end of the interval of a run.

    A run triggered without a logical date has none: it gets the last whole day (UTC) before the moment it was due.

    Args:
        context: Airflow's task context.
    """
    run = context["dag_run"]
    start, end = run.data_interval_start, run.data_interval_end
    if start is not None and end is not None and start < end:
        return start.astimezone(UTC), end.astimezone(UTC)
    moment = (end or run.logical_date or run.run_after).astimezone(UTC)
    midnight = datetime.combine(moment.date(), time(), tzinfo=UTC)
    return midnight - DAY, midnight


def days(context: Mapping[str, Any]) -> list[date]:
    """The days (UTC) that the interval of a run touches, in order."""
    start, end = window(context)
    first, last = start.date(), (end - timedelta(microseconds=1)).date()
    return [first + n * DAY for n in range((last - first).days + 1)]
