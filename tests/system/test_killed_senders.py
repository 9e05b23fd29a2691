"""In mid-chunk: ``kill -9`` of the process that sends, of the one that watches it, of both; Clear; Mark failed."""

from __future__ import annotations

import pytest

from tests.system.accounts import assert_told_once
from tests.system.hits import TAKE_UP_S, Hit, take_up_s
from tests.system.machinery import System

pytestmark = [pytest.mark.system, pytest.mark.timeout(1200)]

BLOWS = ["task_killed", "worker_killed", "orphaned", "cleared", "marked"]


@pytest.mark.parametrize("blow", BLOWS)
def test_the_blow_fell_in_mid_chunk(killed_senders: dict[str, Hit], blow: str) -> None:
    assert killed_senders[blow].in_doubt > 0
    assert killed_senders[blow].left > 0


@pytest.mark.parametrize("blow", BLOWS)
def test_the_work_is_taken_up_within_two_minutes(opted_in: System, killed_senders: dict[str, Hit], blow: str) -> None:
    seconds = take_up_s(opted_in, killed_senders[blow])
    print(f"{blow}: taken up after {seconds:.1f} s")
    assert seconds < TAKE_UP_S


@pytest.mark.parametrize("blow", BLOWS)
def test_the_campaign_ends_by_itself_and_everyone_saw_it_once(
    opted_in: System, killed_senders: dict[str, Hit], blow: str
) -> None:
    found = killed_senders[blow]
    assert opted_in.end_of(found.run) == "success"
    assert_told_once(opted_in, found.scene)


def test_airflow_starts_a_second_sender_beside_an_orphan(opted_in: System, killed_senders: dict[str, Hit]) -> None:
    """It misses the heartbeat, not the process: the two send side by side, and everyone saw it once all the same."""
    found = killed_senders["orphaned"]
    opted_in.end_of(found.run)
    senders = opted_in.rows(
        "SELECT sender, min(at) AS first, max(at) AS last, count(*) AS records FROM otn.attempt WHERE campaign_id = %s"
        " GROUP BY sender ORDER BY first",
        opted_in.campaign_id(found.scene),
    )
    for one in senders:
        print(f"{one.sender}: {one.records} records from {one.first:%H:%M:%S} to {one.last:%H:%M:%S}")
    assert [one.sender for one in senders if one.first > found.at]
