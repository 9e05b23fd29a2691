from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from otn.campaign import approval as approvals
from tests.campaign.stage import Stage
from tests.dags.airflow_runs import Airflow, Question, Run, answer, let_time_pass

SPRING: dict[str, Any] = {"campaign": "spring", "topic": "restock", "text": "It is back!"}
AFTER_VALIDATE = ["approval", "wait_for_send_at", "start_check", "plan", "canary", "reconcile", "report"]


def tries(run: Run, task: str) -> int:
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        found = select(TaskInstance.try_number).where(TaskInstance.run_id == run.run_id, TaskInstance.task_id == task)
        return int(session.scalars(found).one())


def campaign_row(stage: Stage) -> Any:
    rows = stage.sql("SELECT * FROM otn.campaign")
    return rows[0] if rows else None


def test_everyone_gets_the_message_once_and_the_run_is_green(airflow: Airflow, stage: Stage) -> None:
    people = stage.opt_in(30, (1, 2))
    run = airflow.run("otn_broadcast", **SPRING, approval=False, canary=5)
    assert run.state == "success", run
    assert stage.seen() == dict.fromkeys(people, 1)
    figures = run.xcom("report")
    assert (figures["sent"], figures["state"], figures["audience"]) == (30, "finished", 30)
    assert run.xcom("canary") == [1]
    assert campaign_row(stage).created_by.startswith("dag_test (otn_broadcast manual__")

    again = airflow.run("otn_broadcast", **SPRING, approval=False, canary=5)
    assert again.state == "success"
    assert {again.tasks[name] for name in [*AFTER_VALIDATE, "send"]} == {"skipped"}
    cleared = airflow.clear(run)
    assert cleared.state == "success"
    assert stage.seen() == dict.fromkeys(people, 1)


def test_chunks_are_as_long_as_the_pace_of_their_message_makes_them(stage: Stage, monkeypatch: Any) -> None:
    from otn.campaign import plan
    from otn.orchestration import bench, broadcasting

    film = {"attachment": {"type": "video", "payload": {"url": "https://media.example/film.mp4"}}}
    paces: list[float] = []
    settings = replace(stage.settings, messages_per_second=30.0, media_per_second=10.0)
    monkeypatch.setattr(broadcasting, "apply_journals", lambda *_: None)
    monkeypatch.setattr(
        plan, "plan", lambda *_, messages_per_second: paces.append(messages_per_second) or plan.Plan(0, 0, 1)
    )
    for message in (film, {"text": "It is back!"}):
        row = SimpleNamespace(page_id=stage.page_row, message=message)
        laid_out = bench.Bench(stage.engine, stage.client, stage.keyring, settings, row)
        monkeypatch.setattr(bench.Bench, "of_campaign", lambda _, laid_out=laid_out: laid_out)
        broadcasting.plan.function(1)
    assert paces == [9.0, 27.0]


def test_a_yes_is_bound_to_what_was_shown(airflow: Airflow, stage: Stage) -> None:
    people = stage.opt_in(12)
    stage.sql("UPDATE otn.subscriber SET labels = '{vip}' WHERE psid = %s", people[0])
    asked: list[Question] = []
    text = 'Hi {{ first_name | default("there") }}, {{ conn.otn_db.password }}'.replace(
        ", {{ conn.otn_db.password }}", ""
    )

    def person() -> None:
        asked.append(answer("Approve"))

    run = airflow.run("otn_broadcast", person, campaign="spring", topic="restock", text=text, exclude_labels=["vip"])
    assert run.state == "success", run
    (question,) = asked
    assert question.task == "approval"
    assert "Hi Alex" in question.body
    assert "| carry an excluded label | 1 |" in question.body
    assert "Up to 21 people" in question.body
    assert timedelta(minutes=115) < question.waits <= timedelta(hours=2)
    row = campaign_row(stage)
    assert (row.approved_by, row.approved_cap) == ("Ada", 21)
    assert sum(stage.seen().values()) == 11


@pytest.mark.parametrize("said_no", [True, False], ids=["a person says no", "nobody answers"])
def test_without_a_yes_nothing_is_sent(airflow: Airflow, stage: Stage, said_no: bool) -> None:
    stage.opt_in(3)
    run = airflow.run("otn_broadcast", (lambda: answer("Reject") and None) if said_no else let_time_pass, **SPRING)
    assert run.state == "success"
    assert {run.tasks[name] for name in [*AFTER_VALIDATE[1:], "send"]} == {"skipped"}
    assert campaign_row(stage).state == "cancelled"
    assert stage.seen() == {}


def test_more_people_than_the_yes_covered_are_asked_about_again(airflow: Airflow, stage: Stage) -> None:
    stage.opt_in(3)
    asked: list[Question] = []

    def person() -> None:
        asked.append(answer("Approve"))
        asked.append(answer("Approve", "Bob"))

    moment = datetime.now(UTC) + timedelta(minutes=10)
    plain = approvals.approve
    late_comers = iter([50, 0])

    def approve_and_grow(*arguments: Any, **values: Any) -> None:
        plain(*arguments, **values)
        if people := next(late_comers):  # they opt in while the campaign waits for its moment
            stage.opt_in(people)
            stage.sql("UPDATE otn.campaign SET send_at = clock_timestamp() + interval '2 seconds'")  # which is soon

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(approvals, "approve", approve_and_grow)
        run = airflow.run("otn_broadcast", person, **SPRING, send_at=moment.isoformat())
    assert run.state == "success", run
    assert [question.task for question in asked] == ["approval", "start_check"]
    assert "More people would get it now" in asked[1].body
    assert asked[0].waits <= timedelta(minutes=10)
    row = campaign_row(stage)
    assert row.approved_by == "Bob"
    assert row.send_at < row.planned_at < moment
    assert sum(stage.seen().values()) == 53


def test_a_dry_run_shows_everything_and_writes_nothing(airflow: Airflow, stage: Stage) -> None:
    stage.opt_in(7)
    run = airflow.run("otn_broadcast", **SPRING, max_recipients=5, dry_run=True)
    assert run.state == "success"
    assert run.xcom("validate", "preview") == {
        "audience": 7,
        "planned": 5,
        "excluded": {"over_max_recipients": 2},
        "tokens_spent": 5,
        "tokens_dying": 0,
    }
    assert {run.tasks[name] for name in [*AFTER_VALIDATE, "send"]} == {"skipped"}
    assert campaign_row(stage) is None
    assert stage.seen() == {}


def test_a_bad_canary_stops_everyone_after_it(airflow: Airflow, stage: Stage) -> None:
    people = stage.opt_in(30)
    stage.sandbox.block(stage.settings.page_id, people, family="551")
    run = airflow.run("otn_broadcast", **SPRING, approval=False, canary=4)
    assert run.state == "failed"
    assert run.tasks["report"] == "failed"
    figures = run.xcom("report")
    assert (figures["state"], figures["refused"], figures["waiting"]) == ("halted", 4, 26)
    assert "canary" in figures["halt_reason"]

    stage.sandbox.unblock(stage.settings.page_id, people)
    again = airflow.run("otn_broadcast", **SPRING, approval=False, canary=4)
    assert again.xcom("report")["sent"] == 26
    assert sum(stage.seen().values()) == 26


def test_a_page_token_that_died_halts_and_the_same_key_resumes(
    airflow: Airflow, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.opt_in(5)
    stage.sandbox.page(stage.settings.page_id, dead=463)
    run = airflow.run("otn_broadcast", **SPRING, approval=False)
    assert run.state == "failed"
    assert run.xcom("report")["waiting"] == 5
    stage.sandbox.page(stage.settings.page_id, dead=None)
    again = airflow.run("otn_broadcast", **SPRING, approval=False)
    assert again.state == "success", again.xcom("report")
    assert again.xcom("report")["sent"] == 5


def test_only_failed_tasks_cleared_send_what_was_left(
    airflow: Airflow, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    from otn.campaign import send
    from otn.errors import OtnError

    people = stage.opt_in(6)

    def broken(*_: Any, **__: Any) -> None:
        raise OtnError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(send, "send_chunk", lambda *a, **k: broken() if a[5] else real(*a, **k))
        real = stage.send.__globals__["send_chunk"]
        run = airflow.run("otn_broadcast", **SPRING, approval=False)
    assert (run.state, run.tasks["send[0]"], run.tasks["reconcile"]) == ("failed", "failed", "success")
    assert stage.seen() == {}
    cleared = airflow.clear(run, only_failed=True)
    assert cleared.state == "success", cleared.xcom("report")
    assert stage.seen() == dict.fromkeys(people, 1)
    assert cleared.xcom("report")["state"] == "finished"


def test_approval_marked_as_success_by_hand_is_asked_for_at_the_start(airflow: Airflow, stage: Stage) -> None:
    stage.opt_in(2)
    asked: list[Question] = []

    def person() -> None:
        asked.append(answer("Reject"))

    ended = airflow.run("otn_broadcast", person, by_hand="approval", **SPRING)
    assert [question.task for question in asked] == ["start_check"]
    assert ended.tasks["plan"] == "skipped"
    assert stage.seen() == {}


@pytest.mark.parametrize(
    ("conf", "sentence"),
    [
        ({"dry_rnu": True}, "There is no param 'dry_rnu'. Did you mean 'dry_run'?"),
        ({"topic": "restok"}, "has no topic 'restok' (near: restock)"),
        ({"page": "messenger_other"}, "messenger_other"),
        ({"text": "x" * 2000}, "text"),
        ({"text": "Hi {{ first_name "}, "The template is broken at line 1"),
        ({"text": None, "message": {"foo": 1}}, "foo"),
        ({"send_at": "2020-01-01T00:00:00Z"}, "had passed when the campaign was triggered"),
        ({"send_at": "tomorrow"}, "Write a moment like"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(
    airflow: Airflow, stage: Stage, caplog: pytest.LogCaptureFixture, capsys: Any, conf: dict[str, Any], sentence: str
) -> None:
    stage.opt_in(1)
    run = airflow.run("otn_broadcast", **{**SPRING, "approval": False, **conf})
    assert run.state == "failed"
    assert run.tasks["validate"] == "failed"
    assert {run.tasks[name] for name in [*AFTER_VALIDATE, "send"]} == {"upstream_failed"}
    said = capsys.readouterr()
    assert sentence in said.out + said.err + caplog.text
    assert campaign_row(stage) is None
    assert stage.seen() == {}
    assert tries(run, "validate") == 1, "what cannot be cured is not tried again"


def test_no_secret_and_nobodys_id_leaves_the_tasks(airflow: Airflow, stage: Stage, capsys: Any) -> None:
    from airflow.models.hitl import HITLDetail
    from airflow.models.renderedtifields import RenderedTaskInstanceFields
    from airflow.utils.session import create_session
    from sqlalchemy import select

    people = stage.opt_in(5)
    stage.sandbox.block(stage.settings.page_id, people[:1])
    run = airflow.run("otn_broadcast", lambda: answer("Approve") and None, **{**SPRING, "text": "Hi {{ first_name }}"})
    assert run.xcom("report")["sent"] >= 4
    with create_session() as session:
        fields = session.scalars(
            select(RenderedTaskInstanceFields).where(RenderedTaskInstanceFields.run_id == run.run_id)
        ).all()
        rendered = [str(one.rendered_fields) for one in fields]
        asked = [one.body for one in session.scalars(select(HITLDetail))]
    assert rendered
    said = capsys.readouterr()
    kept = "\n".join([said.out, said.err, str(run.xcoms), str(run.tasks), *rendered, *asked])
    keys = [os.environ["OTN_ENCRYPTION_KEYS"], os.environ["OTN_HASH_KEY"]]
    tokens = [row["token"] for row in stage.sandbox.tokens(stage.settings.page_id)]
    secrets = [stage.settings.access_token, str(stage.settings.app_secret), *keys, *tokens, *people]
    assert len(secrets) >= 14
    assert [secret for secret in secrets if secret in kept] == []
