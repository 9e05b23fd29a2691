"""What operators get wrong, and what they decide: nothing is sent that was not asked for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from otn.local.demo.story import READING_S
from tests.system.accounts import assert_told_once, calls, seen
from tests.system.hits import Hit
from tests.system.machinery import System, eventually

pytestmark = [pytest.mark.system, pytest.mark.timeout(1200), pytest.mark.usefixtures("killed_senders")]

PAST = (datetime.now(UTC) - timedelta(days=1)).isoformat(timespec="seconds")
MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": ({"dry_rnu": True}, "There is no param 'dry_rnu'. Did you mean 'dry_run'?"),
    "unknown topic": ({"topic": "no such topic"}, "has no topic 'no such topic'"),
    "unknown page": ({"page": "messenger_nobody"}, "There is no page 'messenger_nobody'"),
    "past send_at": ({"send_at": PAST}, "had passed when the campaign was triggered"),
    "invalid date": ({"send_at": "2027-02-30T09:00:00Z"}, "is no date or time that exists"),
    "no time zone": ({"send_at": "2027-02-20T09:00:00"}, "has no time zone"),
    "text over the limit": ({"text": "x" * 2001}, "message.text has 2001 characters"),
    "broken template": ({"text": "Hi {{ first_name"}, "The template is broken at line 1"),
    "no message object": ({"text": None, "message": {"tekst": "Hi"}}, "message.tekst is not known"),
}


@pytest.fixture(scope="module")
def mistaken(opted_in: System) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
    """Every mistake triggered at once; what was written before, and the runs."""
    scene = opted_in.scenes["input"]
    before = opted_in.written(scene)
    runs = {name: opted_in.trigger(scene, **conf) for name, (conf, _) in MISTAKES.items()}
    yield before, runs
    assert seen(opted_in, scene) == {}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_the_log_and_the_run_is_red(
    opted_in: System, mistaken: tuple[dict[str, Any], dict[str, str]], mistake: str
) -> None:
    run = mistaken[1][mistake]
    assert opted_in.end_of(run) == "failed"
    states = opted_in.airflow.task_states("otn_broadcast", run)
    assert states.pop("validate") == "failed"
    assert set(states.values()) <= {"upstream_failed", "skipped", "None"}
    assert MISTAKES[mistake][1] in opted_in.log(run, "validate")


def test_after_all_mistakes_nothing_is_written_and_nothing_was_called(
    opted_in: System, mistaken: tuple[dict[str, Any], dict[str, str]]
) -> None:
    before, runs = mistaken
    for run in runs.values():
        opted_in.end_of(run)
    scene = opted_in.scenes["input"]
    assert opted_in.written(scene) == before
    assert calls(opted_in, scene) == 0


def test_a_dry_run_counts_everyone_and_writes_nothing(opted_in: System) -> None:
    scene = opted_in.scenes["input"]
    before = opted_in.written(scene)
    run = opted_in.trigger(scene, dry_run=True)
    assert opted_in.end_of(run) == "success"
    states = opted_in.airflow.task_states("otn_broadcast", run)
    assert states.pop("validate") == "success"
    assert set(states.values()) == {"skipped"}
    entry = f"dags/otn_broadcast/dagRuns/{run}/taskInstances/validate/xcomEntries/preview"
    preview = opted_in.call("GET", entry, params={"deserialize": True})["value"]
    assert len(scene.people) in preview.values(), preview
    assert opted_in.written(scene) == before
    assert calls(opted_in, scene) == 0


def test_approval_lets_it_go_and_rejection_cancels_it_for_good(
    opted_in: System, killed_senders: dict[str, Hit]
) -> None:
    approved, rejected = opted_in.scenes["approved"], opted_in.scenes["rejected"]
    runs = {scene.name: opted_in.trigger(scene, approval=True) for scene in (approved, rejected)}
    _answer(opted_in, runs["approved"], "Approve")
    _answer(opted_in, runs["rejected"], "Reject")
    opted_in.end_of(runs["rejected"])
    assert opted_in.campaign_state(rejected) == "cancelled"
    states = opted_in.airflow.task_states("otn_broadcast", runs["rejected"])
    assert {states[task] for task in ("plan", "canary", "send", "reconcile")} == {"skipped"}
    assert opted_in.end_of(opted_in.trigger(rejected, approval=True)) == "failed", "cancelled is cancelled"
    assert opted_in.people(rejected) == {}
    assert calls(opted_in, rejected) == 0

    assert opted_in.end_of(runs["approved"]) == "success"
    assert_told_once(opted_in, approved)
    who, cap = opted_in.rows(
        "SELECT approved_by, approved_cap FROM otn.campaign WHERE id = %s", opted_in.campaign_id(approved)
    )[0]
    assert (who, cap) == ("admin", len(approved.people) + 10)


def test_the_same_key_with_other_text_is_refused(opted_in: System) -> None:
    scene = opted_in.scenes["approved"]
    opted_in.settle()  # what people did with the message may still be on its way
    before, called = opted_in.written(scene), calls(opted_in, scene)
    run = opted_in.trigger(scene, approval=True, text="Something else")
    assert opted_in.end_of(run) == "failed"
    assert "exists on this page with another message" in opted_in.log(run, "validate")
    assert opted_in.written(scene) == before
    assert calls(opted_in, scene) == called


def _answer(system: System, run: str, option: str) -> None:
    """Answer as a person would: having read the question. Airflow asks again if it took that for a failure."""
    noticed: dict[str, float] = {}

    def decided() -> bool:
        for question in system.airflow.open_questions("otn_broadcast", run):
            first = noticed.setdefault(str(question["created_at"]), time.monotonic())
            if time.monotonic() - first > READING_S:
                system.airflow.answer(question, option)
                noticed.clear()
        return system.airflow.task_states("otn_broadcast", run)["approval"] in {"success", "skipped", "failed"}

    eventually(decided, f"the question of {run} answered")
