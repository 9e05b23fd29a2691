"""A campaign on the processes of docker-compose.yaml: Celery, Redis, two workers, started from the same file."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from otn.local.demo.airflow_api import AirflowApi
from otn.local.dotenv import read_dotenv
from sandbox.control_client import Sandbox
from tests.deploy.machine import Machine

PEOPLE = 40
CAMPAIGNS = 3
HEALTHY = ("api-server", "scheduler", "dag-processor", "triggerer", "worker", "receiver", "responder")

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(400),
]


def test_a_campaign_is_sent_once_by_two_workers(machine: Machine, platform: Sandbox) -> None:
    page_id = machine.pages["messenger_default"]
    platform.people(page_id, PEOPLE, profiles="plain")
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
