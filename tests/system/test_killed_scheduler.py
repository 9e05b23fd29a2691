"""``kill -9`` of the scheduler in mid-campaign."""

from __future__ import annotations

import pytest

from tests.system.accounts import assert_told_once
from tests.system.hits import TAKE_UP_S, Hit, take_up_s
from tests.system.machinery import System

pytestmark = [pytest.mark.system, pytest.mark.timeout(1200)]


def test_the_work_is_taken_up_within_two_minutes(opted_in: System, killed_scheduler: Hit) -> None:
    assert killed_scheduler.left > 0
    seconds = take_up_s(opted_in, killed_scheduler)
    print(f"scheduler killed: taken up after {seconds:.1f} s")
    assert seconds < TAKE_UP_S


def test_the_campaign_ends_by_itself_and_everyone_saw_it_once(opted_in: System, killed_scheduler: Hit) -> None:
    assert opted_in.end_of(killed_scheduler.run) == "success"
    assert_told_once(opted_in, killed_scheduler.scene)
