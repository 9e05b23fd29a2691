"""Silence is measured against the days before it."""

from __future__ import annotations

import pytest

from otn.database import queries, transaction
from otn.watch import traffic
from otn.watch.finding import Finding
from otn.watch.pages import findings
from tests.watch.conftest import Place

DAY = 96  # quarters of an hour
BUSY = [20] * 14
HOUR = 3600


@pytest.mark.parametrize(
    ("silent_s", "usual", "unusual"),
    [
        (2 * HOUR, BUSY, True),
        (HOUR - 1, BUSY, False),  # too short to say anything
        (2 * HOUR, [20] * 6 + [None] * 8, False),  # hardly known
        (2 * HOUR, [20] * 7 + [None] * 7, True),
        (2 * HOUR, [None] * 14, False),
        (2 * HOUR, [], False),
        (2 * HOUR, [0] + [20] * 13, True),  # one outage is no habit
        (2 * HOUR, [0, 0] + [20] * 12, False),
        (2 * HOUR, [20] * 6 + [0] + [20] * 7, False),  # closed on this day of the week
        (2 * HOUR, [20] * 13 + [0], False),
        (2 * HOUR, [0] + [20] * 6 + [None] * 7, False),  # one of seven may be a habit
        (2 * HOUR, [2] * 14, False),  # so few may be missing by chance
        (90 * HOUR, BUSY, True),
    ],
)
def test_what_is_unusual(silent_s: int, usual: list[int | None], unusual: bool) -> None:
    assert traffic.is_unusual(silent_s, usual) is unusual


def silence(place: Place) -> Finding:
    with transaction(place.engine) as conn:
        traffic.count(conn)
    with transaction(place.engine) as conn:
        (found,) = [one for one in findings(conn, place.pages()) if one.kind == "silence"]
    return found


def busy(place: Place, first: int, last: int, per_quarter: int = 3) -> None:
    """Traffic in each quarter from ``first`` back to ``last`` quarters ago."""
    place.events(*[quarter for quarter in range(first, last) for _ in range(per_quarter)])


def test_a_page_without_any_traffic_is_not_alarming(place: Place) -> None:
    assert silence(place).level == "ok"


def test_a_busy_page_that_falls_silent_is(place: Place) -> None:
    busy(place, 10, 15 * DAY)
    found = silence(place)
    assert found.level == "alarm"
    assert "2." in found.sentence
    place.events(0)
    assert silence(place).level == "ok"


def test_a_silence_goes_on_for_as_long_as_it_lasts(place: Place) -> None:
    """The silent days are not the habit that they are measured against."""
    busy(place, 4 * DAY, 20 * DAY)
    assert silence(place).level == "alarm"


def test_a_page_that_is_silent_at_these_hours_every_day_is_as_usual(place: Place) -> None:
    for day in range(15):
        busy(place, day * DAY + 12, day * DAY + 60)
    assert silence(place).level == "ok"


def test_nothing_is_said_while_the_ingest_lags(place: Place) -> None:
    busy(place, 10, 15 * DAY)
    place.sql(
        "INSERT INTO otn.webhook_event (received_day, id, body, received_at)"
        " VALUES (current_date, gen_random_uuid(), 'x', now() - interval '1 hour')"
    )
    with transaction(place.engine) as conn:
        traffic.count(conn)
        assert [one for one in findings(conn, place.pages()) if one.kind == "silence"] == []


def test_counting_twice_or_after_a_long_break_gives_the_same_figures(place: Place) -> None:
    other = place.value("INSERT INTO otn.page (page_id, connection_id) VALUES ('2002', 'other') RETURNING id")
    busy(place, 0, 3 * DAY, 1)
    place.events(1, 1, 40 * DAY, page=other)
    for _ in range(2):
        with transaction(place.engine) as conn:
            queries("watch").count_traffic(conn)
        assert place.value("SELECT sum(events) FROM otn.traffic") == 3 * DAY + 2
    place.sql("DELETE FROM otn.traffic WHERE quarter > now() - interval '1 day'")  # the watch was away for a day
    with transaction(place.engine) as conn:
        traffic.count(conn)
    assert place.value("SELECT sum(events) FROM otn.traffic") == 3 * DAY + 2
