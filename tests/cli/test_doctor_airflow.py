"""Airflow's own faults, as the doctor sees them: Airflow itself is asked, in a process of its own."""

from __future__ import annotations

import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from otn.cli.examination import airflow
from otn.cli.examination.case import Case
from otn.cli.examination.check import Check
from otn.cli.examination.facts import CONNECTIONS, Facts, _read, ask, is_known
from otn.crypto import new_key
from otn.local.airflow_settings import TUNABLE
from otn.local.home import Home
from otn.local.supervision import python_path
from otn.orchestration import facts as telling

from .conftest import Inside

pytestmark = pytest.mark.xdist_group("facts")  # one Airflow is made for all


def environment(folder: Path) -> dict[str, str]:
    return TUNABLE | {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__FERNET_KEY": new_key(),
        "AIRFLOW__API_AUTH__JWT_SECRET": "x" * 64,
        "AIRFLOW__API__SECRET_KEY": "y" * 64,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.db",
        "AIRFLOW_CONN_OTN_DB": "postgresql://nobody@127.0.0.1:1/none",
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An Airflow's database, made once; tests work on copies."""
    folder = tmp_path_factory.mktemp("airflow")
    script = Path(__file__).with_name("airflow_stand_in.py")
    given = environment(folder) | {"PYTHONPATH": python_path()}
    subprocess.run([sys.executable, str(script)], env=given, check=True, timeout=120, capture_output=True)
    return folder / "airflow.db"


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    shutil.copy(made, tmp_path / "airflow.db")
    return tmp_path


def change(home: Path, statement: str) -> None:
    with closing(sqlite3.connect(home / "airflow.db")) as connection, connection:
        connection.execute(statement)


def judged(facts: Facts) -> list[Check]:
    case = Case(Home.at("/nowhere"), {}, lambda _: None, airflow=facts)
    return [check for question in airflow.QUESTIONS for check in question.look(case)]


def wrong(checks: list[Check]) -> dict[str, str]:
    found = {check.id: check for check in checks if check.level in {"yellow", "red"}}
    assert all(check.advice for check in found.values())
    return {check_id: check.level for check_id, check in found.items()}


SQLITE = {"airflow.database": "yellow"}  # here; with Postgres it is green


@dataclass(frozen=True)
class Asked:
    """A sound Airflow, asked once."""

    environment: dict[str, str]
    facts: Facts
    folder: Path


@pytest.fixture(scope="module")
def asked(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Asked:
    folder = tmp_path_factory.mktemp("sound")
    shutil.copy(made, folder / "airflow.db")
    given = environment(folder)
    return Asked(given, ask(given), folder)


def test_airflow_itself_is_asked_and_nothing_is_changed(asked: Asked) -> None:
    facts = asked.facts
    assert facts.failure == ""
    assert list(facts.connections) == ["otn_db"]
    checks = judged(facts)
    assert wrong(checks) == SQLITE
    assert {check.id for check in checks} == {check_id for one in airflow.QUESTIONS for check_id in one.ids}
    keys = [asked.environment[name] for name in ("AIRFLOW__CORE__FERNET_KEY", "AIRFLOW__API_AUTH__JWT_SECRET")]
    assert not [secret for secret in [*keys, "nobody@"] if secret in repr(facts)]
    assert [path.name for path in asked.folder.iterdir()] == ["airflow.db"]


def test_faults_in_its_database_are_named(home: Path) -> None:
    change(home, "DELETE FROM slot_pool WHERE pool = 'otn_send'")
    change(home, "UPDATE dag SET is_paused = 1 WHERE dag_id = 'otn_ingest'")
    change(home, "UPDATE dag SET is_stale = 1 WHERE dag_id = 'otn_broadcast'")
    change(home, "UPDATE job SET latest_heartbeat = '2026-01-01 00:00:00' WHERE job_type = 'SchedulerJob'")
    change(home, "INSERT INTO import_error (filename, bundle_name) VALUES ('otn_ask.py', 'dags-folder')")
    change(home, "INSERT INTO import_error (filename, bundle_name) VALUES ('theirs.py', 'dags-folder')")
    checks = judged(ask(environment(home)))
    assert wrong(checks) == SQLITE | {
        "airflow.pools": "red",
        "airflow.paused": "yellow",
        "airflow.dags": "red",
        "airflow.at_work": "red",
        "airflow.imports": "red",
    }
    told = {check.id: check for check in checks}
    assert "otn_send" in told["airflow.pools"].text
    assert "airflow pools set otn_send 4" in told["airflow.pools"].advice
    assert "stop words wait" in told["airflow.paused"].text
    assert "otn_broadcast" in told["airflow.dags"].text
    assert told["airflow.imports"].text == "Airflow cannot read otn_ask.py."
    assert "the scheduler" in told["airflow.at_work"].text


def test_an_airflow_that_nobody_has_set_up_is_told_as_such(tmp_path: Path) -> None:
    given = environment(tmp_path)
    for name in [*TUNABLE, "AIRFLOW__API_AUTH__JWT_SECRET", "AIRFLOW__API__SECRET_KEY"]:
        del given[name]
    checks = judged(ask(given))
    told = wrong(checks)
    # Its database has no tables: what stands in them is not told, and nothing is made up.
    assert told == SQLITE | {
        "airflow.answers": "yellow",
        "airflow.secrets": "red",
        "airflow.heartbeat": "yellow",
    }
    assert "metadata" in next(check.text for check in checks if check.id == "airflow.answers")
    assert "310 s" in next(check.text for check in checks if check.id == "airflow.heartbeat")


def test_what_takes_too_long_is_given_up(home: Path) -> None:
    facts = ask(environment(home), limit_s=0.05)
    assert (facts.settings, facts.metadata) == (None, None)
    (check,) = judged(facts)
    assert (check.id, check.level) == ("airflow.answers", "yellow")


def test_without_an_airflow_it_says_that_none_is_seen() -> None:
    assert not is_known({"OTN_HOME": "/x"})
    case = Case(Home.at("/nowhere"), {}, lambda _: None)
    (check,) = (check for question in airflow.QUESTIONS for check in question.look(case))
    assert (check.id, check.level) == ("airflow.answers", "unseen")


@pytest.fixture
def sound(asked: Asked) -> Facts:
    return asked.facts


SETTINGS: list[tuple[str, dict[str, Any], str, str]] = [
    ("another release", {"version": "3.2.0"}, "airflow.version", "yellow"),
    ("an executor that nobody tried", {"core.executor": "acme.SlowExecutor"}, "airflow.executor", "yellow"),
    ("everybody is an administrator", {"core.simple_auth_manager_all_admins": "True"}, "airflow.login", "red"),
    ("params that nobody reads", {"core.dag_run_conf_overrides_params": "False"}, "airflow.params", "red"),
    ("connections in clear", {"core.fernet_key": ""}, "airflow.secrets", "yellow"),
    ("no shared secret", {"api_auth.jwt_secret": "default"}, "airflow.secrets", "red"),
    ("workers that find nobody", {"core.executor": "CeleryExecutor"}, "airflow.execution_api", "red"),
    ("senders that starve the rest", {"core.parallelism": "4"}, "airflow.parallelism", "yellow"),
]


@pytest.mark.parametrize(
    ("changed", "check_id", "level"), [one[1:] for one in SETTINGS], ids=[one[0] for one in SETTINGS]
)
def test_each_setting_that_matters_is_named_alone(
    sound: Facts, changed: dict[str, Any], check_id: str, level: str
) -> None:
    assert sound.settings is not None
    assert changed.keys() <= sound.settings.keys()
    assert wrong(judged(replace(sound, settings=sound.settings | changed))) == SQLITE | {check_id: level}


def test_a_scheduled_dag_whose_last_run_failed_is_named(sound: Facts) -> None:
    metadata = dict(sound.metadata or {})
    metadata["runs"] = {"otn_purge": "failed", "otn_broadcast": "failed"}  # a campaign's run is told by its campaign
    metadata["dags"] = metadata["dags"] | {"otn_purge": {"paused": False, "stale": False, "schedule": "@daily"}}
    checks = judged(replace(sound, metadata=metadata))
    assert wrong(checks) == SQLITE | {"airflow.runs": "yellow"}
    assert "otn_purge" in next(check.text for check in checks if check.id == "airflow.runs")


def test_a_page_whose_connection_stands_in_airflow_alone_is_looked_at(
    inside: Inside, home: Path, page_variable: Callable[..., str]
) -> None:
    page = json.loads(page_variable())
    inside("pages", "add", "shop", "--subscribe", AIRFLOW_CONN_SHOP=json.dumps(page))
    with closing(sqlite3.connect(home / "airflow.db")) as connection, connection:
        connection.execute(
            "INSERT INTO connection"
            " (conn_id, conn_type, host, login, password, extra, is_encrypted, is_extra_encrypted)"
            " VALUES ('shop', 'messenger', ?, ?, ?, ?, 0, 0)",
            (page["host"], page["login"], page["password"], json.dumps(page["extra"])),
        )
    inside.environ = environment(home) | inside.environ
    found = {check["id"]: check["level"] for check in inside.json("doctor", code=None)["checks"]}
    assert (found["page.connection"], found["page.token"], found["page.secrets"]) == ("green", "green", "green")
    assert (found["airflow.pools"], found["airflow.answers"]) == ("green", "green")


def test_a_login_that_stands_in_airflow_alone_is_tried(inside: Inside, home: Path) -> None:
    change(
        home,
        "INSERT INTO connection (conn_id, conn_type, host, port, login, is_encrypted, is_extra_encrypted)"
        " VALUES ('otn_db_sender', 'postgres', '127.0.0.1', 1, 'nobody', 0, 0)",
    )
    inside.environ = environment(home) | inside.environ
    found = {check["id"]: check for check in inside.json("doctor", code=1)["checks"]}
    told = found["database.logins"]
    assert (told["level"], told["subject"], "otn_db_sender" in told["text"]) == ("red", "sender", True)


def test_pages_that_cannot_be_asked_for_take_no_connection_along(monkeypatch: pytest.MonkeyPatch) -> None:
    def never() -> list[str]:
        raise RuntimeError("TOPSECRET")

    monkeypatch.setattr(telling, "settings", dict)
    monkeypatch.setattr(telling, "metadata", dict)
    monkeypatch.setattr(telling, "_connection", lambda name, told: told.update({name: "{}"}))
    monkeypatch.setattr(telling, "_registered_pages", never)
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps({"connections": CONNECTIONS})))
    said = io.StringIO()
    with redirect_stdout(said):
        telling.main()
    facts = _read(said.getvalue(), "")
    assert (list(facts.connections), facts.failure) == (list(CONNECTIONS), "pages: RuntimeError")
    cut_off = said.getvalue()[: said.getvalue().index('{"pages"')]  # as by a database that hangs
    assert list(_read(cut_off, "").connections) == list(CONNECTIONS)
