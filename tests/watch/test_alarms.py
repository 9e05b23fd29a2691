"""Alarms: opened once, told on change, at least once, ended only by a look that found all well."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from otn.watch import alarms
from otn.watch.finding import Finding
from tests.watch.conftest import Place

BAD = Finding("ingest", "warn", "It lags.", "Look at it.")
WORSE = replace(BAD, level="alarm")
WELL = Finding("ingest", "ok", "It is well.")


class Post:
    """Who is told."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str]] = []
        self.broken = False

    def __call__(self, title: str, text: str) -> None:
        if self.broken:
            raise OSError("nobody there")
        self.got.append((title, text))


@pytest.fixture
def post() -> Post:
    return Post()


def rows(place: Place) -> list[Any]:
    return place.sql("SELECT kind, subject, level, ended_at IS NOT NULL AS ended, told_as FROM otn.alarm ORDER BY id")


def test_people_are_told_of_each_change_and_of_nothing_else(place: Place, post: Post) -> None:
    steps = [
        ([BAD], ["OTN: 1 warning"]),
        ([replace(BAD, sentence="It lags more.")], []),
        ([WORSE], ["OTN: 1 alarm"]),
        ([WORSE], []),
        ([BAD], ["OTN: 1 warning"]),
        ([WELL], ["OTN: 1 ended"]),
        ([WELL], []),
        ([BAD], ["OTN: 1 warning"]),
    ]
    for findings, expected in steps:
        place.merge(*findings)
        alarms.tell(place.engine, post)
        assert [title for title, _ in post.got] == expected
        post.got.clear()
    assert len(rows(place)) == 2  # it ended once and came again


def test_what_was_not_looked_at_stays(place: Place) -> None:
    place.merge(BAD, Finding("token", "alarm", "x", page_id=place.page_row))
    assert place.merge() == (0, 0)
    assert place.merge(replace(WELL, page_id=place.page_row)) == (0, 0)  # of the page; the alarm is the installation's
    assert place.merge(WELL) == (0, 1)
    assert [row.ended for row in rows(place)] == [True, False]


def test_of_a_kind_each_subject_ends_by_itself(place: Place, post: Post) -> None:
    two = [replace(BAD, subject=name) for name in ("a", "b")]
    assert place.merge(*two) == (2, 0)
    assert place.merge(two[1]) == (1, 1)
    assert place.merge(WELL) == (0, 1)


def test_of_two_that_say_otherwise_the_worse_counts(place: Place) -> None:
    assert place.merge(WELL, WORSE, BAD) == (1, 0)
    assert rows(place)[0].level == "alarm"


def test_a_notifier_that_fails_leaves_it_untold(place: Place, post: Post) -> None:
    place.merge(BAD)
    post.broken = True
    with pytest.raises(OSError, match="nobody"):
        alarms.tell(place.engine, post)
    assert rows(place)[0].told_as is None
    post.broken = False
    assert alarms.tell(place.engine, post) == 1
    assert alarms.tell(place.engine, post) == 0


def test_what_changes_while_people_are_told_is_told_afterwards(place: Place, post: Post) -> None:
    place.merge(BAD)

    def meanwhile(title: str, text: str) -> None:
        place.merge(WORSE)
        post(title, text)

    assert alarms.tell(place.engine, meanwhile) == 1
    assert rows(place)[0].told_as == "warn"
    assert alarms.tell(place.engine, post) == 1
    place.merge(replace(BAD, subject="short"))
    place.merge(WELL)  # came and went untold: only the end of what was told is told
    assert alarms.tell(place.engine, post) == 1
    assert [title for title, _ in post.got] == ["OTN: 1 warning", "OTN: 1 alarm", "OTN: 1 ended"]


def test_looks_at_the_same_time_open_one_alarm(place: Place) -> None:
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: place.merge(BAD, replace(BAD, kind="other")), range(12)))
    assert sorted(row.kind for row in rows(place)) == ["ingest", "other"]


def test_the_text_begins_with_the_worst_and_says_what_to_do(place: Place, post: Post) -> None:
    place.merge(BAD, Finding("token", "alarm", "It is dead.", "Renew it.", page_id=place.page_row))
    alarms.tell(place.engine, post)
    ((title, text),) = post.got
    assert title == "OTN: 1 alarm, 1 warning"
    assert text.index("ALARM · page shop · token") < text.index("WARNING · installation · ingest")
    assert "→ Renew it." in text


def test_many_changes_are_one_message_of_bounded_length(place: Place, post: Post) -> None:
    place.merge(*(replace(BAD, subject=str(n), sentence="x" * 50_000) for n in range(300)))
    assert alarms.tell(place.engine, post) == 300
    ((title, text),) = post.got
    assert title == "OTN: 300 warnings"
    assert len(text) < 100_000
    assert "260 more" in text


def test_hostile_texts_are_kept_harmless(place: Place) -> None:
    place.merge(replace(BAD, subject="a\x00b", sentence="{{ conn.otn_db }} \x1b[2J'; DROP TABLE otn.alarm; --"))
    (row,) = alarms.listing(place.engine)
    assert "\x1b" not in row["sentence"]
    assert "\x00" not in row["subject"]
    assert place.merge(WELL) == (0, 1)


def test_the_list_has_the_worst_first_and_what_ended_when_asked(place: Place) -> None:
    place.merge(BAD, replace(BAD, kind="bad", level="alarm"), replace(BAD, kind="gone"))
    place.merge(replace(WELL, kind="gone"))
    assert [row["kind"] for row in alarms.listing(place.engine)] == ["bad", "ingest"]
    assert [row["kind"] for row in alarms.listing(place.engine, ended=True)] == ["bad", "ingest", "gone"]
