from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone

from otn.orchestration.window import days, window

MIDNIGHT = datetime(2027, 3, 2, tzinfo=UTC)
DAY = timedelta(days=1)


@dataclass
class DagRun:
    run_after: datetime = MIDNIGHT
    logical_date: datetime | None = None
    data_interval_start: datetime | None = None
    data_interval_end: datetime | None = None


def of(**values: datetime) -> dict[str, DagRun]:
    return {"dag_run": DagRun(**values)}


def test_a_scheduled_run_is_about_its_interval() -> None:
    context = of(data_interval_start=MIDNIGHT - DAY, data_interval_end=MIDNIGHT, logical_date=MIDNIGHT - DAY)
    assert window(context) == (MIDNIGHT - DAY, MIDNIGHT)
    assert days(context) == [date(2027, 3, 1)]


def test_a_run_without_any_date_is_about_the_last_whole_day() -> None:
    assert days(of(run_after=MIDNIGHT + timedelta(hours=15))) == [date(2027, 3, 1)]


def test_a_run_whose_interval_is_a_moment_is_about_the_day_before_it() -> None:
    noon = MIDNIGHT + timedelta(hours=12)
    assert days(of(data_interval_start=noon, data_interval_end=noon, logical_date=noon)) == [date(2027, 3, 1)]


def test_an_interval_of_several_days_and_another_zone_is_counted_in_utc() -> None:
    zone = timezone(timedelta(hours=2))
    start, end = datetime(2027, 3, 1, 2, tzinfo=zone), datetime(2027, 3, 3, 2, tzinfo=zone)
    assert days(of(data_interval_start=start, data_interval_end=end)) == [date(2027, 3, 1), date(2027, 3, 2)]
    assert days(of(data_interval_start=start, data_interval_end=end + timedelta(seconds=1)))[-1] == date(2027, 3, 3)
