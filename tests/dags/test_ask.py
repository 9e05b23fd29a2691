from __future__ import annotations

from typing import Any

import pytest

from otn.errors import UsageError
from otn.orchestration import asking
from otn.orchestration.ask_params import ASK_KEYS, AskRequest
from otn.orchestration.forms import ask_params
from otn.orchestration.sending import HANGING
from tests.campaign.stage import Stage
from tests.dags.airflow_runs import Airflow


def people(stage: Stage, count: int, **columns: Any) -> list[str]:
    """People who have just written."""
    psids = stage.sandbox.people(stage.settings.page_id, count)
    stage.sandbox.window(stage.settings.page_id, psids)
    names = "".join(f", {name}" for name in columns)
    for psid in psids:
        stage.sql(
            f"INSERT INTO otn.subscriber (page_id, psid, last_interaction_at{names})"
            f" VALUES (%s, %s, clock_timestamp(){', %s' * len(columns)})",
            stage.page_row,
            psid,
            *columns.values(),
        )
    return psids


def test_people_are_asked_once_and_the_figures_add_up(airflow: Airflow, stage: Stage) -> None:
    asked = people(stage, 4)
    people(stage, 1, locale="de_DE")
    run = airflow.run("otn_ask", topic="restock", ref="shoe-42")
    assert run.state == "success", run
    assert stage.seen() == dict.fromkeys(asked, 1)
    figures = run.xcom("report")
    assert (figures["asked"], figures["sent"], figures["excluded"]) == (4, 4, {"region_gated": 1})
    assert figures["ask"] == run.run_id
    assert airflow.clear(run).state == "success"
    assert stage.seen() == dict.fromkeys(asked, 1)


def test_a_dry_run_writes_nothing(airflow: Airflow, stage: Stage) -> None:
    people(stage, 2)
    run = airflow.run("otn_ask", topic="restock", dry_run=True)
    assert (run.state, run.tasks["send"]) == ("success", "skipped")
    assert run.xcom("ask", "preview") == {"asked": 2, "excluded": {}}
    assert stage.sql("SELECT count(*) FROM otn.ask")[0][0] == 0


def test_a_sweep_sends_what_was_left_on_every_page_it_can_speak_for(airflow: Airflow, stage: Stage) -> None:
    asked = people(stage, 2)
    stage.sql("INSERT INTO otn.page (page_id, connection_id) VALUES ('77', 'nobody_defined_this')")
    stage.sql(
        "INSERT INTO otn.ask (page_id, topic_id, key) VALUES (%s, %s, 'cut short')", stage.page_row, stage.topic_row
    )
    stage.sql(
        "INSERT INTO otn.window_message (page_id, subscriber_id, cause, ask_id, topic_id, card, message, not_after)"
        " SELECT s.page_id, s.id, 'ask', a.id, a.topic_id, true, '{\"text\": \"card\"}',"
        " clock_timestamp() + interval '1 h'"
        " FROM otn.subscriber s, otn.ask a"
    )
    run = airflow.run("otn_ask")
    assert run.state == "success", run
    assert run.xcom("send") == {"sent": 2}
    assert run.xcom("report") == {}
    assert stage.seen() == dict.fromkeys(asked, 1)
    assert stage.sql("SELECT count(*) FROM otn.subscriber WHERE profile_at IS NULL")[0][0] == 0


def test_a_page_whose_feature_is_pending_is_asked_for_only_with_a_reason(
    airflow: Airflow, stage: Stage, capsys: Any
) -> None:
    people(stage, 1, locale="ja_JP")
    stage.sandbox.page(stage.settings.page_id, features={"one_time_notification": "pending"})
    run = airflow.run("otn_ask", topic="restock")
    assert run.state == "failed"
    assert "is pending: request cards would be refused" in capsys.readouterr().out
    assert stage.sql("SELECT count(*) FROM otn.ask")[0][0] == 0
    run = airflow.run("otn_ask", topic="restock", override_reason="Meta's support confirmed it by mail")
    assert run.state == "success", run
    assert run.xcom("report")["gate_reason"] == "Meta's support confirmed it by mail"
    assert run.xcom("report")["sent"] == 1


def test_a_halted_page_with_people_waiting_is_red_and_unknown_is_not(
    airflow: Airflow, stage: Stage, capsys: Any
) -> None:
    people(stage, 3)
    stage.sandbox.faults(next=[{"kind": "drop", "page_id": stage.settings.page_id, "count": 3}])
    run = airflow.run("otn_ask", topic="restock")
    assert (run.state, run.xcom("report")["unknown"]) == ("success", 3)
    waiting = people(stage, 2)
    stage.sandbox.page(stage.settings.page_id, dead=463)
    run = airflow.run("otn_ask", topic="restock")
    assert run.state == "failed"
    assert (run.xcom("report")["waiting"], run.xcom("report")["excluded"]) == (2, {"asked_recently": 3})
    assert "2 messages wait on the page messenger_default, which is halted" in capsys.readouterr().out
    stage.sandbox.page(stage.settings.page_id, dead=None)
    stage.sql("UPDATE otn.page SET halted_at = NULL, halt_reason = NULL")
    stage.sql("UPDATE otn.window_message SET not_before = NULL")
    assert airflow.clear(run).state == "success"
    assert stage.seen() == dict.fromkeys(waiting, 1)


LEAST: dict[str, Any] = {"topic": "restock"}


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"topik": 1}, "There is no param 'topik'. Did you mean 'topic'?"),
        ({"topic": None, "ref": "shoe"}, "The param 'topic' is missing"),
        ({"topic": None, "dry_run": True}, "The param 'topic' is missing"),
        ({"topic": 7}, "topic is 7"),
        ({"topic": ["restock"]}, "topic is ['restock']"),
        ({"page": " x"}, "page is ' x'"),
        ({"include_labels": ["a"], "exclude_labels": ["a"]}, "both included and excluded"),
        ({"stock": 2}, "Give stock_reason"),
        ({"stock": 0}, "stock is 0"),
        ({"stock": 101, "stock_reason": "because"}, "stock is 101"),
        ({"ref": "x" * 201}, "ref is 'xx"),
        ({"ref": 5}, "ref is 5"),
        ({"max_people": 0}, "max_people is 0"),
        ({"override_reason": "\n"}, "override_reason is"),
        ({"override_reason": True}, "override_reason is True"),
        ({"filter": {"ref": ["shoe"]}}, "filter.ref"),
        ({"filter": "vip"}, "filter is 'vip'"),
        ({"dry_run": "yes"}, "dry_run is 'yes'"),
    ],
)
def test_what_cannot_be_used_is_named(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        AskRequest.from_params({**LEAST, **wrong})
    assert sentence in str(caught.value)


def test_the_form_asks_for_exactly_what_is_read() -> None:
    form = ask_params()
    assert set(form) == ASK_KEYS
    assert all(param.schema.get("title") for param in form.values())
    assert AskRequest.from_params({name: param.value for name, param in form.items()}) == AskRequest()
    assert AskRequest.from_params({"page": "second"}) == AskRequest(page="second")
    assert AskRequest.from_params(LEAST).asking_page == "messenger_default"


def test_a_sweep_shares_its_time_among_the_pages(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    shares: list[float] = []

    def send(_engine: Any, _page: Any, run_s: float) -> dict[str, int]:
        shares.append(run_s)
        return {"sent": 1}

    monkeypatch.setattr(asking, "_send", send)
    monkeypatch.setattr(asking, "_fetch_profiles", lambda *_: None)
    for number in (77, 78, 79):
        stage.sql("INSERT INTO otn.page (page_id, connection_id) VALUES (%s, %s)", str(number), f"page_{number}")
    assert asking._sweep(stage.engine, None) == {"sent": 4}
    assert shares[0] <= asking.SWEEP_S / 4
    assert max(shares) <= asking.SWEEP_S < HANGING.total_seconds()
