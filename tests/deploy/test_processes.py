"""A campaign on the processes of docker-compose.yaml: Celery, Redis, two workers, started from the same file."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import make_url

from otn.local.demo.airflow_api import AirflowApi
from otn.local.dotenv import read_dotenv
from otn.local.env_file import write_env
from otn.local.postgres import temporary_server
from sandbox.control_client import Sandbox
from sandbox.process import start
from tests.deploy.machine import Machine
from tests.programs import require

PEOPLE = 40
CAMPAIGNS = 3
HEALTHY = ("api-server", "scheduler", "dag-processor", "triggerer", "worker", "receiver", "responder")

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(400),
]


@pytest.fixture(scope="module")
def platform() -> Iterator[Sandbox]:
    with start(seed=5) as handle:
        yield handle.control


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, platform: Sandbox) -> Iterator[Machine]:
    require("redis-server", "redis-server")
    folder = tmp_path_factory.mktemp("deployment")
    page = platform.page()
    connection = {
        "conn_type": "messenger",
        "host": platform.base_url,
        "login": page["page_id"],
        "password": page["access_token"],
        "extra": {"app_secret": page["app_secret"], "verify_token": page["verify_token"], "messages_per_second": 0},
    }
    with temporary_server() as url:
        dotenv = folder / ".env"
        dotenv.write_text(
            f"AIRFLOW_CONN_MESSENGER_DEFAULT='{json.dumps(connection)}'\n"
            f"DEPLOY_POSTGRES_PASSWORD='{make_url(url).password}'\n"
        )
        write_env(dotenv)
        made = Machine(folder, url, dotenv)
        try:
            _start(made)
            platform.page(page["page_id"], webhook_url=f"{made.receiver_url}/webhook", handshake=True)
            platform.people(page["page_id"], PEOPLE, profiles="plain")
            yield made
        finally:
            made.close()


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


def test_a_campaign_is_sent_once_by_two_workers(machine: Machine, platform: Sandbox) -> None:
    page_id = platform.pages()[0]["page_id"]
    for number in range(CAMPAIGNS):
        machine.run("cli", "topics", "add", f"topic-{number}", "--title", "When it is back")
        platform.optins(page_id, f"topic-{number}")
    platform.flush()
    password = read_dotenv(machine.dotenv)["DEPLOY_ADMIN_PASSWORD"]
    airflow = AirflowApi(machine.api_url, "admin", password)
    airflow.wait_for_dag("otn_broadcast")
    machine.wait("the opt-ins", lambda: f'"unspent": {PEOPLE}' in machine.run("cli", "topics", "list", "--json"))
    began = time.monotonic()
    conf = {"text": 'Hi {{ first_name | default("there") }}', "approval": False, "canary": 5}
    runs = [
        airflow.trigger("otn_broadcast", conf | {"campaign": f"campaign-{number}", "topic": f"topic-{number}"})
        for number in range(CAMPAIGNS)
    ]
    for run in runs:
        assert airflow.wait_for_run("otn_broadcast", run, 120) == "success"
    print(f"campaigns {time.monotonic() - began:.1f} s")
    platform.flush()
    seen = Counter(row["psid"] for row in platform.ledger(page_id=page_id))
    assert (len(seen), set(seen.values())) == (PEOPLE, {CAMPAIGNS})
    for number in range(CAMPAIGNS):
        report = json.loads(machine.run("cli", "report", f"campaign-{number}", "--json"))
        assert (report["sent"], report["unknown"], report["waiting"]) == (PEOPLE, 0, 0)
    done = [len(re.findall(r"execute_workload\[[^]]+\] succeeded", machine.log(f"worker-{n}"))) for n in (1, 2)]
    print(f"tasks by worker: {done}")
    assert min(done) > 0


def test_every_health_check_finds_its_service_well_and_init_may_run_again_beside_it(machine: Machine) -> None:
    with ThreadPoolExecutor(1) as pool:
        again = pool.submit(machine.run, "init")
        checks = {service: machine.check(service, "worker-1" if service == "worker" else None) for service in HEALTHY}
        assert {service: check.wait(120) for service, check in checks.items()} == dict.fromkeys(HEALTHY, 0)
        assert "Everything is prepared." in again.result()
