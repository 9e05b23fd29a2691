"""The same thing again, in every way that Airflow offers: no message more, no right row changed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from otn.local.demo.airflow_api import AirflowApi
from otn.local.home import ADMIN
from tests.system.accounts import assert_told_once, calls, seen
from tests.system.machinery import System, eventually

pytestmark = [pytest.mark.system, pytest.mark.timeout(1200), pytest.mark.usefixtures("killed_scheduler")]


@pytest.fixture(scope="module")
def finished_run(opted_in: System) -> str:
    """Two runs of one campaign, triggered at the same instant; the first of them."""
    scene = opted_in.scenes["repeated"]
    runs = _at_once(opted_in, scene.conf(), 2)
    assert [opted_in.end_of(run) for run in runs] == ["success", "success"]
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


@pytest.mark.parametrize("only_failed", [False, True], ids=["whole", "only failed"])
def test_cleared(opted_in: System, finished_run: str, only_failed: bool) -> None:
    scene = opted_in.scenes["repeated"]
    called = calls(opted_in, scene)
    body = {"dry_run": False, "only_failed": only_failed}
    opted_in.call("POST", f"dags/otn_broadcast/dagRuns/{finished_run}/clear", json=body)
    assert opted_in.end_of(finished_run) == "success"
    assert calls(opted_in, scene) == called


def test_only_the_sending_is_cleared(opted_in: System, finished_run: str) -> None:
    scene = opted_in.scenes["repeated"]
    called = calls(opted_in, scene)
    body = {"dry_run": False, "only_failed": False, "dag_run_id": finished_run, "task_ids": ["send"]}
    opted_in.call("POST", "dags/otn_broadcast/clearTaskInstances", json=body | {"include_downstream": True})
    assert opted_in.end_of(finished_run) == "success"
    assert calls(opted_in, scene) == called


def test_retry_in_each_scope(opted_in: System) -> None:
    scene = opted_in.scenes["repeated"]
    called = calls(opted_in, scene)
    conf = {"campaign": scene.name, "page": scene.connection}
    runs = {
        scope: opted_in.airflow.trigger("otn_retry", conf | {"scope": scope})
        for scope in ("waiting", "refused", "unknown")
    }
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
        eventually(lambda made=made: opted_in.call("GET", f"backfills/{made['id']}")["completed_at"], "the backfill")
        runs = opted_in.call("GET", "dags/otn_reingest/dagRuns", params={"run_type": "backfill"})["dag_runs"]
        assert {run["logical_date"][:10] for run in runs} >= {str(first.date()), str(last.date())}
        assert {run["state"] for run in runs} == {"success"}
    assert tuple(opted_in.rows(account)[0]) == before


def test_whoever_can_be_reached_again_gets_it_by_retry_and_nobody_else_does(opted_in: System) -> None:
    scene = opted_in.scenes["cured"]
    assert opted_in.end_of(opted_in.trigger(scene)) == "success"
    assert_told_once(opted_in, scene)
    opted_in.sandbox.unblock(scene.page_id, sorted(scene.blocked))
    scene.blocked.clear()
    conf = {"campaign": scene.name, "page": scene.connection, "scope": "refused"}
    assert opted_in.end_of(opted_in.airflow.trigger("otn_retry", conf), "otn_retry") == "success"
    assert_told_once(opted_in, scene)


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
