from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url, text

from otn.errors import ConfigurationError
from otn.orchestration import housekeeping
from tests.campaign.stage import Stage
from tests.dags.airflow_runs import Airflow

DAY_S = 86_400


def connection(url: str) -> str:
    parts = make_url(url)
    return json.dumps(
        {
            "conn_type": "postgres",
            "host": parts.query.get("host") or parts.host,
            "port": parts.port,
            "login": parts.username,
            "password": parts.password,
            "schema": parts.database,
        }
    )


@pytest.fixture
def metadata(postgres: str) -> str:
    """URL of an Airflow metadata database on Postgres."""
    name = f"airflow_{uuid.uuid4().hex}"
    server = create_engine(postgres, isolation_level="AUTOCOMMIT")
    with server.connect() as conn:
        conn.execute(text(f'CREATE DATABASE "{name}"'))
    server.dispose()
    url = make_url(postgres).set(database=name).render_as_string(hide_password=False)
    subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"],
        env={**os.environ, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url},
        check=True,
        capture_output=True,
        timeout=200,
    )
    return url


def test_a_purge_of_an_installation_without_airflows_database_skips_that_part_and_says_so(
    airflow: Airflow, stage: Stage, capsys: Any
) -> None:
    stage.opt_in(2)
    stage.sql("UPDATE otn.token SET opted_in_at = now() - interval '1 year', expires_at = now() WHERE id = 1")
    run = airflow.run("otn_purge")
    assert run.state == "success", run
    assert run.tasks == {"purge": "success", "clean_metadata": "skipped", "clean_logs": "success"}
    assert run.xcom("purge")["tokens_wiped"] == 1
    assert "The connection 'airflow_db' is not defined" in capsys.readouterr().out


def test_old_runs_of_machines_go_and_runs_of_people_stay(metadata: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = create_engine(metadata)
    old, new = datetime.now(UTC) - timedelta(days=40), datetime.now(UTC) - timedelta(days=5)
    rows = [
        {"dag": dag, "run": f"{kind}__{moment.isoformat()}", "kind": kind, "at": moment}
        for dag, kind in (("otn_ingest", "scheduled"), ("otn_broadcast", "manual"), ("other", "scheduled"))
        for moment in (old, new)
    ]
    with engine.begin() as conn:
        conn.execute(
            text(
                "INSERT INTO dag_run (dag_id, run_id, run_type, state, start_date, queued_at, run_after,"
                " log_template_id, clear_number, span_status, conf)"
                " VALUES (:dag, :run, :kind, 'success', :at, :at, :at, 1, 0, 'ended', 'null')"
            ),
            rows,
        )
    monkeypatch.setenv("AIRFLOW_CONN_AIRFLOW_DB", connection(metadata))
    # As in a task's process, where Airflow hides the address.
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "airflow-db-not-allowed:///")
    housekeeping.clean_metadata.function()
    with engine.connect() as conn:
        left = {(row.dag_id, row.start_date) for row in conn.execute(text("SELECT dag_id, start_date FROM dag_run"))}
        archives = conn.execute(
            text("SELECT count(*) FROM pg_tables WHERE tablename LIKE '\\_airflow\\_deleted%'")
        ).scalar()
    engine.dispose()
    assert left == {("otn_ingest", new), ("otn_broadcast", old), ("otn_broadcast", new), ("other", old), ("other", new)}
    assert archives == 0


def test_a_database_that_cannot_be_cleaned_is_an_error_without_its_password(
    postgres: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "the-password-of-airflow"
    url = make_url(postgres).set(database="not_there", password=secret).render_as_string(hide_password=False)
    monkeypatch.setenv("AIRFLOW_CONN_AIRFLOW_DB", connection(url))
    caplog.set_level("INFO")
    with pytest.raises(housekeeping.CleaningError):
        housekeeping.clean_metadata.function()
    assert secret not in caplog.text


def test_logs_go_by_age_and_only_ours(tmp_path: Path) -> None:
    now = 100 * DAY_S
    folders = {
        "dag_id=otn_ingest/run_id=old": 40,
        "dag_id=otn_ingest/run_id=new": 5,
        "dag_id=otn_broadcast/run_id=old": 40,
        "dag_id=other/run_id=old": 40,
        "dag_processor/2027-01-01": 40,
        "dag_processor/2027-02-09": 5,
    }
    for name, age in folders.items():
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "task.log").write_text("x")
        os.utime(tmp_path / name, (now - age * DAY_S,) * 2)
    (tmp_path / "dag_processor" / "latest").symlink_to(tmp_path / "dag_id=other/run_id=old")
    assert housekeeping.delete_old_logs(tmp_path, 30, now) == 2
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("task.log") if "latest" not in path.parts}
    assert left == {f"{name}/task.log" for name in folders} - {
        "dag_id=otn_ingest/run_id=old/task.log",
        "dag_processor/2027-01-01/task.log",
    }
    assert housekeeping.delete_old_logs(tmp_path / "nowhere", 30) == 0


@pytest.mark.parametrize("text_given", ["0", "-1", "soon", "1.5", "99999"])
def test_a_retention_that_is_no_number_of_days_is_refused(text_given: str) -> None:
    with pytest.raises(ConfigurationError, match="OTN_KEEP_AIRFLOW_DAYS is"):
        housekeeping.keep_days({"OTN_KEEP_AIRFLOW_DAYS": text_given})
    assert housekeeping.keep_days({}) == 30
