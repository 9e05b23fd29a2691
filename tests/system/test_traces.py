"""After everything above, and all that went wrong in it: no secret, token or PSID where somebody could read it."""

from __future__ import annotations

import psutil
import pytest

from otn.local.processes import of_home
from tests.system.machinery import System
from tests.system.traces import Secrets, files, holding, tables, traces

pytestmark = [pytest.mark.system, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def hidden(opted_in: System) -> Secrets:
    secrets = Secrets(opted_in)
    assert len(secrets) > 3_000
    return secrets


@pytest.fixture(scope="module", autouse=True)
def _sent(opted_in: System) -> None:
    """Something was sent, even when this file runs alone."""
    assert opted_in.end_of(opted_in.trigger(opted_in.scenes["input"])) == "success"


@pytest.fixture(scope="module")
def written_files(opted_in: System) -> list[tuple[str, str]]:
    return list(files(opted_in.home))


def test_a_planted_secret_is_found(opted_in: System, hidden: Secrets) -> None:
    token = next(iter(opted_in.sandbox.tokens()))
    psid, scene = opted_in.scenes["input"].people[0], opted_in.scenes["input"]
    assert hidden.found_in(f'{{"a": "x{token["token"]}y"}}') == {"one-time token"}
    assert hidden.found_in(f"sent to {psid}.") == {"PSID"}
    assert hidden.found_in(f"Bearer {scene.secrets['access_token']}") == {"access_token"}


def test_no_file_of_the_home_gives_anything_away(hidden: Secrets, written_files: list[tuple[str, str]]) -> None:
    assert holding("people planned", written_files), "the logs of tasks were read"
    assert holding("database system is ready", written_files), "the log of Postgres was read"
    assert traces(hidden, written_files) == {}


def test_no_table_of_airflow_gives_anything_away(opted_in: System, hidden: Secrets) -> None:
    found = list(tables(opted_in, "airflow"))
    names = {name.rpartition(".")[2] for name, _ in found}
    assert {"xcom", "rendered_task_instance_fields", "dag_run", "log", "hitl_detail", "task_state_store"} <= names
    assert holding("messenger_input", found), "rows were read"
    assert traces(hidden, found) == {}


def test_our_own_database_holds_no_token_in_the_clear(opted_in: System, hidden: Secrets) -> None:
    found = list(tables(opted_in, "otn"))
    assert holding(opted_in.scenes["input"].people[0], found) != [], "rows were read"
    assert traces(hidden.tokens_only(), found) == {}


def test_no_argument_list_gives_anything_away(opted_in: System, hidden: Secrets) -> None:
    lines = []
    for process in of_home(opted_in.home.identity, opted_in.home.pgdata):
        try:
            lines.append((process.name(), " ".join(process.cmdline())))
        except psutil.NoSuchProcess:  # a task that ended
            continue
    assert len(lines) > 5
    assert traces(hidden, lines) == {}
