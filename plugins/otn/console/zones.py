"""Clock times that people choose, and the zones that these are meant in."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from otn.orchestration.campaign_schedule import ScheduleError, read_local

# Links of the time zone database to names of today, and signs turned round: nobody means Etc/GMT+5 as it is.
_NOT_OFFERED = ("Etc/", "SystemV/", "US/", "Brazil/", "Canada/", "Chile/", "Mexico/", "posix/", "right/")


@cache
def zones() -> tuple[str, ...]:
    """Names of zones to choose from, UTC first."""
    named = (name for name in available_timezones() if "/" in name and not name.startswith(_NOT_OFFERED))
    return ("UTC", *sorted(named))


def moment_of(text: str, zone: str, which: str = "") -> datetime:
    """The moment of a clock time in a zone.

    Args:
        text: as a browser's field of date and time gives it.
        zone: name of the time zone.
        which: ``first`` or ``second``, where clocks go back and the time comes twice.

    Raises:
        ScheduleError: it is no time, does not exist, or comes twice and ``which`` does not say which.
    """
    try:
        local = datetime.fromisoformat(text.strip())
    except ValueError:
        return read_local(text, zone)
    if local.tzinfo is not None or not comes_twice(local, zone):
        return read_local(text, zone)
    if which not in {"first", "second"}:
        raise ScheduleError(f"{local:%H:%M} comes twice on that day in {zone}: clocks go back. Choose which is meant.")
    return read_local(local.replace(tzinfo=ZoneInfo(zone), fold=which == "second").isoformat(), zone)


def comes_twice(local: datetime, zone: str) -> bool:
    """Whether clocks of a zone show a time twice."""
    first = local.replace(tzinfo=ZoneInfo(zone))
    before, after = first.utcoffset(), first.replace(fold=1).utcoffset()
    return before is not None and after is not None and before > after


def clock_time(moment: datetime) -> str:
    """A moment as a field of date and time holds it, in UTC."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat()
