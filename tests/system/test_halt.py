"""The page's access token dies in mid-campaign: it stops, nobody is lost, and the same key takes it up again."""

from __future__ import annotations

import pytest

from tests.system.accounts import assert_honest, assert_told_once, figures
from tests.system.hits import in_mid_chunk
from tests.system.machinery import System

pytestmark = [pytest.mark.system, pytest.mark.timeout(1200), pytest.mark.usefixtures("killed_senders")]


@pytest.fixture(scope="module")
def halted_run(opted_in: System) -> str:
    """A run whose page died under it; some of its calls were cut after they had taken effect."""
    scene = opted_in.scenes["halted"]
    cut = sorted(scene.reachable)[:5]
    opted_in.sandbox.faults(next=[{"kind": "drop_after", "psid": psid} for psid in cut])
    run = opted_in.trigger(scene)
    in_mid_chunk(opted_in, scene)
    opted_in.sandbox.page(scene.page_id, dead=463)
    return run


def test_a_dead_page_halts_the_campaign_and_nobody_is_lost(opted_in: System, halted_run: str) -> None:
    scene = opted_in.scenes["halted"]
    assert opted_in.end_of(halted_run) == "failed"
    assert opted_in.campaign_state(scene) == "halted"
    assert_honest(opted_in, scene, over=False)
    told = figures(opted_in, scene)
    assert told["waiting"] > 0
    assert told["sent"] > 0
    assert told["waiting"] + told["sent"] + told["refused"] + told["unknown"] == len(scene.people)
    assert "190" in told["halt_reason"]
    assert "halted" in opted_in.log(halted_run, "report")


def test_while_the_page_is_dead_the_same_key_halts_again_and_spends_nobody(opted_in: System, halted_run: str) -> None:
    scene = opted_in.scenes["halted"]
    opted_in.end_of(halted_run)
    before = figures(opted_in, scene)
    assert opted_in.end_of(opted_in.trigger(scene)) == "failed"
    after = figures(opted_in, scene)
    assert (after["state"], after["waiting"]) == ("halted", before["waiting"])
    # An echo may come in meanwhile and settle who was in doubt; nobody else moves.
    assert after["sent"] + after["unknown"] == before["sent"] + before["unknown"]
    assert after["sent"] >= before["sent"]


def test_the_same_key_reaches_everyone_once_the_page_lives_again(opted_in: System, halted_run: str) -> None:
    scene = opted_in.scenes["halted"]
    opted_in.end_of(halted_run)
    opted_in.sandbox.page(scene.page_id, dead=None)
    assert opted_in.end_of(opted_in.trigger(scene)) == "success"
    assert_told_once(opted_in, scene)


def test_clearing_what_had_failed_makes_the_red_run_green_and_sends_nothing(opted_in: System, halted_run: str) -> None:
    scene = opted_in.scenes["halted"]
    opted_in.settle()
    before = opted_in.people(scene)
    opted_in.clear(halted_run, only_failed=True)
    assert opted_in.end_of(halted_run) == "success"
    assert opted_in.people(scene) == before
    assert_told_once(opted_in, scene)
