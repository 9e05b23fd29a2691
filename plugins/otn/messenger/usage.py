"""The usage headers: how close the page and the app are to being throttled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from otn.messenger import wire

_FLAT_HEADERS = ("X-App-Usage", "X-Page-Usage")
_BUSINESS_HEADER = "X-Business-Use-Case-Usage"
_PERCENTAGES = ("call_count", "total_time", "total_cputime")
_OUR_TYPES = ("messenger", "pages", None)
_HIGHEST_PERCENT = 100_000
_LONGEST_WAIT_MINUTES = 7 * 24 * 60
_HIGHEST_WAIT = 1e9


@dataclass(frozen=True, slots=True)
class Usage:
    """The worst figures that one answer carried.

    Args:
        percent: The highest of call count, time and CPU time, in percent; throttling starts at 100 in any of them.
        wait_minutes: Minutes until access is regained; 0 while there is access.
    """

    percent: float
    wait_minutes: float


def read_usage(headers: Mapping[str, str], page_id: str) -> Usage | None:
    """Read the usage headers of an answer; None where there are none, which is normal at low volume.

    Source: Meta docs, Graph API rate limiting. Percentages are integers over a rolling window; the value under a
    business object is an array; ``estimated_time_to_regain_access`` is in minutes. What is malformed is ignored: these
    headers are advice, and an answer must never be lost over them.

    Args:
        headers: Case-insensitive mapping.
        page_id: Where the business header tells objects apart, only this page counts.
    """
    readings = [*_flat(headers), *_business(headers, page_id)]
    figures = [_percent(reading.get(key)) for reading in readings for key in _PERCENTAGES]
    percents = [figure for figure in figures if figure is not None]
    waits = [figure for reading in readings if (figure := _wait(reading)) is not None]
    if not percents and not waits:
        return None
    return Usage(percent=max(percents, default=0.0), wait_minutes=max(waits, default=0.0))


def _flat(headers: Mapping[str, str]) -> Iterable[dict[str, Any]]:
    return [value for name in _FLAT_HEADERS if isinstance(value := _json(headers.get(name)), dict)]


def _business(headers: Mapping[str, str], page_id: str) -> Iterable[dict[str, Any]]:
    objects = _json(headers.get(_BUSINESS_HEADER))
    if not isinstance(objects, dict):
        return []
    # Up to 32 objects of one business come along; another page's full bucket must not brake this one.
    chosen = [objects[page_id]] if page_id in objects else list(objects.values())
    entries = [entry for entries in chosen if isinstance(entries, list) for entry in entries]
    return [entry for entry in entries if isinstance(entry, dict) and entry.get("type") in _OUR_TYPES]


def _json(text: str | None) -> Any:
    try:
        return wire.decode(text) if text else None
    except ValueError:
        return None


def _percent(value: object) -> float | None:
    return _bounded(value, _HIGHEST_PERCENT)


def _wait(reading: Mapping[str, Any]) -> float | None:
    minutes = _bounded(reading.get("estimated_time_to_regain_access"), _HIGHEST_WAIT)
    # A wait of years is a broken figure or a broken clock; a week is asked again after a week.
    return None if minutes is None else min(minutes, _LONGEST_WAIT_MINUTES)


def _bounded(value: object, highest: float) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0 <= value <= highest else None
