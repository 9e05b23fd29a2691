"""A ``.env`` as the command makes it, the compose file with its values, and one deployment that runs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from benchmarks.stage import Cluster
from otn.local.env_file import write_env
from sandbox.control_client import Sandbox
from sandbox.process import start
from tests.deploy import compose_file
from tests.deploy.machine import Machine
from tests.deploy.passage import Passage
from tests.deploy.plays import PLAYS
from tests.programs import require

RATES = {"messenger_default": 0.0} | {play.connection: play.rate for play in PLAYS}  # messages a second; 0: no pace


@pytest.fixture(scope="session")
def dotenv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dotenv") / ".env"
    write_env(path)
    return path


@pytest.fixture(scope="session")
def compose(dotenv: Path) -> dict[str, Any]:
    return compose_file.filled(dotenv)


@pytest.fixture(scope="session")
def services(compose: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = compose["services"]
    return found


@pytest.fixture(scope="package")
def platform() -> Iterator[Sandbox]:
    with start(seed=5) as handle:
        yield handle.control


@pytest.fixture(scope="package")
def cluster() -> Iterator[Cluster]:
    """The service ``postgres``, which a test may stop."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(scope="package")
def passage(cluster: Cluster) -> Iterator[Passage]:
    """The workers' way to Postgres, which a test may cut."""
    with Passage(cluster.server.port) as way:
        yield way


@pytest.fixture(scope="package")
def machine(
    tmp_path_factory: pytest.TempPathFactory, platform: Sandbox, cluster: Cluster, passage: Passage
) -> Iterator[Machine]:
    """What the compose file starts, with two workers; a page of the sandbox for each connection."""
    require("redis-server", "redis-server")
    folder = tmp_path_factory.mktemp("deployment")
    pages = {connection: platform.page() for connection in RATES}
    dotenv = folder / ".env"
    lines = [
        f"AIRFLOW_CONN_{name.upper()}='{_connection(platform, page, RATES[name])}'" for name, page in pages.items()
    ]
    url = cluster.server.url()
    dotenv.write_text("\n".join([*lines, f"DEPLOY_POSTGRES_PASSWORD='{make_url(url).password}'", ""]))
    write_env(dotenv)
    made = Machine(folder, url, dotenv)
    made.ways = dict.fromkeys(("worker-1", "worker-2"), passage.port)
    made.pages = {connection: page["page_id"] for connection, page in pages.items()}
    try:
        _start(made)
        default = made.pages["messenger_default"]
        platform.page(default, webhook_url=f"{made.receiver_url}/webhook", handshake=True)
        yield made
    finally:
        made.close()


def _connection(platform: Sandbox, page: Mapping[str, Any], rate: float) -> str:
    return json.dumps(
        {
            "conn_type": "messenger",
            "host": platform.base_url,
            "login": page["page_id"],
            "password": page["access_token"],
            "extra": {
                "app_secret": page["app_secret"],
                "verify_token": page["verify_token"],
                "messages_per_second": rate,
            },
        }
    )


def _start(machine: Machine) -> None:
    """In the order that depends_on says."""
    began = time.monotonic()
    machine.start_redis()
    said = machine.run("init")
    print(f"init {time.monotonic() - began:.1f} s")
    assert "Everything is prepared." in said
    for service in ("api-server", "dag-processor", "receiver", "responder"):
        machine.start(service)
    machine.wait("the API server", lambda: machine.healthy(f"{machine.api_url}/api/v2/monitor/health"))
    print(f"api {time.monotonic() - began:.1f} s")
    machine.start("scheduler")
    machine.start("triggerer")
    machine.start("worker", "worker-1")
    machine.start(
        "worker", "worker-2", "--celery-hostname", "worker-2@%h"
    )  # on a machine of its own it has its own name
    machine.wait("the receiver", lambda: machine.healthy(f"{machine.receiver_url}/healthz"))
    machine.wait("both workers", lambda: all(" ready." in machine.log(f"worker-{n}") for n in (1, 2)))
    print(f"workers {time.monotonic() - began:.1f} s")
