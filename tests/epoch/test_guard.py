"""The guard before each call: which databases may send, and what becomes of those that may not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from otn.asking import sending
from otn.campaign import control, plan
from otn.database import DatabaseError, queries, transaction
from otn.epoch import confirming, guard
from otn.epoch import file as files
from otn.epoch.confirming import CallsAreMissingError, NothingToConfirmError
from otn.epoch.file import VARIABLE, EpochFile, EpochFileError, NumberTakenError
from otn.epoch.guard import SendingHaltedError
from otn.errors import UsageError
from otn.pace import Pace
from otn.settings import ROOT
from otn.watch import epoch
from tests.awaiting import eventually
from tests.campaign.stage import QUICK


def state(engine, environ=None):
    with transaction(engine) as connection:
        return guard.state(connection, environ)


def level(engine):
    with transaction(engine) as connection:
        return epoch.finding(connection).level


def test_a_fresh_database_begins_by_itself_and_counts_claims_not_people(stage, file):
    assert (level(stage.engine), state(stage.engine).filed_number) == ("ok", None)
    people = stage.opt_in(30)
    campaign = stage.planned()
    planned = state(stage.engine).number
    stage.send(campaign, limits=replace(QUICK, slice_rows=10))
    assert sum(stage.seen().values()) == len(people)
    now = state(stage.engine)
    assert (now.number, now.filed_number, now.halted) == (planned + 3, planned + 3, None)
    assert file.read().gaps == ()
    with pytest.raises(NothingToConfirmError):
        confirming.look(stage.engine)


def test_without_a_file_the_place_of_the_database_is_what_tells(stage):
    stage.opt_in(2)
    campaign = stage.planned()
    stage.send(campaign)
    assert level(stage.engine) == "warn"
    assert sum(stage.seen().values()) == 2
    stage.sql("""UPDATE otn.epoch SET identity = identity || '{"server": "1"}'""")
    with pytest.raises(SendingHaltedError, match="it is on another server"):
        guard.check(stage.engine)


def test_a_process_that_does_not_know_the_file_sends_nothing_and_halts_nobody(stage, file, monkeypatch):
    stage.opt_in(2)
    campaign = stage.planned()
    with monkeypatch.context() as other:
        other.delenv(VARIABLE)
        assert level(stage.engine) == "alarm"
        with pytest.raises(EpochFileError, match="Set OTN_EPOCH_FILE"):
            stage.send(campaign)
    assert not stage.seen()
    assert stage.run(campaign)["sent"] == 2


@pytest.mark.parametrize(
    ("name", "said"), [("server", "another server"), ("timeline", "promoted"), ("database", "copy"), ("tables", "dump")]
)
def test_another_place_halts_everything(stage, file, name, said):
    stage.opt_in(3)
    campaign = stage.planned()
    stage.sql(f"""UPDATE otn.epoch SET identity = identity || '{{"{name}": "9"}}'""")
    assert level(stage.engine) == "alarm"
    result = stage.send(campaign)
    assert (result.state, result.done, stage.seen()) == ("halted", False, {})
    figures = stage.report(campaign)
    assert said in figures["halt_reason"]
    assert figures["waiting"] == 3
    for refused in (
        lambda: control.resume(stage.engine, campaign, actor="test"),
        stage.open,
        lambda: plan.plan(stage.engine, stage.open("summer"), messages_per_second=None),
    ):
        with pytest.raises(SendingHaltedError, match="sending confirm"):
            refused()
    assert confirming.look(stage.engine, nothing_lost=True).recipients == 0
    confirming.confirm(stage.engine, actor="test", reason="moved", nothing_lost=True)
    control.resume(stage.engine, campaign, actor="test")
    assert stage.run(campaign)["sent"] == 3
    assert level(stage.engine) == "ok"
    assert stage.sql("SELECT actor FROM otn.audit WHERE action = 'sending confirmed'") == [("test",)]


def test_what_a_server_keeps_to_itself_is_not_compared(stage, file):
    guard.check(stage.engine)
    stage.sql("""UPDATE otn.epoch SET identity = identity || '{"server": null, "timeline": null}'""")
    guard.check(stage.engine)
    assert state(stage.engine).halted is None


def test_a_file_that_was_lost_or_overwritten_halts(stage, file):
    guard.check(stage.engine)
    kept = file.path.read_bytes()
    for spoil, said in (
        (file.path.unlink, "was lost"),
        (lambda: file.path.write_bytes(b""), "was lost"),
        (lambda: file.path.write_bytes(b"?"), "something else"),
    ):
        spoil()
        with pytest.raises(SendingHaltedError, match=said):
            guard.check(stage.engine)
        file.path.write_bytes(kept)  # too late: a person has to look
        with pytest.raises(SendingHaltedError, match=said):
            guard.check(stage.engine)
        spoil()
        confirming.confirm(stage.engine, actor="test", reason="put back", nothing_lost=True)
        guard.check(stage.engine)
        kept = file.path.read_bytes()


def test_calls_that_are_missing_cannot_be_talked_away(stage, file):
    guard.check(stage.engine)
    stage.sql("UPDATE otn.epoch SET number = 0")
    with pytest.raises(SendingHaltedError, match="stands at claim 0, and calls were made up to claim 1"):
        guard.check(stage.engine)
    with pytest.raises(CallsAreMissingError, match="1 claims"):
        confirming.confirm(stage.engine, actor="test", reason="x", nothing_lost=True)
    assert state(stage.engine).halted
    assert confirming.confirm(stage.engine, actor="test", reason="x").missing == 1
    guard.check(stage.engine)


def test_a_disk_that_takes_nothing_lets_nobody_be_called(stage, file, make_desk, monkeypatch):
    stage.opt_in(3)
    campaign = stage.planned()
    desk = make_desk(connection_id="second")
    answer = desk.answer(*desk.people(1))

    def fails(*_given: object) -> None:
        raise OSError(30, os.strerror(30))

    with monkeypatch.context() as broken:
        broken.setattr(files, "_write", fails)
        for send in (lambda: stage.send(campaign), desk.send):
            with pytest.raises(EpochFileError, match="Read-only file system"):
                send()
    assert not stage.seen()
    assert not desk.seen()
    assert stage.report(campaign)["waiting"] == 3
    assert (desk.row(answer).state, desk.row(answer).attempts) == ("waiting", 0)
    stage.sql("UPDATE otn.recipient SET not_before = NULL")
    assert stage.run(campaign)["sent"] == 3


def test_a_database_that_cannot_be_confirmed_in_the_file_stays_halted(stage, file, monkeypatch):
    guard.check(stage.engine)
    guard.halt(stage.engine, "it was restored.")
    monkeypatch.setattr(files, "_write", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(EpochFileError, match="No space"):
        confirming.confirm(stage.engine, actor="test", reason="x")
    assert state(stage.engine).halted == "it was restored."


def test_a_sender_killed_between_its_commit_and_the_file_is_no_restored_database(stage, file):
    guard.check(stage.engine)
    code = (
        "import os, sys; from otn.database import make_engine; from otn.epoch import guard\n"
        "with guard.turn(make_engine(sys.argv[1])): pass\n"
        "os.kill(os.getpid(), 9)"
    )
    url = stage.engine.url.render_as_string(hide_password=False)
    environ = os.environ | {"PYTHONPATH": f"{ROOT / 'plugins'}"}
    killed = subprocess.run([sys.executable, "-c", code, url], env=environ, timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (state(stage.engine).number, state(stage.engine).filed_number) == (2, 1)
    guard.check(stage.engine)
    assert (file.read().number, file.read().gaps) == (3, (2,))


def test_senders_of_many_threads_pass_each_other(stage, file):
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda _: guard.check(stage.engine), range(48)))
    assert (state(stage.engine).number, file.read().number, file.read().gaps) == (48, 48, ())


@pytest.mark.parametrize("of_a_person", [False, True])
def test_a_claim_between_the_two_looks_is_no_restored_database(stage, file, monkeypatch, of_a_person):
    guard.check(stage.engine)
    read, claims = EpochFile.read, ["before", "after"]

    def claim():
        with monkeypatch.context() as itself:
            itself.setattr(EpochFile, "read", read)
            guard.check(stage.engine)

    def overtaken(self):
        when = claims.pop(0) if claims else None
        if when == "before":
            claim()
        found = read(self)
        if when == "after":
            claim()
        return found

    monkeypatch.setattr(EpochFile, "read", overtaken)
    if of_a_person:
        with pytest.raises(NothingToConfirmError):
            confirming.look(stage.engine)
    else:
        assert state(stage.engine).halted is None
    assert not claims


def test_permits_are_given_back_where_nothing_can_be_claimed(stage, file, make_desk, monkeypatch):
    stage.opt_in(3)
    campaign = stage.planned()
    desk = make_desk(connection_id="second")
    desk.answer(*desk.people(1))
    takes = []
    take = Pace.take
    monkeypatch.setattr(Pace, "take", lambda self, messages: takes.append(messages) or take(self, messages))
    monkeypatch.setattr(sending, "AWAY_S", (60.0, 60.0))
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(EpochFileError):
        stage.send(campaign)
    with sending.Sender(desk.engine, desk.client, desk.settings, desk.page_row) as sender:
        for _ in range(3):  # as the responder does, several times a second
            sender.dispatch(1)
            eventually(lambda: sender.resting, "the pass ends")
    assert len(takes) == 2
    assert stage.sql("SELECT sum(calls) FROM otn.call_count") == [(0,)]


def test_a_halt_that_cannot_be_written_leaves_nobody_claimed(stage, file, make_desk, monkeypatch):
    """The sender slept through a restore, and the database that it comes back to does not take the halt yet."""
    desk = make_desk(connection_id="second")
    answer = desk.answer(*desk.people(1))
    guard.check(stage.engine)
    monkeypatch.setattr(guard, "HALT_PAUSES_S", (0.0, 0.0))
    monkeypatch.setattr(EpochFile, "call", lambda *_: (_ for _ in ()).throw(NumberTakenError))
    broken = lambda connection, **_: connection.cursor().execute("SELECT 1/0")  # noqa: E731
    monkeypatch.setattr(queries("epoch"), "halt", broken)
    with pytest.raises(EpochFileError, match="same number"):
        desk.send()
    assert (desk.row(answer).state, desk.row(answer).reason) == ("waiting", "not_called")
    assert not desk.seen()


def test_a_confirmation_that_crashed_can_be_made_again(stage, file, monkeypatch):
    guard.check(stage.engine)
    guard.halt(stage.engine, "it was moved.")
    adopt = EpochFile.adopt

    def crashes(self, number, identity):
        adopt(self, number, identity)
        raise InterruptedError

    for _ in range(2):
        with monkeypatch.context() as crash:
            crash.setattr(EpochFile, "adopt", crashes)
            with pytest.raises(InterruptedError):
                confirming.confirm(stage.engine, actor="test", reason="moved", nothing_lost=True)
        assert state(stage.engine).halted == "it was moved."
    assert confirming.confirm(stage.engine, actor="test", reason="moved", nothing_lost=True).missing == 0
    guard.check(stage.engine)


def test_a_confirmation_that_crashed_hides_no_missing_call(stage, file, monkeypatch):
    for _ in range(3):
        guard.check(stage.engine)
    stage.sql("UPDATE otn.epoch SET number = 1")
    file.adopt(4, file.read().identity)  # where a confirmation ended
    with pytest.raises(CallsAreMissingError, match="2 claims"):
        confirming.look(stage.engine, nothing_lost=True)
    stage.sql("UPDATE otn.epoch SET number = 3")
    assert "another database was confirmed" in state(stage.engine).halted
    assert confirming.look(stage.engine, nothing_lost=True).missing == 0


def test_a_confirmation_that_met_a_claim_in_a_circle_is_made_again(stage, file, monkeypatch):
    guard.check(stage.engine)
    guard.halt(stage.engine, "it was restored.")
    book, tries = queries("epoch"), []
    doubt = book.doubt_recipients

    def in_a_circle(connection):
        tries.append(1)
        if len(tries) != confirming.MOST_TRIES + 2:
            connection.cursor().execute("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40P01'; END $$")
        return doubt(connection)

    monkeypatch.setattr(book, "doubt_recipients", in_a_circle)
    with pytest.raises(DatabaseError, match="40P01"):
        confirming.confirm(stage.engine, actor="test", reason="disk broke")
    assert len(tries) == confirming.MOST_TRIES
    assert state(stage.engine).halted
    confirming.confirm(stage.engine, actor="test", reason="disk broke")
    assert state(stage.engine).halted is None
    assert stage.sql("SELECT count(*) FROM otn.audit WHERE action = 'sending confirmed'") == [(1,)]


def test_a_sender_that_slept_through_a_restore_does_not_call(stage, file):
    """Between its claim and its call the database went back to the moment before that claim."""
    guard.check(stage.engine)
    with guard.turn(stage.engine) as asleep:
        pass
    stage.sql("UPDATE otn.epoch SET number = 1")
    guard.check(stage.engine)  # the restored database: nothing to be noticed yet, as nobody had called
    with pytest.raises(SendingHaltedError, match="same number"):
        asleep.keep()
    with pytest.raises(SendingHaltedError):
        guard.check(stage.engine)


def test_a_sender_that_wakes_first_bars_the_restored_database(stage, file):
    guard.check(stage.engine)
    with guard.turn(stage.engine) as asleep:
        pass
    stage.sql("UPDATE otn.epoch SET number = 1")
    asleep.keep()
    with pytest.raises(SendingHaltedError, match="restored from a backup"):
        guard.check(stage.engine)
    assert state(stage.engine).number == 1


def test_a_claim_that_is_refused_leaves_no_trace(stage, file):
    stage.opt_in(2)
    campaign = stage.planned()
    stage.sql("UPDATE otn.epoch SET number = 0")
    stage.send(campaign)
    assert stage.sql("SELECT count(*) FROM otn.attempt") == [(0,)]
    assert stage.sql("SELECT DISTINCT state::text, attempts FROM otn.recipient") == [("waiting", 0)]


def test_a_home_that_was_copied_halts(stage, tmp_path, monkeypatch):
    home = tmp_path / "home"
    monkeypatch.setenv("OTN_HOME", str(home))
    guard.check(stage.engine)
    guard.check(stage.engine)
    copy = home.rename(tmp_path / "was")
    home.mkdir()
    (home / "epoch.json").write_bytes((copy / "epoch.json").read_bytes())
    with pytest.raises(SendingHaltedError, match="was copied to where it is"):
        guard.check(stage.engine)
    confirming.confirm(stage.engine, actor="test", reason="moved", nothing_lost=True)
    guard.check(stage.engine)


def test_nothing_is_sent_when_the_person_has_no_reason_to_confirm(stage, file):
    guard.check(stage.engine)
    for attempt in (confirming.look, lambda engine: confirming.confirm(engine, actor="x", reason="x")):
        with pytest.raises(UsageError, match="nothing to confirm"):
            attempt(stage.engine)


def test_the_audit_of_a_confirmation_says_what_it_did(stage, file):
    stage.opt_in(2)
    stage.planned()
    guard.halt(stage.engine, "it was restored.")
    confirming.confirm(stage.engine, actor="ann", reason="disk broke")
    (detail,) = stage.sql("SELECT detail FROM otn.audit WHERE action = 'sending confirmed'")[0]
    assert (detail["said"], detail["recipients"], detail["halted"]) == ("disk broke", 2, ["messenger_default/spring"])
    assert json.dumps(detail).count("it was restored.") == 1
    with transaction(stage.engine) as connection:
        assert queries("epoch").halted_reason(connection) is None
    assert Path(file.path).exists()
