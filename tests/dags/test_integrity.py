from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from otn.local.airflow_settings import POOLS
from otn.settings import ROOT

DAGS = ROOT / "dags"
NAMES = [
    *("otn_ask", "otn_assets", "otn_broadcast", "otn_deliver", "otn_ingest", "otn_purge", "otn_reingest"),
    *("otn_retry", "otn_test_message", "otn_watch"),
]

IMPORTS = """
import builtins, json, runpy, sys
import airflow.sdk
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import task
task(lambda: None)  # lets Airflow load what decorators need
theirs, asked = builtins.__import__, set()

def watching(name, globals=None, *rest, **more):
    frame = sys._getframe(1).f_globals
    if frame.get("__name__", "").startswith(("otn", "<run_path>")) or "/dags/" in str(frame.get("__file__")):
        asked.add(name)
    return theirs(name, globals, *rest, **more)

builtins.__import__ = watching
for path in sys.argv[1:]:
    runpy.run_path(path)
print(json.dumps({"asked": sorted(asked), "requests": "requests" in sys.modules}))
"""

PLUGINS = """
import json, sys
from airflow import plugins_manager
found, errors = plugins_manager._get_plugins()
folder = sys.argv[1]
files = {name: getattr(module, "__file__", None) or "" for name, module in sys.modules.items()}
ours = sorted(name for name, file in files.items() if file.startswith(folder))
print(json.dumps({"plugins": [one.name for one in found], "errors": errors, "modules": ours}))
"""


@pytest.fixture(scope="module")
def bag() -> Any:
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(dag_folder=DAGS)


def in_a_fresh_process(script: str, *arguments: str) -> Any:
    environ = {**os.environ, "PYTHONPATH": ""}
    if script is IMPORTS:
        environ["PYTHONPATH"] = str(ROOT / "plugins")
    ended = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


def test_every_dag_loads_and_there_are_no_others(bag: Any) -> None:
    assert bag.import_errors == {}
    assert sorted(bag.dags) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_dag_says_whose_it_is_and_what_to_do_with_it(bag: Any, name: str) -> None:
    dag = bag.dags[name]
    assert "otn" in dag.tags
    assert dag.description
    assert {task.owner for task in dag.tasks} == {"otn"}
    for chapter in ("## Safe to run again?", "## What each button does here", "## When it is red"):
        assert chapter in dag.doc_md
    if dag.params:
        assert all(f"`{param}`" in dag.doc_md for param in dag.params)
    assert len((DAGS / f"{name}.py").read_text(encoding="utf-8").splitlines()) <= 120


@pytest.mark.parametrize("name", NAMES)
def test_every_task_is_retried_by_our_policy_and_its_pool_exists(bag: Any, name: str) -> None:
    from otn.orchestration.retrying import OtnRetryPolicy

    for task in bag.dags[name].tasks:
        arguments = task if not hasattr(task, "partial_kwargs") else type("Partial", (), task.partial_kwargs)
        assert arguments.retries > 0
        assert isinstance(arguments.retry_policy, OtnRetryPolicy)
        assert getattr(arguments, "pool", "default_pool") in {*POOLS, "default_pool"}


def test_senders_are_bounded_and_only_people_start_them(bag: Any) -> None:
    for name in ("otn_broadcast", "otn_retry"):
        dag = bag.dags[name]
        assert {one.value for one in dag.allowed_run_types} == {"manual"}
        send = dag.get_task("send")
        assert send.partial_kwargs["pool"] == "otn_send"
        assert send.partial_kwargs["max_active_tis_per_dagrun"] <= POOLS["otn_send"]["slots"]
    assert POOLS["otn_send"]["slots"] < 8  # of the parallelism: ingest is never starved


def test_scheduled_dags_do_not_pile_up(bag: Any) -> None:
    for name in ("otn_ingest", "otn_purge"):
        assert (bag.dags[name].catchup, bag.dags[name].max_active_runs) == (False, 1)
    assert bag.dags["otn_reingest"].catchup is False


def test_the_end_of_a_run_hangs_on_the_plan_and_on_nothing_before_it(bag: Any) -> None:
    for name, planned in (("otn_broadcast", "plan"), ("otn_retry", "make_ready")):
        dag = bag.dags[name]
        assert dag.get_task("reconcile").upstream_task_ids == {planned, "send"}
        assert dag.get_task("report").upstream_task_ids == {planned, "send", "reconcile"}


@pytest.mark.parametrize("name", NAMES)
def test_no_field_that_airflow_renders_holds_text_of_an_operator(bag: Any, name: str) -> None:
    """What is rendered is a constant of ours or an XCom, which is a number."""
    from airflow.sdk import XComArg

    def check(value: Any) -> None:
        if isinstance(value, dict):
            for item in value.values():
                check(item)
        elif isinstance(value, list | tuple):
            for item in value:
                check(item)
        elif isinstance(value, str):
            assert "{{" not in value
            assert "{%" not in value
        else:
            assert value is None or isinstance(value, XComArg | int)

    for task in bag.dags[name].tasks:
        if hasattr(task, "partial_kwargs"):
            check(task.partial_kwargs.get("op_kwargs", {}))
            continue
        for field in task.template_fields:
            check(getattr(task, field))


def test_dag_files_load_neither_requests_nor_sqlalchemy() -> None:
    found = in_a_fresh_process(IMPORTS, *map(str, sorted(DAGS.glob("*.py"))))
    heavy = (
        "requests",
        "sqlalchemy",
        "psycopg2",
        "otn.database",
        "otn.intake",
        "otn.privacy",
        "otn.asking",
        "otn.watch",
    )
    heavy += ("otn.consent", "otn.messenger", "otn.campaign.control")
    light = {"otn.consent", "otn.consent.filters", "otn.consent.labels", "otn.consent.reference"}  # read params with
    light |= {"otn.consent.marked_yaml"}  # and campaign files
    assert [name for name in found["asked"] if name.startswith(heavy) and name not in light] == []
    assert not found["requests"]
    assert "otn.orchestration.sending" in found["asked"]  # the watching works


def test_the_plugin_scanner_loads_one_module() -> None:
    found = in_a_fresh_process(PLUGINS, str(ROOT / "plugins"))
    assert found["errors"] == {}
    assert "otn" in found["plugins"]
    assert [name for name in found["modules"] if name != "otn" and not name.startswith("otn.")] == ["airflow_plugin"]


def test_the_dags_of_campaign_files_are_wired_as_that_of_a_broadcast(
    bag: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.serialization.serialized_objects import DagSerialization

    (tmp_path / "spring.yaml").write_bytes((ROOT / "campaigns" / "_example.yaml").read_bytes())
    (tmp_path / "broken.yaml").write_text("topic: '{{ conn.otn_db.password }}'")
    monkeypatch.setenv("OTN_CAMPAIGNS_DIR", str(tmp_path))
    found = DagBag(dag_folder=DAGS / "otn_campaigns.py")
    assert found.import_errors == {}
    assert sorted(found.dags) == ["otn_campaign_broken", "otn_campaign_spring"]
    model = bag.dags["otn_broadcast"]
    for dag in found.dags.values():
        assert {one.task_id: one.upstream_task_ids for one in dag.tasks} == {
            one.task_id: one.upstream_task_ids for one in model.tasks
        }
        assert not dag.params
        assert {one.value for one in dag.allowed_run_types} == {"scheduled", "backfill", "manual"}
        stored = json.dumps(DagSerialization.to_dict(dag), default=str)
        assert "it is back in stock" not in stored  # nothing that an author wrote but the schedule
        assert "otn_db.password" not in stored
        test_no_field_that_airflow_renders_holds_text_of_an_operator(found, dag.dag_id)
        test_every_task_is_retried_by_our_policy_and_its_pool_exists(found, dag.dag_id)
    for chapter in ("## Safe to run again?", "## What each button does here", "## When it is red"):
        assert chapter in found.dags["otn_campaign_spring"].doc_md


def test_no_module_of_ours_could_replace_one_of_pythons() -> None:
    """Should .airflowignore get lost, Airflow would run every file under its bare name."""
    files = (ROOT / "plugins").rglob("*.py")
    assert [file for file in files if file.stem in sys.stdlib_module_names] == []
