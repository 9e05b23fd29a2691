"""A whole run of ``otn_broadcast`` by a real Airflow, beside the engine alone: what Airflow takes."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.shop import SHOP, TEXT, Shop, do
from benchmarks.team import send
from otn.campaign import control
from otn.campaign import plan as planning
from otn.campaign.report import report
from otn.crypto import read_keyring
from otn.database import make_engine
from otn.epoch.file import VARIABLE, make_known
from otn.local import machine
from otn.local.demo import stand_in
from otn.local.demo.airflow_api import AirflowApi
from otn.local.environment import home_environment
from otn.local.home import ADMIN, Home
from otn.local.progress import Progress, Silence
from otn.settings import DATABASE_CONNECTION, DEFAULT_PAGE_CONNECTION, database_url, page_settings, read_connection

PEOPLE = 600_000
ROUNDS = 1
AT_LEAST_S = 60.0  # a shorter run says more about Airflow's own steps than about sending
SHARE_BOUND = 0.2
PATIENCE_S = 3_600.0


def run(progress: Progress | None = None, rounds: int = ROUNDS, people: int = PEOPLE) -> dict[str, Any]:
    """Measure both in turns, in one home.

    Args:
        progress: told what happens.
        rounds: how often each.
        people: who get the message, each time.
    """
    progress = progress or Silence()
    engine_s: list[float] = []
    dag_s: list[float] = []
    with _home(progress) as (shop, airflow, environment):
        for number in range(rounds):
            progress.stage(f"round {number + 1} of {rounds}, {people:,} people, the engine alone")
            engine_s.append(_alone(shop, people, environment))
            progress.stage(f"round {number + 1} of {rounds}, {people:,} people, a DAG run")
            dag_s.append(_by_airflow(shop, airflow, people))
    shares = [1 - alone / whole for alone, whole in zip(engine_s, dag_s, strict=True)]
    return {
        "rounds": rounds,
        "people": people,
        "engine_s": round(median(engine_s), 1),
        "run_s": round(median(dag_s), 1),
        "long_enough": median(dag_s) >= AT_LEAST_S,
        "airflow_share": round(median(shares), 3),
        "share_bound": SHARE_BOUND,
    }


@contextmanager
def _home(progress: Progress) -> Iterator[tuple[Shop, AirflowApi, dict[str, str]]]:
    """A system as ``./otn up`` starts it, its page on a sandbox, its pace off."""
    before = os.environ.get(VARIABLE)
    with tempfile.TemporaryDirectory(prefix="otn-bench-") as folder:
        home = Home.at(Path(folder) / "home")
        home.create()
        stand_in.settle_in(home, 0)
        try:
            status = machine.up(home, prepare=_register, progress=progress)
            environment = home_environment(home)
            make_known(environment)  # what is sent from here counts as sent by the home
            stand_in.control(home).page(**home.state()["sandbox_page"])
            airflow = AirflowApi(str(status.api_url), ADMIN, home.passwords()[ADMIN])
            airflow.wait_for_dag("otn_broadcast")
            shop = _shop(home, environment)
            yield shop, airflow, dict(environment)
            shop.engine.dispose()
        finally:
            machine.down(home, progress=progress)
            os.environ.pop(VARIABLE, None)
            os.environ |= {VARIABLE: before} if before is not None else {}


def _register(environment: Mapping[str, str]) -> None:
    engine = make_engine(database_url(read_connection(DATABASE_CONNECTION, environment)))
    settings = page_settings(read_connection(DEFAULT_PAGE_CONNECTION, environment))
    do(engine, SHOP, page=settings.page_id)
    engine.dispose()


def _shop(home: Home, environment: Mapping[str, str]) -> Shop:
    url = database_url(read_connection(DATABASE_CONNECTION, environment))
    engine = make_engine(url, application_name="otn bench")
    row = do(engine, "SELECT id FROM otn.page")
    settings = page_settings(read_connection(DEFAULT_PAGE_CONNECTION, environment))
    return Shop(engine, url, read_keyring(environment), stand_in.control(home), settings, row, [])


def _alone(shop: Shop, people: int, environment: dict[str, str]) -> float:
    """Seconds of the engine: opened, planned, sent by a process a chunk, reported."""
    key, topic = shop.opted_in(people)
    began = time.monotonic()
    campaign = shop.campaign(key, topic)
    planned = planning.plan(shop.engine, campaign, messages_per_second=None)
    send("ours", shop, campaign, planned.chunks, environment)
    found = report(shop.engine, campaign)
    took = time.monotonic() - began
    _expect(found, people)
    return took


def _by_airflow(shop: Shop, airflow: AirflowApi, people: int) -> float:
    """Seconds of the run, from the click to its end."""
    key, _ = shop.opted_in(people)
    began = time.monotonic()
    run = airflow.trigger("otn_broadcast", {"campaign": key, "topic": key, "text": TEXT, "approval": False})
    state = airflow.wait_for_run("otn_broadcast", run, PATIENCE_S)
    took = time.monotonic() - began
    found = report(shop.engine, control.find(shop.engine, DEFAULT_PAGE_CONNECTION, key))
    if state != "success":
        raise RuntimeError(f"The run ended {state}; its report: {found}")
    _expect(found, people)
    return took


def _expect(found: Mapping[str, Any], people: int) -> None:
    if found["sent"] != people:
        raise RuntimeError(f"{found['sent']} of {people} people were sent to: {dict(found)}")
