from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from otn.orchestration.campaign_files import CampaignFileError, check_folder
from otn.settings import ROOT
from tests.campaign.stage import Stage
from tests.dags.airflow_runs import Airflow, Question, Run, answer
from tests.dags.campaign_runs import DAY, FILE, MIDNIGHT, ZONE, Campaigns

FIVE = (MIDNIGHT - 6 * DAY, MIDNIGHT - 2 * DAY)  # the days before the last whole one


@pytest.fixture
def campaigns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, airflow: Airflow) -> Campaigns:
    monkeypatch.setenv("OTN_CAMPAIGNS_DIR", str(tmp_path))
    monkeypatch.setenv("AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL", "0")
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import delete

    with create_session() as session:  # each test has a history of its own
        session.execute(delete(DagRun).where(DagRun.dag_id.like("otn_campaign_%")))
    return Campaigns(tmp_path)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """What was logged, wherever Airflow puts it."""

    def everything() -> str:
        printed = capsys.readouterr()
        return printed.out + printed.err + caplog.text

    return everything


def key_of(days_ago: int) -> str:
    return f"spring/{(MIDNIGHT - days_ago * DAY):%Y-%m-%dT%H:%M:%SZ}"


def states(stage: Stage) -> dict[str, str]:
    return dict(stage.sql("SELECT key, state::text FROM otn.campaign ORDER BY key"))


def opted_in_daily(stage: Stage) -> dict[int, list[str]]:
    """Three people for each of the last six days, by how many days ago the day began."""
    people = {}
    for days_ago in range(6, 0, -1):
        people[days_ago] = stage.opt_in(3)
        moment = MIDNIGHT - days_ago * DAY + timedelta(hours=12)
        stage.sql(
            "UPDATE otn.token SET opted_in_at = %s, expires_at = clock_timestamp() + interval '300 days'"
            " WHERE subscriber_id IN (SELECT id FROM otn.subscriber WHERE psid = ANY (%s))",
            moment,
            people[days_ago],
        )
    return people


def after_validate(run: Run) -> set[str | None]:
    return {state for name, state in run.tasks.items() if name != "validate"}


@pytest.mark.parametrize("if_late", ["send", "cancel"])
def test_five_missed_days_are_backfilled_by_if_late(campaigns: Campaigns, stage: Stage, if_late: str) -> None:
    people = opted_in_daily(stage)
    campaigns.write("spring", if_late=if_late, audience={"opted_in": "interval"})
    runs = campaigns.backfill("spring", *FIVE)
    assert [run.state for run in runs] == ["success"] * 5, runs
    wanted = "finished" if if_late == "send" else "cancelled"
    assert states(stage) == {key_of(days_ago): wanted for days_ago in range(6, 1, -1)}
    due = [psid for days_ago in range(6, 1, -1) for psid in people[days_ago]]
    assert stage.seen() == (dict.fromkeys(due, 1) if if_late == "send" else {})
    for run in runs[:1] if if_late == "send" else []:
        assert (run.xcom("report")["sent"], run.xcom("report")["campaign"]) == (3, key_of(6))

    before = stage.seen()
    again = campaigns.backfill("spring", *FIVE, reprocess="completed")
    assert [run.state for run in again] == ["success"] * 5
    assert [after_validate(run) for run in again] == [{"skipped"}] * 5
    assert stage.seen() == before
    assert campaigns.backfill("spring", *FIVE) == []


def test_five_missed_days_are_asked_about_one_by_one_and_once_each(campaigns: Campaigns, stage: Stage) -> None:
    people = opted_in_daily(stage)
    campaigns.write("spring", if_late="ask", approval=True, audience={"opted_in": "interval"})
    said = iter(["Approve", "Reject", "Approve", "Approve", "Reject"])
    asked: list[Question] = []

    def person() -> None:
        asked.append(answer(next(said)))

    runs = campaigns.backfill("spring", *FIVE, person=person)
    assert [run.state for run in runs] == ["success"] * 5, runs
    assert [question.task for question in asked] == ["approval"] * 5
    assert all("It starts later than" in question.body for question in asked)
    assert states(stage) == {
        key_of(days_ago): "cancelled" if days_ago in {5, 2} else "finished" for days_ago in range(6, 1, -1)
    }
    assert stage.seen() == dict.fromkeys([psid for days_ago in (6, 4, 3) for psid in people[days_ago]], 1)
    again = campaigns.backfill("spring", *FIVE, reprocess="completed")
    assert [after_validate(run) for run in again] == [{"skipped"}] * 5


def test_a_day_that_was_planned_is_only_finished(
    campaigns: Campaigns, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = stage.opt_in(4)
    campaigns.write("spring", if_late="send")
    stage.sandbox.page(stage.settings.page_id, dead=463)
    (run,) = campaigns.backfill("spring", FIVE[0], FIVE[0])
    assert run.state == "failed"
    assert states(stage) == {key_of(6): "halted"}
    stage.sandbox.page(stage.settings.page_id, dead=None)
    more = stage.opt_in(2)
    campaigns.write("spring", if_late="cancel", text="Something else")
    (again,) = campaigns.backfill("spring", FIVE[0], FIVE[0], reprocess="failed")
    assert again.state == "success", again
    assert stage.seen() == dict.fromkeys(people, 1)  # late by days, and finished; with its own people
    assert not set(more) & set(stage.seen())
    assert stage.sql("SELECT message ->> 'text' FROM otn.campaign") == [("It is back!",)]
    trace = stage.sql("SELECT detail FROM otn.audit WHERE action = 'read file' ORDER BY id")
    assert [row[0]["content_kept"] for row in trace] == [False, True]
    assert trace[0][0]["sha256"] != trace[1][0]["sha256"]


def test_the_days_after_an_edit_take_the_new_content(
    campaigns: Campaigns, stage: Stage, said: Callable[[], str]
) -> None:
    stage.opt_in(1)
    campaigns.write("spring", if_late="send")
    campaigns.backfill("spring", FIVE[0], FIVE[0])
    stage.opt_in(1)
    campaigns.write("spring", if_late="send", text="It is gone!")
    campaigns.backfill("spring", FIVE[0], FIVE[0] + DAY, reprocess="completed")
    assert "keeps the message, topic and audience" in said()
    rows = stage.sql("SELECT key, message ->> 'text' FROM otn.campaign ORDER BY key")
    assert rows == [(key_of(6), "It is back!"), (key_of(5), "It is gone!")]
    assert sum(stage.seen().values()) == 2
    campaigns.write("spring", if_late="send", page="messenger_second")
    (run,) = campaigns.backfill("spring", FIVE[0], FIVE[0], reprocess="completed")
    assert after_validate(run) == {"skipped"}  # a day that was opened stays with its page
    assert "opened on 'messenger_default' and stays there" in said()


def test_a_changed_schedule_never_sends_twice_for_one_time(
    campaigns: Campaigns, stage: Stage, said: Callable[[], str]
) -> None:
    people = stage.opt_in(2, (2, 2))
    campaigns.write("spring", if_late="send")
    campaigns.backfill("spring", FIVE[0], FIVE[0])
    assert stage.seen() == dict.fromkeys(people, 1)
    shifted: dict[str, Any] = {"schedule": {"cron": "0 6 * * *", "timezone": ZONE}, "if_late": "send"}
    campaigns.write("spring", **shifted)
    (run,) = campaigns.backfill("spring", FIVE[0], FIVE[0] + timedelta(hours=12))
    assert run.state == "success", run
    assert stage.seen() == dict.fromkeys(people, 1)
    assert sorted(states(stage).values()) == ["cancelled", "finished"]
    assert "overlaps it: the schedule was changed" in said()

    campaigns.write("spring", **shifted, audience={"opted_in": "interval"})
    first = FIVE[0] - DAY
    (cut,) = campaigns.backfill("spring", first, first + timedelta(hours=12))
    assert cut.tasks["validate"] == "failed"  # six hours of people are in no campaign: a person must act
    assert "reach them by otn_broadcast" in said()
    assert stage.seen() == dict.fromkeys(people, 1)


def test_nothing_is_sent_before_start_and_after_stop(campaigns: Campaigns, stage: Stage) -> None:
    people = stage.opt_in(1)
    bounds = {"start": (MIDNIGHT - 4 * DAY).isoformat(), "stop": (MIDNIGHT - 3 * DAY).isoformat()}
    campaigns.write("spring", if_late="send", **bounds)
    runs = campaigns.backfill("spring", *FIVE)
    assert [run.state for run in runs] == ["success"] * 5
    assert states(stage) == {key_of(4): "finished"}
    assert stage.seen() == dict.fromkeys(people, 1)
    stopped = stage.sql("SELECT detail ->> 'file' FROM otn.audit WHERE action = 'stopped by file'")
    assert stopped == [("spring.yaml",)] * 4


def test_people_of_some_days_before_and_by_hand(campaigns: Campaigns, stage: Stage) -> None:
    people = opted_in_daily(stage)
    campaigns.write("spring", if_late="send", audience={"opted_in": {"days_before": 3}})
    by_hand = campaigns.trigger("spring")  # without a date: the last whole interval
    assert by_hand.state == "success", by_hand
    assert stage.seen() == dict.fromkeys(people[4], 1)
    assert states(stage) == {key_of(1): "finished"}
    assert campaigns.trigger("spring", at=MIDNIGHT + timedelta(hours=1)).tasks["plan"] == "skipped"
    assert stage.seen() == dict.fromkeys(people[4], 1)


def test_one_moment_is_one_campaign_that_an_edit_moves_or_ends(
    campaigns: Campaigns, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk.exceptions import AirflowRescheduleException

    from otn.orchestration import campaign_run

    people = stage.opt_in(2)
    at = {"timezone": "Europe/Berlin", "at": (MIDNIGHT + 2 * DAY).isoformat()}
    path = campaigns.write("spring", schedule=at, start=None)
    dag = campaigns.dag("spring")
    assert dag.timetable.__class__.__name__ == "OnceTimetable"
    campaign = stage.open("spring", send_at=MIDNIGHT + 2 * DAY)
    context = {
        "dag_run": type("Run", (), {"dag_id": "otn_campaign_spring", "run_id": "r", "triggering_user_name": None})
    }

    campaigns.write("spring", schedule=at | {"at": (MIDNIGHT - DAY).isoformat()}, start=None, if_late="send")
    campaign_run.follow_file(context, campaign)
    assert stage.sql("SELECT send_at FROM otn.campaign") == [(MIDNIGHT - DAY,)]
    path.write_text("topic: [")
    campaign_run.follow_file(context, campaign)
    assert states(stage) == {"spring": "scheduled"}  # what waits was agreed on
    campaigns.write("spring", schedule=at | {"at": (MIDNIGHT - DAY).isoformat()}, start=None, if_late="send")
    run = campaigns.trigger("spring")
    assert run.state == "success", run
    assert stage.seen() == dict.fromkeys(people, 1)
    path.unlink()
    campaign_run.follow_file(context, campaign)
    assert states(stage) == {"spring": "finished"}
    waiting = stage.open("spring/later", send_at=MIDNIGHT + DAY)
    with pytest.raises(AirflowRescheduleException):  # held: what was cancelled could not be taken back
        campaign_run.follow_file(context, waiting)
    assert states(stage)["spring/later"] == "scheduled"


def test_a_conf_is_refused_and_a_broken_file_says_where(
    campaigns: Campaigns, stage: Stage, said: Callable[[], str]
) -> None:
    campaigns.write("spring", topic=5)
    run = campaigns.trigger("spring")
    assert run.tasks["validate"] == "failed"
    assert "spring.yaml, line" in said()
    campaigns.write("spring")
    (refused,) = campaigns.backfill("spring", FIVE[0], FIVE[0], conf={"text": "Other"})
    assert refused.state == "failed"
    assert "The param 'text' is not taken" in said()
    assert states(stage) == {}


def test_a_file_appears_as_a_dag_that_airflow_schedules(campaigns: Campaigns) -> None:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session

    campaigns.write("spring")
    campaigns.write("broken", topic=None)
    campaigns.dag("spring")
    with create_session() as session:
        rows = {name: session.get(DagModel, f"otn_campaign_{name}") for name in ("spring", "broken")}
        due = rows["spring"]
        assert (due.next_dagrun, due.next_dagrun_create_after) == (MIDNIGHT - DAY, MIDNIGHT)
        assert not due.has_import_errors
        assert rows["broken"].next_dagrun_create_after is None
    (said,) = DagBag(dag_folder=FILE.with_name("otn_campaigns_check.py")).import_errors.values()
    assert "broken.yaml, line 1, topic: The topic is missing" in said


EXAMPLE = (ROOT / "campaigns" / "_example.yaml").read_text(encoding="utf-8")


def test_five_hundred_files_with_a_broken_one_among_them(campaigns: Campaigns, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(500):
        topic = "['no text']" if n == 77 else "restock"
        (campaigns.folder / f"c{n}.yaml").write_text(EXAMPLE.replace("topic: restock", f"topic: {topic}"))
    started = time.process_time()
    bag = campaigns.bag()
    all_of_them = time.process_time() - started
    print(f"500 files: {all_of_them:.2f} s of CPU")
    assert (len(bag.dags), bag.import_errors) == (500, {})
    assert [dag.dag_id for dag in bag.dags.values() if "broken file" in dag.tags] == ["otn_campaign_c77"]
    with pytest.raises(CampaignFileError, match=r"^c77\.yaml, line 5, topic: topic is \['no text'\]"):
        check_folder(campaigns.folder)
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "otn_campaign_c77")
    started = time.process_time()
    assert list(campaigns.bag().dags) == ["otn_campaign_c77"]
    assert (time.process_time() - started) * 10 < all_of_them  # a task process pays for its own file
