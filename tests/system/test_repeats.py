"""The same thing again, in every way that Airflow offers: no message more, no right row changed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from otn.local.demo.airflow_api import AirflowApi
from otn.local.home import ADMIN
from tests.system.accounts import assert_told_once, calls, seen
from tests.system.hits import in_mid_chunk
from tests.system.machinery import System, eventually
from tests.system.scenes import Scene

pytestmark = [pytest.mark.system, pytest.mark.timeout(1200), pytest.mark.usefixtures("killed_scheduler")]


@pytest.fixture(scope="module")
def finished_run(opted_in: System) -> str:
    """One of two runs of one campaign that were triggered at the same instant, and then helped by ``otn_retry``."""
    scene = opted_in.scenes["repeated"]
    runs = _at_once(opted_in, scene.conf(), 2)
    in_mid_chunk(opted_in, scene)
    helpers = [opted_in.airflow.trigger("otn_retry", _retry(scene, scope)) for scope in ("waiting", "unknown")]
    assert [opted_in.end_of(run) for run in runs] == ["success", "success"]
    assert [opted_in.end_of(run, "otn_retry") for run in helpers] == ["success", "success"]
    assert_told_once(opted_in, scene)
    opted_in.settle()
    return runs[0]


@pytest.fixture(autouse=True)
def _nothing_more_is_sent(opted_in: System, finished_run: str) -> Iterator[None]:
    scene = opted_in.scenes["repeated"]
    before, told = opted_in.people(scene), seen(opted_in, scene)
    yield
    assert seen(opted_in, scene) == told
    after = opted_in.people(scene)
    right = [psid for psid, row in before.items() if row["state"] != "refused"]
    assert {psid: after[psid] for psid in right} == {psid: before[psid] for psid in right}
    refused = {psid: row["state"] for psid, row in after.items() if psid not in right}
    assert set(refused.values()) == {"refused"}
    assert_told_once(opted_in, scene)


def test_triggered_at_the_same_instant_it_is_one_campaign(opted_in: System) -> None:
    scene = opted_in.scenes["repeated"]
    assert opted_in.one("SELECT count(*) FROM otn.campaign WHERE key = %s", scene.name) == 1
    assert calls(opted_in, scene) == len(scene.people)


def test_triggered_again_with_the_same_key_there_is_nothing_to_send(opted_in: System) -> None:
    scene = opted_in.scenes["repeated"]
    called = calls(opted_in, scene)
    runs = _at_once(opted_in, scene.conf(), 3)
    assert [opted_in.end_of(run) for run in runs] == ["success"] * 3
    assert "nothing to send" in opted_in.log(runs[0], "validate")
    assert calls(opted_in, scene) == called


@pytest.mark.parametrize(
    ("what", "again"),
    [
        ({"task_ids": ["send"]}, {"send", "reconcile", "report"}),
        ({"task_ids": ["plan"]}, {"plan", "canary", "send", "reconcile", "report"}),
        ({"task_ids": ["reconcile"]}, {"reconcile", "report"}),
        ({"only_failed": True}, set()),
        ({"only_failed": False}, {"validate"}),  # it says that there is nothing to send, and the rest is skipped
    ],
    ids=["send", "plan", "reconcile", "only failed", "whole"],
)
def test_cleared(opted_in: System, finished_run: str, what: dict[str, Any], again: set[str]) -> None:
    scene = opted_in.scenes["repeated"]
    called, tries = calls(opted_in, scene), opted_in.tries(finished_run)
    opted_in.clear(finished_run, **what)
    assert opted_in.end_of(finished_run) == "success"
    after = opted_in.tries(finished_run)
    assert {task for task, count in after.items() if count > tries[task]} == again
    assert calls(opted_in, scene) == called


def test_retry_in_each_scope(opted_in: System) -> None:
    scene = opted_in.scenes["repeated"]
    called = calls(opted_in, scene)
    scopes = ("waiting", "refused", "unknown")
    runs = {scope: opted_in.airflow.trigger("otn_retry", _retry(scene, scope)) for scope in scopes}
    assert {scope: opted_in.end_of(run, "otn_retry") for scope, run in runs.items()} == dict.fromkeys(runs, "success")
    asked = opted_in.sandbox.calls(scene.page_id)
    assert {call["psid"] for call in list(asked)[called:]} <= scene.blocked, "only the refused were asked again"


def test_every_day_is_ingested_again(opted_in: System) -> None:
    """Backfill with *All*; the last days get what today brought, as if the platform had delivered it then, too."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    first, last = today - timedelta(days=3), today - timedelta(days=1)
    for day in range(3):
        opted_in.rows(
            "INSERT INTO otn.webhook_event"
            " SELECT %s::date, gen_random_uuid(), received_at, body, ingested_at, events, ingested, duplicate,"
            " quarantined FROM otn.webhook_event WHERE received_day = %s AND ingested_at IS NOT NULL",
            (first + timedelta(days=day)).date(),
            today.date(),
        )
    account = "SELECT (SELECT count(*) FROM otn.token) AS tokens, (SELECT count(*) FROM otn.subscriber) AS people"
    before = tuple(opted_in.rows(account)[0])
    for _ in range(2):
        body = {"dag_id": "otn_reingest", "from_date": first.isoformat(), "to_date": last.isoformat()}
        made = opted_in.call("POST", "backfills", json=body | {"reprocess_behavior": "completed", "max_active_runs": 2})
        assert eventually(lambda: _ended_days(opted_in, first), "the backfill") == {"success"}
        # Airflow notes its end every half minute only, and allows one backfill at a time.
        opted_in.call("PUT", f"backfills/{made['id']}/cancel", accepted=(409,))
    assert tuple(opted_in.rows(account)[0]) == before


def test_whoever_can_be_reached_again_gets_it_by_retry_and_nobody_else_does(opted_in: System) -> None:
    scene = opted_in.scenes["cured"]
    assert opted_in.end_of(opted_in.trigger(scene)) == "success"
    assert_told_once(opted_in, scene)
    opted_in.sandbox.unblock(scene.page_id, sorted(scene.blocked))
    scene.blocked.clear()
    run = opted_in.airflow.trigger("otn_retry", _retry(scene, "refused"))
    assert opted_in.end_of(run, "otn_retry") == "success"
    assert_told_once(opted_in, scene)


def _ended_days(system: System, first: datetime) -> set[str] | None:
    """States of the runs of the last three days; None until all have ended."""
    query = {"logical_date_gte": first.isoformat(), "limit": 100}
    states = [run["state"] for run in system.call("GET", "dags/otn_reingest/dagRuns", params=query)["dag_runs"]]
    return set(states) if len(states) >= 3 and not {"queued", "running"} & set(states) else None


def _retry(scene: Scene, scope: str) -> dict[str, str]:
    return {"campaign": scene.name, "page": scene.connection, "scope": scope}


def _at_once(system: System, conf: dict[str, object], times: int) -> list[str]:
    """Trigger several runs at the same instant, each as a user of its own."""
    barrier = threading.Barrier(times)

    def trigger(_: int) -> str:
        api = AirflowApi(str(system.status.api_url), ADMIN, system.home.passwords()[ADMIN])
        with api._session:
            api._log_in()
            barrier.wait(60)
            return api.trigger("otn_broadcast", dict(conf))

    with ThreadPoolExecutor(times) as threads:
        return list(threads.map(trigger, range(times)))
