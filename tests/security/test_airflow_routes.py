"""Every route of the API server as `up` runs it, with our plugin: nobody in who does not belong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from otn.local.airflow_settings import airflow_settings
from otn.local.home import Home
from otn.settings import ROOT

REFUSED = {401, 403}
PASSWORDS = {"admin": "the password of the admin", "viewer": "the password of the viewer"}
TABLE = ROOT / "docs" / "security-routes.md"

# Open to everybody, each for a reason.
PUBLIC = {
    "GET /{rest_of_path:path}": "the empty page of the interface; what it shows comes from routes below that ask",
    "GET /static": "its scripts and pictures",
    "GET /auth/{rest_of_path:path}": "the page with the login form",
    "GET /auth/static": "its scripts and pictures",
    "POST /auth/token": "the login: takes a name and a password",
    "POST /auth/token/cli": "the login of commands: takes a name and a password",
    "GET /api/v2/auth/login": "leads to the login form",
    "GET /api/v2/auth/logout": "leads to the login form, and forgets the cookie",
    "GET /api/v2/monitor/health": "whether Airflow is well; asked by health checks",
    "GET /api/v2/version": "Airflow's version",
    "GET /openapi.json": "description of the public API: the same for every Airflow of this version",
    "GET /docs": "the same, to read",
    "GET /docs/oauth2-redirect": "of that page",
    "GET /redoc": "the same, to read",
    "GET /auth/openapi.json": "description of the login",
    "GET /auth/docs": "the same, to read",
    "GET /auth/docs/oauth2-redirect": "of that page",
    "GET /auth/redoc": "the same, to read",
    "GET /execution/docs": "description of what tasks call",
    "GET /execution/docs/oauth2-redirect": "of that page",
    "GET /execution/redoc": "the same, to read",
    "GET /execution/changelog": "the same, by date",
    "GET /execution/openapi.json": "there is none",
    "GET /execution/health": "whether it answers",
    "GET /execution/health/ping": "whether it answers",
    "GET /api/{_:path}": "there is nothing: 404",
    "GET /api/v1/{_:path}": "there is nothing: 404",
    "GET /health": "there is nothing: 404",
    "GET /otn/static": "styles and pictures of our pages",
}
# What whoever may only look may post, each for a reason.
VIEWER = {
    "POST /auth/token": "the login",
    "POST /auth/token/cli": "the login",
    "POST /ui/auth/token": "a token that may do what he may",
    "POST /api/v2/dags/{dag_id}/favorite": "a mark in his own list",
    "POST /api/v2/dags/{dag_id}/unfavorite": "a mark in his own list",
    "POST /api/v2/dags/{dag_id}/dagRuns/list": "reads; the question is too long for an address",
    "POST /api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/list": "reads; likewise",
    "PUT /api/v2/backfills/{backfill_id}/cancel": "404: permission hangs on the DAG of a backfill that is not there",
    "PUT /api/v2/backfills/{backfill_id}/pause": "404: likewise",
    "PUT /api/v2/backfills/{backfill_id}/unpause": "404: likewise",
    "PUT /api/v2/parseDagFile/{file_token}": "404: a file is named by what the server has signed",
}

pytestmark = [pytest.mark.timeout(240), pytest.mark.xdist_group("routes")]  # one fixture walks for all


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    home = Home.at(tmp_path_factory.mktemp("walk"))
    settings = airflow_settings(home, api_port=8080, database_url=f"sqlite:///{home.path}/airflow.db", users={})
    home.password_file.parent.mkdir(parents=True, exist_ok=True)
    home.password_file.write_text(json.dumps(PASSWORDS))
    environment = settings | {
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,viewer:viewer",
        "AIRFLOW__API__SECRET_KEY": "k" * 64,
        "AIRFLOW__API_AUTH__JWT_SECRET": "s" * 64,
        "HOME": str(home.path),
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT}",
    }
    ended = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("airflow_routes.py"))],
        input=json.dumps({"port": 0, "passwords": PASSWORDS}),
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def name(row: dict[str, Any]) -> str:
    return f"{row['method']} {row['path']}"


def test_all_routes_were_walked(walked: dict[str, Any]) -> None:
    names = [name(row) for row in walked["routes"]]
    assert len(names) == len(set(names)) > 150
    some = {"POST /api/v2/dags/{dag_id}/dagRuns", "GET /ui/config", "GET /api/v2/connections/{connection_id}"}
    some |= {"PATCH /execution/task-instances/{task_instance_id}/run", "GET /execution/connections/{connection_id}"}
    assert some <= set(names)


def test_no_route_is_open_but_those_with_a_reason(walked: dict[str, Any]) -> None:
    is_open = {name(row) for row in walked["routes"] if not {row["nobody"], row["forger"]} <= REFUSED}
    assert is_open - PUBLIC.keys() == set()
    answers = {row["nobody"] for row in walked["routes"]} | {row["forger"] for row in walked["routes"]}
    assert not {answer for answer in answers if answer >= 500}


def test_whoever_may_only_look_changes_nothing(walked: dict[str, Any]) -> None:
    let_in = {name(row) for row in walked["routes"] if row.get("viewer", 403) not in REFUSED}
    assert let_in - VIEWER.keys() == set()
    assert {row["viewer"] for row in walked["routes"] if name(row) in VIEWER} <= {200, 404, 422}


def test_a_page_of_another_origin_starts_nothing(walked: dict[str, Any]) -> None:
    """A browser sends JSON elsewhere only after asking; what it sends unasked is no JSON, and is refused."""
    assert set(walked["forms"].values()) == {422}
    assert walked["preflight"] is None
    assert walked["same_origin"] == 404, "the cookie was good: only the DAG is not there"


def test_the_table_in_the_docs_is_what_was_found(walked: dict[str, Any]) -> None:
    """Written anew with WRITE_ROUTES=1; read the difference before you commit it."""
    written = table(walked["routes"])
    if os.environ.get("WRITE_ROUTES") == "1":
        TABLE.write_text(written, encoding="utf-8")
    assert TABLE.read_text(encoding="utf-8") == written, "Look at what changed, then run with WRITE_ROUTES=1."


def table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "# Routes of Airflow's API server",
        "",
        "Made by `tests/security/test_airflow_routes.py`, which asks each as nobody, with a token that somebody else",
        "signed, and, where something could be changed, as a viewer. The figures are HTTP codes.",
        "",
        "| route | nobody | forged | viewer | open because |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        reason = PUBLIC.get(name(row)) or VIEWER.get(name(row), "")
        lines.append(f"| `{name(row)}` | {row['nobody']} | {row['forger']} | {row.get('viewer', '')} | {reason} |")
    return "\n".join(lines) + "\n"
