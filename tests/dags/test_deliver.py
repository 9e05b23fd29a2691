from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from otn.campaign import control
from otn.orchestration import delivering
from otn.outgoing import endpoints, post
from otn.outgoing.signing import verify
from tests.campaign.stage import Stage
from tests.dags.airflow_runs import Airflow
from tests.dags.test_watch import Post
from tests.dags.test_watch import post as someone
from tests.outgoing.conftest import System, systems

__all__ = ["someone", "systems"]


@pytest.fixture(autouse=True)
def _private(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTN_OUTGOING_PRIVATE", "true")


def add(stage: Stage, system: System, key: str = "crm") -> str:
    from otn.consent import pages
    from otn.database import transaction

    with transaction(stage.engine) as connection:
        page = pages.find(connection, "messenger_default")
    made = endpoints.add(stage.engine, stage.keyring, page, key, system.url, actor="me", private=True)
    return made.secret


def test_results_of_a_campaign_reach_a_system_and_its_end_reaches_people(
    airflow: Airflow, stage: Stage, systems: Callable[..., System], someone: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTN_NOTIFY", someone.url)
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example/base/")
    system = systems()
    secret = add(stage, system)
    psids = stage.opt_in(5)
    campaign = stage.planned()
    stage.send(campaign)
    control.end_run(stage.engine, campaign)
    run = airflow.run("otn_deliver")
    assert run.state == "success", run
    assert run.xcom("deliver") == {"outcomes": 6, "events": 2, "failed": 0, "unfinished": 0}
    assert [event["type"] for event in system.events] == ["recipients", "campaign.finished"]
    assert [state for _, state in system.results] == ["sent"] * 5
    for request in system.got:
        verify(request.body, request.headers["OTN-Signature"], secret)
        assert not any(psid.encode() in request.body for psid in psids)
    assert run.xcom("tell_campaigns") == 1
    (told,) = someone.got
    assert "is finished: 5 sent." in told["message"]
    assert f"https://airflow.example/base/otn/campaigns/{campaign}" in told["message"]
    again = airflow.run("otn_deliver")
    assert (again.xcom("deliver")["events"], again.xcom("tell_campaigns")) == (0, 0)


def test_a_dead_endpoint_holds_up_neither_another_nor_the_run(
    airflow: Airflow, stage: Stage, systems: Callable[..., System], monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(post, "READ_S", 0.2)
    monkeypatch.setattr(delivering, "BUDGET_S", 5)
    dead, well = systems(hang=threading.Event()), systems()
    add(stage, dead, "dead")
    add(stage, well, "well")
    stage.opt_in(1)
    campaign = stage.planned()
    stage.send(campaign)
    control.end_run(stage.engine, campaign)
    run = airflow.run("otn_deliver")
    assert run.state == "success"
    assert run.xcom("deliver") == {"outcomes": 2, "events": 2, "failed": 1, "unfinished": 0}
    assert "messenger_default dead failed (read_timeout); it is tried again" in caplog.text
    assert "/hook" not in caplog.text


def test_a_restored_or_cloned_database_delivers_nothing(
    airflow: Airflow, stage: Stage, systems: Callable[..., System]
) -> None:
    system = systems()
    add(stage, system)
    stage.opt_in(1)
    campaign = stage.planned()
    stage.send(campaign)
    stage.sql("UPDATE otn.epoch SET halted_at = now(), halt_reason = 'the database was cloned.'")
    assert airflow.run("otn_deliver").xcom("deliver")["events"] == 0
    assert system.got == []
    stage.sql("UPDATE otn.epoch SET halted_at = NULL, halt_reason = NULL")
    assert airflow.run("otn_deliver").xcom("deliver")["events"] == 1


def test_people_who_cannot_be_told_are_told_by_the_watch(
    airflow: Airflow, stage: Stage, someone: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTN_NOTIFY", someone.url)
    someone.status = 500
    stage.opt_in(1)
    campaign = stage.planned()
    stage.send(campaign)
    control.end_run(stage.engine, campaign)
    run = airflow.run("otn_deliver")
    assert (run.state, run.xcom("tell_campaigns")) == ("success", 0)
    someone.status = 200
    airflow.run("otn_watch")
    assert sum("is finished" in told["message"] for told in someone.got) == 1
    assert airflow.run("otn_deliver").xcom("tell_campaigns") == 0


def test_with_nobody_to_tell_the_news_waits(airflow: Airflow, stage: Stage) -> None:
    stage.opt_in(1)
    campaign = stage.planned()
    stage.send(campaign)
    control.end_run(stage.engine, campaign)
    assert airflow.run("otn_deliver").xcom("tell_campaigns") == 0
    assert stage.sql("SELECT count(*) FROM otn.notice WHERE settled_at IS NULL")[0][0] == 1
