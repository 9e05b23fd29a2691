"""A file is dropped, edited and taken away while the system runs; nothing is started again for it."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from otn.local.supervision import Supervisor
from tests.scheduled.files import all_ended, audit, dag_id, drop, figures, key_of, opt_in, runs, states, told
from tests.system.machinery import PATIENCE_S, System, eventually
from tests.system.scenes import Scene

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

MINUTE = timedelta(minutes=1)
DONE = {"finished"}
EACH_MINUTE = {"cron": "* * * * *", "timezone": "UTC"}


def this_minute() -> datetime:
    return datetime.now(UTC).replace(second=0, microsecond=0)


def opt_in_within_a_minute(
    system: System, scene: Scene, people: list[str], after: datetime
) -> tuple[list[str], list[datetime]]:
    """Let one of the people opt in and be ingested before a minute later than that is over; answers who tried, when.

    The last of them was in time. Who was not may still be sent to: the run of that minute begins after its end.
    """
    minutes: list[datetime] = []
    for psid in people:
        eventually(lambda: this_minute() > after and datetime.now(UTC).second < 20, "the beginning of a minute")
        minutes.append(this_minute())
        opt_in(system, scene, [psid], datetime.now(UTC))
        system.sandbox.flush()
        eventually(lambda: not system.pending(), "the opt-in")
        if this_minute() == minutes[-1]:
            return people[: len(minutes)], minutes
    raise AssertionError("the machine is too busy for a schedule of each minute")


def programs(system: System) -> dict[str, int | None]:
    return {name: one.pid for name, one in Supervisor(system.home).programs().items()}


def test_a_dropped_file_becomes_a_dag_and_runs_on_its_schedule(system: System) -> None:
    scene, before = system.scenes["minutely"], programs(system)
    dropped = datetime.now(UTC)
    drop(system, scene, if_late="send", schedule=EACH_MINUTE, start=this_minute().isoformat())
    system.airflow.wait_for_dag(dag_id(scene), PATIENCE_S)
    print(f"a DAG {(datetime.now(UTC) - dropped).total_seconds():.0f} s after the file was dropped")
    tried: dict[str, str] = {}
    wanted: set[str] = set()
    minute = this_minute()
    for people in (scene.people[:3], scene.people[3:]):
        psids, minutes = opt_in_within_a_minute(system, scene, people, minute)
        tried |= {psid: key_of(scene, begun) for psid, begun in zip(psids, minutes, strict=True)}
        wanted.add(psids[-1])
        minute = minutes[-1]

    def over() -> bool:
        now = states(system, scene)
        return {now.get(tried[psid]) for psid in wanted} == {now[key] for key in tried.values() if key in now} == DONE

    eventually(over, "the campaigns of two minutes")
    reached = told(system, scene)
    assert set(reached.values()) == {1}
    assert wanted <= reached.keys() <= tried.keys()
    assert {key: one["sent"] for key, one in figures(system, scene).items() if one["planned"]} == dict.fromkeys(
        (tried[psid] for psid in reached), 1
    )
    assert programs(system) == before, "nothing was started again"
    assert runs(system, scene, "manual") == runs(system, scene, "backfill") == {}


def test_a_stop_ends_the_schedule_and_stands_in_the_audit(system: System) -> None:
    scene = system.scenes["minutely"]
    first = this_minute()
    drop(
        system, scene, if_late="send", schedule=EACH_MINUTE, start=(first - MINUTE).isoformat(), stop=first.isoformat()
    )
    eventually(lambda: system.call("GET", f"dags/{dag_id(scene)}")["next_dagrun_run_after"] is None, "the stop")
    made = all_ended(system, scene, "scheduled", 1)
    assert set(made.values()) == {"success"}
    edits = [one["sha256"] for one in audit(system, scene, "read file")]
    stopped = audit(system, scene, "stopped by file")
    assert len(set(edits)) == 1
    assert {one["sha256"] for one in stopped}.isdisjoint(edits), "a run after the edit says which file stopped it"
    assert len(edits) + len(stopped) == len(made)


def test_a_file_that_is_gone_is_told_of_and_its_campaign_goes_on_when_it_is_back(held: System) -> None:
    scene = held.scenes["moment"]
    (run,) = held.call("GET", f"dags/{dag_id(scene)}/dagRuns")["dag_runs"]
    eventually(lambda: held.call("GET", f"dags/{dag_id(scene)}")["is_stale"], "the end of the DAG")
    look = held.airflow.trigger("otn_watch")
    assert held.end_of(look, "otn_watch") == "success"
    (alarm,) = held.rows("SELECT level::text, sentence, advice FROM otn.alarm WHERE kind = 'campaign_file'")
    assert alarm.level == "alarm"
    assert alarm.sentence == "The campaign moment is scheduled, and its file moment.yaml is gone: it will not be sent."
    assert "./otn campaigns cancel moment --page messenger_moment" in alarm.advice
    assert (states(held, scene), told(held, scene)) == ({"moment": "scheduled"}, Counter())

    moment = datetime.now(UTC).replace(microsecond=0)
    drop(held, scene, audience={}, approval=True, schedule={"at": moment.isoformat(), "timezone": "UTC"})
    eventually(lambda: not held.call("GET", f"dags/{dag_id(scene)}")["is_stale"], "the DAG again")
    path = f"dags/{dag_id(scene)}/clearTaskInstances"  # it looks again by itself, within ten minutes
    what = {"task_ids": ["wait_for_send_at"], "include_downstream": True, "only_failed": False, "dry_run": False}
    held.call("POST", path, json=what | {"dag_run_id": run["dag_run_id"]})
    assert held.end_of(run["dag_run_id"], dag_id(scene)) == "success"
    assert told(held, scene) == Counter(scene.people)
    (moved,) = held.rows("SELECT detail FROM otn.audit WHERE action = 'rescheduled'")
    assert datetime.fromisoformat(moved.detail["to"]) == moment
