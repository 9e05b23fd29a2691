"""The database dies and comes back; and it hangs and comes back; in mid-campaign."""

from __future__ import annotations

import pytest

from tests.system.accounts import assert_told_once
from tests.system.hits import TAKE_UP_S, Hit, take_up_s
from tests.system.machinery import System

pytestmark = [pytest.mark.system, pytest.mark.timeout(1200)]


@pytest.fixture(params=["killed_database", "hanging_database"])
def blow(request: pytest.FixtureRequest) -> Hit:
    found: Hit = request.getfixturevalue(request.param)
    return found


def test_the_work_goes_on_within_two_minutes(opted_in: System, blow: Hit) -> None:
    seconds = take_up_s(opted_in, blow)
    print(f"{blow.scene.name}: taken up after {seconds:.1f} s")
    assert seconds < TAKE_UP_S


def test_the_campaign_ends_by_itself_and_everyone_saw_it_once(opted_in: System, blow: Hit) -> None:
    assert opted_in.end_of(blow.run) == "success"
    assert_told_once(opted_in, blow.scene)
