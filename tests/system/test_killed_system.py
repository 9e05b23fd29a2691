"""``kill -9`` of everything in mid-campaign: Postgres, Airflow, receiver, supervisor; then ``./otn up`` again."""

from __future__ import annotations

import pytest

from tests.system.accounts import assert_told_once
from tests.system.hits import TAKE_UP_S, Hit, take_up_s
from tests.system.machinery import System

pytestmark = [pytest.mark.system, pytest.mark.timeout(1200)]


def test_the_work_is_taken_up_within_two_minutes_of_up(opted_in: System, killed_system: Hit) -> None:
    assert killed_system.in_doubt > 0
    assert killed_system.left > 0
    seconds = take_up_s(opted_in, killed_system)
    print(f"everything killed: up again in {opted_in.up_s[-1]:.1f} s, taken up {seconds:.1f} s after")
    assert seconds < TAKE_UP_S


@pytest.mark.usefixtures("hanging_database")  # while leases run out, the database dies and hangs as well
def test_the_campaign_ends_by_itself_and_everyone_saw_it_once(opted_in: System, killed_system: Hit) -> None:
    assert opted_in.end_of(killed_system.run) == "success"
    assert_told_once(opted_in, killed_system.scene)
