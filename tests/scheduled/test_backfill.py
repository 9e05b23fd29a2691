"""Five missed days of three campaign files, backfilled in the UI and by the command; then all of them once more."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest

from otn.local.supervision import python_path
from tests.programs import require
from tests.scheduled.conftest import DAYS, LATE, PEOPLE_A_DAY
from tests.scheduled.files import ENDED, all_ended, dag_id, figures, key_of, states, told
from tests.system.machinery import ENVIRONMENT, PATIENCE_S, System, eventually
from tests.system.scenes import Scene

pytestmark = [pytest.mark.system, pytest.mark.timeout(900), pytest.mark.usefixtures("held")]

UI, COMMAND = "in the UI", "by the command"
FIRST = {"send": UI, "ask": COMMAND, "cancel": UI}
AGAIN = {"send": COMMAND, "ask": UI, "cancel": COMMAND}
SENT = {"send": {0, 1, 2, 3, 4}, "ask": {0, 2, 3}, "cancel": set[int]()}  # numbers of days; of ask those with a yes
BEHAVIOUR = {"Missing Runs": "none", "All Runs": "completed"}  # as the form says it, and as the command does

Backfill = Callable[[str, str, str], None]


@pytest.fixture(scope="module")
def operator(missed: System) -> Iterator[Any]:
    require("chromium", "chromium")
    from tests.scheduled.browser import operator

    with operator(missed) as found:
        yield found


@pytest.fixture(scope="module")
def backfill(missed: System, days: list[datetime], operator: Any) -> Backfill:
    """Backfill the days of a file, in the UI or by the command of docs/campaigns.md."""

    def begin(way: str, what: str, reprocess: str) -> None:
        dag = dag_id(missed.scenes[f"late_{what}"])
        if way == UI:
            operator.backfill(dag, days[0], days[-1], reprocess)
            return
        words = ["--dag-id", dag, "--from-date", f"{days[0]:%Y-%m-%d}", "--to-date", f"{days[-1]:%Y-%m-%d}"]
        words += ["--reprocess-behavior", BEHAVIOUR[reprocess], "--max-active-runs", str(DAYS)]
        done = subprocess.run(
            [sys.executable, "-m", "otn", "airflow", "backfill", "create", *words, "--home", str(missed.home.path)],
            env=ENVIRONMENT | {"PYTHONPATH": python_path()},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr

    return begin


@pytest.fixture(scope="module")
def asked(missed: System, days: list[datetime], backfill: Backfill) -> dict[str, str]:
    """All are backfilled; what a person was asked meanwhile, by campaign."""
    eventually(lambda: not missed.pending(), "the opt-ins of the days")
    for what in LATE:
        missed.airflow.wait_for_dag(dag_id(missed.scenes[f"late_{what}"]), PATIENCE_S)
        backfill(FIRST[what], what, "Missing Runs")
    found = _answer(missed, missed.scenes["late_ask"], days)
    for what in LATE:
        all_ended(missed, missed.scenes[f"late_{what}"], "backfill", DAYS)
    return found


@pytest.fixture(scope="module")
def again(missed: System, asked: dict[str, str], backfill: Backfill) -> dict[str, dict[str, str]]:
    """All are backfilled a second time; the states of the runs, by what their file does when late."""
    for what in LATE:
        _end(missed, missed.scenes[f"late_{what}"])
        backfill(AGAIN[what], what, "All Runs")
    return {what: all_ended(missed, missed.scenes[f"late_{what}"], "backfill", DAYS) for what in LATE}


def _answer(system: System, scene: Scene, days: list[datetime]) -> dict[str, str]:
    """Say yes or no to what each day asks, once all have asked."""
    runs = f"dags/{dag_id(scene)}/dagRuns"
    eventually(lambda: len(system.airflow.open_questions(dag_id(scene), "~")) == DAYS, "a question of each day")
    found: dict[str, str] = {}

    def answered() -> bool:
        # Airflow runs a task again whose answer comes before it has noted that the task rests; then it asks again.
        for one in system.airflow.open_questions(dag_id(scene), "~"):
            day = next(number for number, day in enumerate(days) if f"“{key_of(scene, day)}”" in one["subject"])
            found[key_of(scene, days[day])] = one["body"]
            system.airflow.answer(one, "Approve" if day in SENT["ask"] else "Reject")
        return all(one["state"] in ENDED for one in system.call("GET", runs)["dag_runs"])

    eventually(answered, "the end of five days")
    return found


def _end(system: System, scene: Scene) -> None:
    """Airflow notes the end of a backfill every half minute only, and allows one of a DAG at a time."""
    for one in system.call("GET", "backfills", params={"dag_id": dag_id(scene)})["backfills"]:
        system.call("PUT", f"backfills/{one['id']}/cancel", accepted=(409,))


def _outcome(system: System, scene: Scene) -> tuple[dict[str, str], Counter[str]]:
    return states(system, scene), told(system, scene)


def _wanted(scene: Scene, days: list[datetime], sent: set[int]) -> tuple[dict[str, str], Counter[str]]:
    """State of each campaign, and who saw it by the ledger."""
    by_key = {key_of(scene, day): "finished" if number in sent else "cancelled" for number, day in enumerate(days)}
    return by_key, Counter(psid for place, psid in enumerate(scene.people) if place // PEOPLE_A_DAY in sent)


@pytest.mark.parametrize("what", LATE)
def test_missed_days_are_backfilled_by_if_late(
    missed: System, days: list[datetime], asked: dict[str, str], what: str
) -> None:
    scene, sent = missed.scenes[f"late_{what}"], SENT[what]
    assert list(all_ended(missed, scene, "backfill", DAYS).values()) == ["success"] * DAYS
    assert _outcome(missed, scene) == _wanted(scene, days, sent)
    said = figures(missed, scene)
    for number, day in enumerate(days):
        one = said[key_of(scene, day)]
        assert (one["sent"], one["waiting"], one["unknown"]) == (PEOPLE_A_DAY * (number in sent), 0, 0)
    if what == "ask":
        assert asked.keys() == {key_of(scene, day) for day in days}
        assert all("It starts later than" in body for body in asked.values())
    print(f"{what}, {FIRST[what]}: sent on {len(sent)} days, not sent on {DAYS - len(sent)}")


@pytest.mark.parametrize("what", LATE)
def test_all_runs_backfilled_again_send_nothing(
    missed: System, days: list[datetime], again: dict[str, dict[str, str]], what: str
) -> None:
    scene = missed.scenes[f"late_{what}"]
    assert list(again[what].values()) == ["success"] * DAYS
    assert _outcome(missed, scene) == _wanted(scene, days, SENT[what])
    query = {"limit": 500}
    tasks = missed.call("GET", f"dags/{dag_id(scene)}/dagRuns/~/taskInstances", params=query)["task_instances"]
    assert Counter(one["state"] for one in tasks if one["task_id"] == "validate") == {"success": DAYS}
    assert {one["state"] for one in tasks if one["task_id"] != "validate"} == {"skipped"}, "each day looked again"
    assert missed.airflow.open_questions(dag_id(scene), "~") == []
