from __future__ import annotations

from typing import Any

import pytest

from tests.campaign.stage import Stage
from tests.dags.airflow_runs import Airflow

SPRING: dict[str, Any] = {"campaign": "spring", "topic": "restock", "text": "It is back!", "approval": False}


def test_refusals_worth_a_try_are_taken_up_and_others_are_not(airflow: Airflow, stage: Stage) -> None:
    people = stage.opt_in(8)
    stage.sandbox.block(stage.settings.page_id, people[:2], family="551")
    stage.sandbox.block(stage.settings.page_id, people[2:3], family="10/2018108")
    sent = airflow.run("otn_broadcast", **SPRING)
    assert (sent.state, sent.xcom("report")["refused"]) == ("success", 3)
    stage.sandbox.unblock(stage.settings.page_id, people)

    run = airflow.run("otn_retry", campaign="spring", scope="refused")
    assert run.state == "success", run
    worth = run.xcom("report")["sent"] - 5
    assert worth >= 2
    assert sum(stage.seen().values()) == 5 + worth
    assert max(stage.seen().values()) == 1

    for scope in ("refused", "waiting", "unknown"):
        nothing = airflow.run("otn_retry", campaign="spring", scope=scope)
        assert nothing.state == "success"
        assert nothing.tasks["report"] == "skipped"
    assert sum(stage.seen().values()) == 5 + worth


def test_people_who_wait_in_a_halted_campaign_are_taken_up_canary_included(airflow: Airflow, stage: Stage) -> None:
    people = stage.opt_in(7)
    stage.sandbox.page(stage.settings.page_id, dead=463)
    assert airflow.run("otn_broadcast", **SPRING, canary=2).state == "failed"
    stage.sandbox.page(stage.settings.page_id, dead=None)
    run = airflow.run("otn_retry", campaign="spring", scope="waiting")
    assert run.state == "success", run.xcom("report")
    assert stage.seen() == dict.fromkeys(people, 1)


@pytest.mark.parametrize(
    ("conf", "sentence"),
    [
        ({"campaign": "sprung"}, "There is no campaign 'sprung'"),
        ({"campaign": "spring", "scope": "waiting"}, "has no recipients yet"),
        ({"campaign": "spring", "scop": "waiting"}, "Did you mean 'scope'?"),
    ],
)
def test_bad_input_is_named(airflow: Airflow, stage: Stage, capsys: Any, conf: dict[str, Any], sentence: str) -> None:
    stage.open()
    run = airflow.run("otn_retry", **conf)
    assert run.state == "failed"
    assert run.tasks["report"] == "upstream_failed"
    assert sentence in capsys.readouterr().out
