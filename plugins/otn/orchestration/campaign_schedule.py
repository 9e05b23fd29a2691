"""When the campaign of a file is sent: by cron in a time zone, or at one moment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from croniter import CroniterError, croniter  # type: ignore[import-untyped]

from otn.errors import UsageError
from otn.orchestration.reading_params import short

PRESETS = ("@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly")
SCHEDULE_FIELDS = ("cron", "at", "timezone")

_ZONE = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")
_NAMES = re.compile(
    r"\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|sun|mon|tue|wed|thu|fri|sat)\b", re.IGNORECASE
)
_FIELD = re.compile(r"[\d*,/#-]+")


class ScheduleError(UsageError):
    """The schedule cannot be used. Correct it."""


@dataclass(frozen=True)
class Schedule:
    """When a campaign is sent.

    Args:
        timezone: IANA name, such as ``Europe/Berlin``.
        cron: five fields or a preset; each interval between two of its moments is one campaign. None: ``at`` is given.
        at: the one moment. None: ``cron`` is given.
        start: no interval begins before it.
        stop: nothing is sent after it.
        catchup: intervals that were missed are made up for without being asked.
    """

    timezone: str
    cron: str | None = None
    at: datetime | None = None
    start: datetime | None = None
    stop: datetime | None = None
    catchup: bool = False

    def __str__(self) -> str:
        if self.at is not None:
            return f"at {self.at.astimezone(ZoneInfo(self.timezone)).isoformat()}"
        bounds = (("from", self.start), ("until", self.stop))
        said = [f"{word} {at.astimezone(ZoneInfo(self.timezone)).isoformat()}" for word, at in bounds if at]
        return " ".join([str(self.cron), self.timezone, *said])


def read_zone(value: Any) -> str:
    """Read the name of a time zone.

    Raises:
        ScheduleError: there is none of this name.
    """
    try:
        if isinstance(value, str) and _ZONE.fullmatch(value):
            return ZoneInfo(value).key
    except (ValueError, LookupError, OSError):  # a folder of the time zone database is no zone
        pass
    raise ScheduleError(f"There is no time zone {short(value)}. Write one like Europe/Berlin or UTC.")


def read_cron(value: Any) -> str:
    """Read a cron expression of five fields, or a preset.

    Raises:
        ScheduleError: it is none, or its moment never comes.
    """
    if value in PRESETS:
        return str(value)
    parts = value.split() if isinstance(value, str) else []
    if len(parts) != 5 or not all(_FIELD.fullmatch(_NAMES.sub("1", part)) for part in parts) or not _comes(value):
        raise ScheduleError(
            f"{short(value)} is no cron expression whose moment comes. Write five fields in quotes, such as "
            f'"0 9 * * 1-5" (minute, hour, day, month, weekday), or one of {", ".join(PRESETS)}.'
        )
    return " ".join(parts)


def _comes(cron: str) -> bool:
    try:
        croniter(cron, datetime(2024, 1, 1, tzinfo=UTC)).get_next()
    except (ValueError, LookupError, CroniterError):
        return False
    return True


def read_local(value: Any, zone: str) -> datetime:
    """Read a moment; a clock time without an offset is that of the zone.

    Args:
        value: text, or what YAML made of it.
        zone: name of the time zone.

    Raises:
        ScheduleError: it is none, does not exist, or exists twice.
    """
    try:
        if isinstance(value, str):
            value = datetime.fromisoformat(value.strip())
        elif isinstance(value, date) and not isinstance(value, datetime):
            value = datetime.combine(value, time())
        if isinstance(value, datetime):
            return value.astimezone(UTC) if value.tzinfo else _of_zone(value, zone)
    except (ValueError, OverflowError):
        pass
    raise ScheduleError(f"{short(value)} is no moment. Write one like 2027-03-01T09:00:00.")


def _of_zone(naive: datetime, zone: str) -> datetime:
    first = naive.replace(tzinfo=ZoneInfo(zone))
    moment = first.astimezone(UTC)
    if moment.astimezone(first.tzinfo).replace(tzinfo=None) != naive:
        raise ScheduleError(f"{naive.isoformat()} does not exist in {zone}: clocks go forward. Take another time.")
    if moment != first.replace(fold=1).astimezone(UTC):
        raise ScheduleError(
            f"{naive.isoformat()} comes twice in {zone}: clocks go back. Add the offset that is meant, such as "
            f"{first.isoformat()}."
        )
    return moment


def exactly_one(fields: Mapping[str, Any]) -> str:
    """Which of ``cron`` and ``at`` a schedule has.

    Raises:
        ScheduleError: it has both, or neither.
    """
    if (fields.get("cron") is None) == (fields.get("at") is None):
        raise ScheduleError('Give exactly one of cron: "0 9 * * *" and at: 2027-03-01T09:00:00.')
    return "at" if fields.get("cron") is None else "cron"
