"""Counts that are made aside and kept for a while."""

from __future__ import annotations

from threading import Event
from typing import Any

import pytest
from sqlalchemy import create_engine

from otn.console import counting
from otn.console.counting import Kept
from otn.database import Engine


@pytest.fixture
def database() -> Engine:
    """A name of a database; nobody connects to it."""
    return create_engine("postgresql+psycopg2://")


def test_a_quick_count_is_made_anew_and_a_slow_one_kept(database: Engine) -> None:
    tallies: list[int] = []
    kept = Kept(lambda _, number: tallies.append(number) or len(tallies), lambda _: 1e9)
    assert kept.get(database, 1, patience_s=30).figures == 1  # type: ignore[union-attr]
    assert kept.get(database, 1, patience_s=30).figures == 1  # type: ignore[union-attr]
    kept.forget(database, 1)
    assert kept.get(database, 1, patience_s=30).figures == 2  # type: ignore[union-attr]
    always = Kept(lambda _, number: tallies.append(number) or len(tallies), lambda _: 0)
    assert always.get(database, 1, patience_s=30).figures == 3  # type: ignore[union-attr]
    assert always.get(database, 1, patience_s=30).figures == 4  # type: ignore[union-attr]


def test_a_count_that_fails_fails_whoever_waited_and_is_tried_again(database: Engine) -> None:
    faults = [RuntimeError("away")]

    def count(*_: Any) -> int:
        if faults:
            raise faults.pop()
        return 5

    kept = Kept(count)
    with pytest.raises(RuntimeError, match="away"):
        kept.get(database, 1, patience_s=30)
    assert kept.get(database, 1, patience_s=30).figures == 5  # type: ignore[union-attr]


def test_what_was_being_counted_when_something_changed_is_dropped(database: Engine) -> None:
    gate, answers = Event(), ["old", "new"]

    def count(*_: Any) -> str:
        answer = answers.pop(0)
        if answer == "old":
            gate.wait(30)
        return answer

    kept = Kept(count, lambda _: 1e9)
    assert kept.get(database, 1, patience_s=0) is None
    old = kept._places[database].running[1]
    kept.forget(database, 1)
    assert kept.get(database, 1, patience_s=30).figures == "new"  # type: ignore[union-attr]
    gate.set()
    old.result(30)
    assert kept.get(database, 1, patience_s=30).figures == "new"  # type: ignore[union-attr]


def test_only_so_many_are_kept(database: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "MOST_KEPT", 3)
    kept = Kept(lambda _, number: number, lambda _: 1e9)
    for number in range(6):
        kept.get(database, number, patience_s=30)
    assert len(kept._places[database].known) == 3


def test_what_took_no_time_is_made_anew_however_rarely_it_should_be(database: Engine) -> None:
    tallies: list[str] = []
    kept = Kept(lambda _, word: tallies.append(word) or len(tallies), lambda _: 1e9, quick_s=60)
    assert kept.get(database, "a", patience_s=30).figures == 1  # type: ignore[union-attr]
    assert kept.get(database, "a", patience_s=30).figures == 2  # type: ignore[union-attr]


def test_no_more_are_begun_than_may_be_under_way_and_whoever_asks_again_is_served(database: Engine) -> None:
    gate, begun = Event(), []

    def count(_: Engine, word: str) -> str:
        begun.append(word)
        gate.wait(30)
        return word

    kept = Kept(count, at_once=1)
    assert kept.get(database, "first", patience_s=0) is None
    assert kept.get(database, "second", patience_s=0) is None
    gate.set()
    assert kept.get(database, "first", patience_s=30).figures == "first"  # type: ignore[union-attr]
    assert kept.get(database, "second", patience_s=30).figures == "second"  # type: ignore[union-attr]
    assert begun[0] == "first"
