from __future__ import annotations

from typing import Any

import pytest

from otn.errors import UsageError
from otn.orchestration.forms import params_of_test
from otn.orchestration.testing_params import TEST_KEYS, MessageTestRequest
from tests.campaign.stage import Stage
from tests.dags.airflow_runs import Airflow
from tests.dags.test_ask import people

HELLO = 'Hi {{ first_name | default("there") }}'
LEAST: dict[str, Any] = {"topic": "restock", "text": HELLO, "people": [1]}


def numbers(stage: Stage, psids: list[str]) -> list[int]:
    return [row[0] for row in stage.sql("SELECT id FROM otn.subscriber WHERE psid = ANY (%s) ORDER BY id", psids)]


def test_a_run_tests_once_whatever_is_cleared_and_spends_nothing(airflow: Airflow, stage: Stage) -> None:
    psids = people(stage, 2)
    stage.sql(
        "INSERT INTO otn.token (subscriber_id, topic_id, token_hash, token_encrypted, opted_in_at, expires_at)"
        " SELECT id, %s, sha256(psid::bytea), 'sealed', now(), now() + interval '1 year' FROM otn.subscriber",
        stage.topic_row,
    )
    before = stage.sql("SELECT t.*, t.xmin::text FROM otn.token t ORDER BY id")
    run = airflow.run("otn_test_message", topic="restock", text=HELLO, people=numbers(stage, psids))
    assert run.state == "success", run
    assert (run.xcom("send"), run.xcom("report")) == ({"sent": 2}, {"sent": 2})
    assert not any(psid in str(run.xcoms) for psid in psids)
    assert airflow.clear(run).state == "success"
    assert stage.seen() == dict.fromkeys(psids, 1)
    assert stage.sql("SELECT t.*, t.xmin::text FROM otn.token t ORDER BY id") == before


def test_a_doubt_is_no_alarm_and_a_halted_page_is(airflow: Airflow, stage: Stage, capsys: Any) -> None:
    psids = people(stage, 1)
    stage.sandbox.faults(next=[{"kind": "drop_after", "page_id": stage.settings.page_id}])
    run = airflow.run("otn_test_message", topic="restock", text=HELLO, people=numbers(stage, psids))
    assert (run.state, run.xcom("report")) == ("success", {"unknown": 1})
    assert airflow.clear(run).state == "success"
    assert stage.seen() == {psids[0]: 1}
    stage.sandbox.page(stage.settings.page_id, dead=463)
    run = airflow.run("otn_test_message", topic="restock", text=HELLO, people=numbers(stage, psids))
    assert (run.state, run.xcom("report")) == ("failed", {"waiting": 1})
    assert "1 test messages wait on the page messenger_default, which may not send" in capsys.readouterr().out
    stage.sandbox.page(stage.settings.page_id, dead=None)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"peeple": 1}, "There is no param 'peeple'. Did you mean 'people'?"),
        ({"topic": None}, "The param 'topic' is missing"),
        ({"message": {"text": "Hi"}}, "Exactly one of"),
        ({"text": None}, "Exactly one of"),
        ({"people": None}, "people is None"),
        ({"people": []}, "Nobody is chosen"),
        ({"people": list(range(1, 12))}, "11 people are chosen"),
        ({"people": ["7000000000000001"]}, "never a PSID"),
        ({"people": [True]}, "people holds True"),
        ({"people": [0]}, "people holds 0"),
        ({"people": [2**63]}, "people holds"),
        ({"people": "1"}, "people is '1'"),
    ],
)
def test_a_param_that_cannot_be_used_is_named(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError) as refused:
        MessageTestRequest.from_params({**LEAST, **wrong})
    assert sentence in str(refused.value)


def test_the_form_shows_every_param() -> None:
    assert set(params_of_test()) == TEST_KEYS
