"""Last night's dump, restored: nothing is sent until a person confirms, and then nobody sees anything twice."""

from __future__ import annotations

import uuid
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from otn.campaign import control, plan
from otn.campaign.report import problems
from otn.database import Engine, make_engine, transaction
from otn.epoch import confirming, guard
from otn.epoch.file import VARIABLE
from otn.epoch.guard import SendingHaltedError
from otn.messenger.client import SendRequest
from otn.watch import epoch
from tests.campaign.stage import QUICK
from tests.consent.test_ways_back import dumped, plain, restored, run_program

FEW = replace(QUICK, slice_rows=5)


def put_back(engine: Engine, dump: Path) -> None:
    """As docs/operations.md has it: into the same database."""
    with closing(psycopg2.connect(plain(engine.url))) as connection:
        connection.autocommit = True
        connection.cursor().execute("DROP SCHEMA otn CASCADE")
    run_program("pg_restore", "--single-transaction", f"--dbname={plain(engine.url)}", str(dump))


def alarm(engine: Engine) -> str:
    with transaction(engine) as connection:
        found = epoch.finding(connection)
    assert found.level == "alarm"
    return found.sentence


@pytest.mark.parametrize("kept", ["with a file", "without a file"])
def test_a_campaign_restored_in_the_middle_ends_with_nobody_seeing_it_twice(stage, file, monkeypatch, tmp_path, kept):
    if kept == "without a file":
        monkeypatch.delenv(VARIABLE)
    people = stage.opt_in(30)
    campaign = stage.planned(canary=10)
    stage.send(campaign, 0)
    dump = dumped(stage.engine, tmp_path / "night.dump")
    stage.sql("UPDATE otn.recipient SET chunk = 2 WHERE chunk = 1 AND mod(subscriber_id, 2) = 0")
    stage.send(campaign, 2)
    before = stage.seen()
    assert 10 < sum(before.values()) < 30

    put_back(stage.engine, dump)
    assert stage.report(campaign)["sent"] == 10
    assert "its tables were made anew" in alarm(stage.engine) or "restored from a backup" in alarm(stage.engine)
    result = stage.send(campaign)
    assert (result.state, stage.seen()) == ("halted", before)
    assert any("sending confirm" in one for one in problems(stage.report(campaign)))
    with pytest.raises(SendingHaltedError):
        stage.open(canary=10)
    assert stage.reconcile(campaign).sent == 0
    assert stage.seen() == before

    look = confirming.look(stage.engine)
    done = confirming.confirm(stage.engine, actor="test", reason="disk broke")
    assert (look, done.recipients, done.messages) == (done, 20, 0)
    assert stage.sql(
        "SELECT state::text, reason, unanswered, count(*) FROM otn.recipient GROUP BY 1, 2, 3 ORDER BY 1"
    ) == [
        ("sent", None, 0, 10),
        ("unknown", "restored", 1, 20),
    ]
    assert stage.report(campaign)["state"] == "halted"
    stage.open(canary=10)
    figures = stage.run(campaign)
    assert (figures["state"], figures["sent"], figures["sent_inferred"]) == ("finished", 30, sum(before.values()) - 10)
    assert (figures["spent_elsewhere"], problems(figures)) == (0, [])
    assert stage.seen() == dict.fromkeys(people, 1)
    stage.promise_holds(campaign)


def test_a_message_inside_the_window_is_never_sent_again(stage, file, make_desk, tmp_path):
    desk = make_desk(connection_id="second")
    psids = desk.people(3)
    old = [desk.answer(psid) for psid in psids[:2]]
    guard.check(desk.engine)
    dump = dumped(desk.engine, tmp_path / "night.dump")
    assert desk.send().states == {"sent": 2}

    put_back(desk.engine, dump)
    assert desk.send().states == {}
    assert "Nothing is sent" in alarm(desk.engine)
    new = desk.answer(psids[2])
    assert desk.send().states == {}
    assert desk.seen() == dict.fromkeys(psids[:2], 1)
    late = desk.answer(psids[0], ago="1 hour")  # answered before the restore, and taken in again after it

    assert confirming.confirm(desk.engine, actor="test", reason="disk broke").messages == 3
    later = desk.answer(psids[1], ago="1 hour")
    assert desk.send().states == {"sent": 1, "skipped": 1}
    assert [(desk.row(one).state, desk.row(one).reason) for one in (*old, late, new, later)] == [
        ("unknown", "restored"),
        ("unknown", "restored"),
        ("unknown", "restored"),
        ("sent", None),
        ("skipped", "restored"),
    ]
    assert desk.seen() == dict.fromkeys(psids, 1)


def test_a_backup_of_a_halted_database_takes_what_it_had_waiting_for_perhaps_sent(stage, file, make_desk, tmp_path):
    desk = make_desk(connection_id="second")
    psids = desk.people(2)
    guard.check(desk.engine)
    guard.halt(desk.engine, "it was moved.", file)
    desk.answer(psids[0])
    dump = dumped(desk.engine, tmp_path / "halted.dump")
    confirming.confirm(desk.engine, actor="test", reason="moved", nothing_lost=True)
    assert desk.send().states == {"sent": 1}

    put_back(desk.engine, dump)
    desk.answer(psids[1])
    look = confirming.look(desk.engine)
    assert (look, look.messages) == (confirming.confirm(desk.engine, actor="test", reason="disk broke"), 2)
    assert desk.send().states == {}
    assert desk.seen() == {psids[0]: 1}


def test_tokens_that_a_forgotten_campaign_spent_raise_no_alarm(stage, file, tmp_path):
    stage.opt_in(6)
    guard.check(stage.engine)
    dump = dumped(stage.engine, tmp_path / "night.dump")
    stage.run(stage.planned("forgotten", max_recipients=4))
    put_back(stage.engine, dump)
    with pytest.raises(SendingHaltedError):
        plan.plan(stage.engine, stage.open("summer"), messages_per_second=None)
    confirming.confirm(stage.engine, actor="test", reason="disk broke")
    fresh = stage.opt_in(1)
    summer = stage.planned("summer", max_refused=1.0)
    figures = stage.run(summer)
    assert (figures["sent"], figures["refused"], figures["spent_elsewhere"]) == (3, 4, 0)
    assert stage.sql("SELECT DISTINCT reason FROM otn.recipient WHERE state = 'refused'") == [("spent_before_restore",)]
    assert max(stage.seen().values()) == 1
    assert stage.seen()[fresh[0]] == 1


def test_a_token_spent_elsewhere_after_the_restore_is_still_an_alarm(stage, file):
    guard.check(stage.engine)
    guard.halt(stage.engine, "it was restored.")
    confirming.confirm(stage.engine, actor="test", reason="disk broke")
    stage.opt_in(2)
    campaign = stage.planned()
    token = stage.sql("SELECT token_encrypted FROM otn.token ORDER BY id LIMIT 1")[0][0]
    stage.client.send(
        SendRequest({"one_time_notif_token": stage.keyring.decrypt(bytes(token), "token").decode()}, {"text": "mine"})
    )
    assert stage.run(campaign)["spent_elsewhere"] == 1


@pytest.mark.parametrize("how", ["a dump elsewhere", "a template"])
def test_a_clone_sends_nothing_while_the_true_one_goes_on(stage, file, tmp_path, monkeypatch, how):
    people = stage.opt_in(8)
    campaign = stage.planned(canary=4)
    stage.send(campaign, 0)
    if how == "a template":
        name = f"clone_{uuid.uuid4().hex}"
        stage.engine.dispose()
        with closing(psycopg2.connect(plain(stage.engine.url.set(database="postgres")))) as connection:
            connection.autocommit = True
            connection.cursor().execute(f'CREATE DATABASE "{name}" TEMPLATE "{stage.engine.url.database}"')
        clone = make_engine(stage.engine.url.set(database=name).render_as_string(hide_password=False))
        sends_nothing(stage, clone, campaign)
        clone.dispose()
    else:
        with restored(stage.engine, dumped(stage.engine, tmp_path / "night.dump")) as clone:
            sends_nothing(stage, clone, campaign)
            with monkeypatch.context() as elsewhere:
                elsewhere.setenv(VARIABLE, str(tmp_path / "other" / "epoch.json"))
                sends_nothing(stage, clone, campaign)
    assert stage.run(campaign)["sent"] == 8
    assert stage.seen() == dict.fromkeys(people, 1)


def sends_nothing(stage: Any, clone: Engine, campaign: int) -> None:
    before = stage.seen()
    assert replace(stage, engine=clone).send(campaign).state == "halted"
    assert stage.seen() == before


def test_the_true_database_that_goes_on_beside_a_confirmed_clone_is_halted(stage, file, tmp_path):
    """Two databases, one file: whichever a person took for the true one is the only one that sends."""
    stage.opt_in(8)
    campaign = stage.planned(canary=4)
    stage.send(campaign, 0)
    with restored(stage.engine, dumped(stage.engine, tmp_path / "night.dump")) as clone:
        twin = replace(stage, engine=clone)
        assert twin.send(campaign).state == "halted"
        confirming.confirm(clone, actor="test", reason="moved", nothing_lost=True)
        assert stage.send(campaign).state == "halted"
        control.resume(clone, campaign, actor="test")
        assert twin.run(campaign)["sent"] == 8
    assert max(Counter(stage.seen()).values()) == 1


def test_a_dump_from_before_the_first_claim_is_known_too(stage, file, tmp_path):
    stage.opt_in(3)
    dump = dumped(stage.engine, tmp_path / "first.dump")
    stage.run(stage.planned())
    put_back(stage.engine, dump)
    assert "restored from a backup" in alarm(stage.engine)
    with pytest.raises(SendingHaltedError):
        stage.planned()
