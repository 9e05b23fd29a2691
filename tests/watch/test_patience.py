"""Many things at once, and not for ever."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from socket import create_server
from threading import Barrier, Event
from types import SimpleNamespace

import pytest

from otn.settings import PageSettings
from otn.watch.look import Surroundings, platform
from otn.watch.patience import within
from otn.watch.receivers import findings


def test_all_are_done_at_the_same_time_and_told_in_order() -> None:
    together = Barrier(3)

    def work(thing: int) -> int:
        together.wait(30)
        return thing * 2

    assert [future.result() for future in within(30, work, [1, 2, 3], at_once=3)] == [2, 4, 6]
    assert within(1, work, []) == []


def test_what_hangs_is_left_behind_and_the_rest_is_not_begun() -> None:
    hangs, begun = Event(), list[int]()

    def work(thing: int) -> int:
        begun.append(thing)
        if thing:
            hangs.wait(60)
        return thing

    futures = within(2, work, [0, 1, 2], at_once=1)
    assert [future.done() for future in futures] == [True, False, False]
    hangs.set()
    assert futures[1].result(30) == 1
    assert begun == [0, 1]


def test_what_fails_is_told_by_its_future() -> None:
    def work(_: int) -> int:
        raise ValueError("why")

    (future,) = within(30, work, [1])
    with pytest.raises(ValueError, match="why"):
        future.result()


@pytest.fixture
def silence() -> Iterator[str]:
    """The address of somebody who takes connections and never says a word."""
    with closing(create_server(("127.0.0.1", 0), backlog=100)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_pages_that_the_platform_is_silent_about_are_told_in_time(silence: str) -> None:
    page = PageSettings("shop", silence, "1", "EAAB-secret", "a", "v")
    asked = {number: replace(page, connection_id=f"shop{number}") for number in range(20)}
    stages: list[str] = []
    around = Surroundings(settings=lambda name: SimpleNamespace(name=name), stage=stages.append, limit_s=0.3)
    found = list(platform(asked, around))
    assert {(one.kind, one.level) for one in found} == {("platform", "warn")}
    assert {one.page_id for one in found} == set(asked)
    assert stages == ["asking the platform about shop0, shop1, shop2, shop3, shop4 and 15 more"]


def test_a_silent_receiver_does_not_answer(silence: str) -> None:
    (found,) = findings([silence], limit_s=0.3)
    assert (found.kind, found.level) == ("receiver", "alarm")
