"""Opt-ins come in by themselves; nobody triggers anything."""

from __future__ import annotations

import pytest

from tests.system.machinery import System

pytestmark = [pytest.mark.system, pytest.mark.timeout(1200)]


def test_the_scheduled_ingest_takes_in_every_token(opted_in: System) -> None:
    manual = opted_in.call("GET", "dags/otn_ingest/dagRuns", params={"run_type": "manual"})
    assert manual["dag_runs"] == []
    for scene in opted_in.scenes.values():
        theirs = sum(1 for _ in opted_in.sandbox.tokens(scene.page_id))
        ours, people = opted_in.rows(
            "SELECT count(*) AS tokens, count(DISTINCT t.subscriber_id) AS people FROM otn.token t"
            " JOIN otn.topic o ON o.id = t.topic_id JOIN otn.page p ON p.id = o.page_id WHERE p.connection_id = %s",
            scene.connection,
        )[0]
        assert (ours, people) == (theirs, scene.count)
    assert opted_in.one("SELECT count(*) FROM otn.quarantine") == 0


def test_purge_is_green_and_touches_no_living_token(opted_in: System) -> None:
    before = opted_in.one("SELECT count(*) FROM otn.token WHERE token_encrypted IS NOT NULL")
    run = opted_in.airflow.trigger("otn_purge")
    assert opted_in.end_of(run, "otn_purge") == "success"
    assert opted_in.airflow.task_states("otn_purge", run)["purge"] == "success"
    assert opted_in.airflow.task_states("otn_purge", run)["clean_logs"] == "success"
    assert opted_in.one("SELECT count(*) FROM otn.token WHERE token_encrypted IS NOT NULL") == before


def test_the_scanner_finds_one_plugin_and_every_dag_file_is_read(system: System) -> None:
    plugins = system.call("GET", "plugins")
    assert [(one["name"], one["source"]) for one in plugins["plugins"] if "otn" in str(one)] != []
    assert [one["name"] for one in plugins["plugins"]] == ["otn"]
    assert system.call("GET", "plugins/importErrors")["total_entries"] == 0
    assert system.call("GET", "importErrors")["import_errors"] == []


def test_the_assets_stand_before_anybody_tells_of_them(opted_in: System) -> None:
    """Of two reports that end at once and both make the asset, Airflow turns one red."""
    found = opted_in.call("GET", "assets", params={"name_pattern": "otn_"})["assets"]
    declared = {one["name"]: {task["dag_id"] for task in one["producing_tasks"]} for one in found}
    assert declared == {"otn_optins": {"otn_assets"}, "otn_results": {"otn_assets"}}
