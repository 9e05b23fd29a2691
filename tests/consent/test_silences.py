"""Whoever asked for silence is left alone by a restored backup too; and whoever took that back is not."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from otn.consent import objection, silence, topics
from otn.consent.adoption import adopt
from otn.consent.pages import Page
from otn.consent.silence import Change, SilenceJournal, silence_journal, write_down
from otn.consent.topics import TopicRaceError
from otn.crypto import Keyring, new_key, read_keyring
from otn.database import queries, transaction
from otn.epoch import confirming, guard
from otn.epoch.guard import SendingHaltedError
from otn.intake.import_lines import ImportFile
from otn.intake.importing import import_file
from otn.intake.ingest import reingest_day
from otn.journal import JournalError
from otn.privacy.silences import Returned, _complete, apply_silences, count_behind
from tests.clean import database, emptied_url
from tests.consent.inbox import NOW, PAGE, Inbox, body, message, optin
from tests.consent.leaving import campaign, crash, journal, leave
from tests.consent.test_ways_back import dumped, restored

__all__ = ["database", "emptied_url", "journal", "leave"]  # a database for all of them; somebody who leaves

HOUR = timedelta(hours=1)
NOTHING = Returned()


@pytest.fixture
def silences(inbox: Inbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SilenceJournal:
    """The journal of this process, which the database has followed from the beginning."""
    monkeypatch.setenv("OTN_ERASURE_JOURNAL", str(tmp_path / "erasures.jsonl"))
    made = silence_journal(keyring=inbox.keyring)
    assert made is not None
    assert apply(inbox) == NOTHING
    return made


def apply(inbox: Inbox, **options: Any) -> Returned:
    return apply_silences(inbox.database, inbox.keyring, **options)


def standing(inbox: Inbox) -> set[tuple[str, str | None, str, Any]]:
    return {
        tuple(row)
        for row in inbox.rows(
            "SELECT s.psid, t.payload, x.reason, x.since FROM otn.suppression x"
            " JOIN otn.subscriber s ON s.id = x.subscriber_id LEFT JOIN otn.topic t ON t.id = x.topic_id"
        )
    }


def silent(inbox: Inbox) -> set[str]:
    return {psid for psid, *_ in standing(inbox)}


def say(inbox: Inbox, text: str, *psids: str, at: Any = NOW) -> None:
    inbox.put(body(*(message(text, psid=psid, at=at) for psid in psids)))
    inbox.ingest()


def object_to(inbox: Inbox, page: Page, psid: str, topic: str | None = None) -> None:
    with transaction(inbox.database) as conn:
        of = topics.find(conn, page, topic) if topic else None
        objection.suppress(conn, page, psid, topic=of, actor="test", journal=silence_journal(keyring=inbox.keyring))


def release(inbox: Inbox, page: Page, psid: str) -> None:
    with transaction(inbox.database) as conn:
        objection.release(conn, page, psid, topic=None, actor="test", journal=silence_journal(keyring=inbox.keyring))


def behind(inbox: Inbox) -> int:
    return count_behind(inbox.database, inbox.keyring)


def excluded(inbox: Inbox, campaign_id: int) -> dict[str, str]:
    rows = inbox.rows(
        "SELECT s.psid, x.reason FROM otn.exclusion x JOIN otn.subscriber s ON s.id = x.subscriber_id"
        " WHERE x.campaign_id = %s",
        campaign_id,
    )
    return {row.psid: row.reason for row in rows}


def imported(inbox: Inbox, page: Page, folder: Path, *lines: str) -> None:
    path = folder / f"{len(lines)}.csv"
    path.write_text("\n".join(["psid,token,payload,opted_in_at,source", *lines]))
    import_file(inbox.database, inbox.keyring, page, ImportFile.at(path), actor="test")


def test_last_nights_dump_knows_who_asked_for_silence_since(inbox, page, silences, tmp_path):
    everybody = ("stopped", "back", "both", "objected", "released", "of-topic", "again", "untouched")
    inbox.put(body(*(optin(f"token of {psid}", psid=psid, at=NOW - 9 * HOUR) for psid in everybody)))
    say(inbox, "stop", "back", at=NOW - 8 * HOUR)
    object_to(inbox, page, "released")
    guard.check(inbox.database)
    dump = dumped(inbox.database, tmp_path / "night.dump")

    say(inbox, "stop", "stopped", "both", "again", at=NOW - 3 * HOUR)
    say(inbox, "start", "back", "both", at=NOW - 2 * HOUR)
    say(inbox, "stop sale", "of-topic", at=NOW - 2 * HOUR)
    inbox.put(body(optin("a later one", psid="again", at=NOW - HOUR)))
    inbox.put(body(optin("x", "shoes", psid="newcomer", at=NOW - 5 * HOUR)))
    say(inbox, "stop", "newcomer", at=NOW - 4 * HOUR)
    say(inbox, "stop shoes", "untouched", at=NOW - 4 * HOUR)
    object_to(inbox, page, "objected")
    object_to(inbox, page, "newcomer", "shoes")
    release(inbox, page, "released")
    true = standing(inbox)
    assert len(true) == 7
    assert behind(inbox) == 0
    assert apply(inbox) == NOTHING

    for turn in range(2):  # the same backup, restored twice
        with restored(inbox.database, dump) as engine:
            night = Inbox(engine, inbox.keyring)
            assert silent(night) == {"back", "released"}
            assert behind(night) == 10
            assert apply(night) == Returned(silenced=5, lifted=2)
            assert apply(night) == NOTHING
            assert standing(night) == {one for one in true if one[0] != "newcomer"}
            assert apply(night, thorough=True) == NOTHING
            with pytest.raises(SendingHaltedError):
                campaign(night, page)
            confirming.confirm(night.database, actor="test", reason="disk broke")
            spring = campaign(night, page, f"spring {turn}")
            assert excluded(night, spring) == dict.fromkeys(("stopped", "objected", "of-topic", "again"), "suppressed")
            # They come back by another way, with a consent from before their stop.
            imported(night, page, tmp_path, f"newcomer,x,shoes,{NOW - 5 * HOUR},web")
            assert apply(night) == Returned(silenced=2)
            assert standing(night) == true
            # And a later Notify Me is a new consent, whatever was brought back.
            night.put(body(optin("a new one", psid="stopped"), optin("another", psid="objected")))
            night.ingest()
            assert excluded(night, campaign(night, page, "summer")).keys() & {"stopped", "objected"} == {"objected"}


def forget(inbox: Inbox) -> Inbox:
    """As a backup from before the first silence."""
    inbox.rows("DELETE FROM otn.suppression")
    inbox.rows("UPDATE otn.silence_mark SET bytes = 0, tail = sha256('')")
    inbox.rows("DELETE FROM otn.event")
    return inbox


def test_who_says_start_after_the_restore_and_before_the_look_is_not_silenced(inbox, page, silences):
    say(inbox, "stop", "1", "2", at=NOW - 2 * HOUR)
    night = forget(inbox)
    say(night, "start", "1", at=NOW - HOUR)
    say(night, "start", "2", at=NOW - 3 * HOUR)  # it was said before the stop, and came late
    assert apply(night) == Returned(silenced=1)
    assert silent(night) == {"2"}
    assert ended(inbox, silences) == {"1"}  # the next restored backup has to know that too


def ended(inbox: Inbox, journal: SilenceJournal) -> set[str]:
    """Whose silence the journal says is lifted."""
    lifted = {one.psid_hash for one in journal.read().silences.values() if one.lifted}
    return {psid for psid in map(str, range(1, 10)) if inbox.keyring.digest("psid", PAGE, psid) in lifted}


def test_a_silence_that_went_to_another_topic_comes_back_there_too(inbox, page, silences):
    with transaction(inbox.database) as conn:
        topics.add(conn, page, "sale", title="Sale", payload="sale", actor="test")
    inbox.put(body(optin("a", "SALE", psid="1", at=NOW - 3 * HOUR), optin("b", "sale", psid="1", at=NOW - 3 * HOUR)))
    inbox.ingest()
    with transaction(inbox.database) as conn:
        objection.suppress(conn, page, "1", topic=topics.find(conn, page, "SALE"), actor="test", journal=silences)
        adopt(conn, page, "SALE", "sale", actor="test", journal=silences)
    true = standing(inbox)
    assert {payload for _, payload, *_ in true} == {"sale", "SALE"}
    assert apply(forget(inbox)) == Returned(silenced=2)
    assert standing(inbox) == true


def written_and_crashed(*given: Any, **options: Any) -> None:
    write_down(*given, **options)
    crash()


def test_what_was_written_without_a_commit_is_carried_out(inbox, page, silences, monkeypatch):
    say(inbox, "hi", "1", "2")
    object_to(inbox, page, "2")
    with monkeypatch.context() as broken:
        broken.setattr(objection, "write_down", written_and_crashed)
        for work, psid in ((object_to, "1"), (release, "2")):
            with pytest.raises(RuntimeError):
                work(inbox, page, psid)
    assert silent(inbox) == {"2"}
    assert behind(inbox) == 2
    assert apply(inbox) == Returned(silenced=1, lifted=1)
    assert silent(inbox) == {"1"}
    object_to(inbox, page, "2")
    assert behind(inbox) == 0


def test_a_crash_while_people_are_looked_for_starts_that_again(inbox, page, silences, monkeypatch):
    say(inbox, "hi", "1")
    object_to(inbox, page, "1")
    forget(inbox)
    with monkeypatch.context() as broken:
        broken.setattr("otn.privacy.silences._walk", crash)
        with pytest.raises(RuntimeError):
            apply(inbox)
    _complete(inbox.database, silences)  # somebody else pays a debt meanwhile
    assert ended(inbox, silences) == set()
    assert apply(inbox) == Returned(silenced=1)


def test_a_torn_line_is_passed_over_and_the_next_one_is_whole(inbox, page, silences):
    say(inbox, "stop", "1", "2")
    with silences.path.open("r+b") as file:
        file.truncate(silences.path.stat().st_size - 9)
    assert (len(silences.read().silences), silences.read().unreadable) == (1, 1)
    assert apply(inbox) == NOTHING  # the file is another one now: what it lacks is added
    assert (len(silences.read().silences), silences.read().unreadable) == (2, 1)
    say(inbox, "stop", "3")
    assert len(silences.read().silences) == 3
    assert silences.path.stat().st_mode & 0o777 == 0o600
    assert "2002" not in silences.path.read_text()


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        b'"x"',
        b"\xff\xfe",
        b'{"psid_hash": 1}',
        b'{"psid_hash": "00", "topic": null, "reason": "operator", "since": "2026-01-01T00:00:00Z", "lifted": false}',
        b'{"psid_hash": "%b", "topic": null, "reason": "mood", "since": "2026-01-01T00:00:00Z", "lifted": false}',
        b'{"psid_hash": "%b", "topic": null, "reason": "operator", "since": "2026-01-01", "lifted": false}',
        b'{"psid_hash": "%b", "topic": null, "reason": "operator", "since": "2026-01-01T00:00:00Z", "lifted": []}',
        b'{"psid_hash": "%b", "topic": 7, "reason": "operator", "since": "2026-01-01T00:00:00Z", "lifted": true}',
        b'{"psid_hash": "%b", "topic": "?", "reason": "operator", "since": "2026-01-01T00:00:00Z", "lifted": true}',
    ],
)
def test_a_line_that_is_none_is_counted(silences, line):
    silences.path.write_bytes(line.replace(b"%b", b"00" * 32) + b"\n")
    assert (silences.read().silences, silences.read().unreadable) == ({}, 1)


def test_a_topic_that_nobody_can_read_any_more_is_silence_about_everything(inbox, page, silences):
    inbox.put(body(optin("a", psid="1", at=NOW - HOUR)))
    inbox.ingest()
    for number, word in enumerate(("stop sale", "start sale", "stop sale")):
        say(inbox, word, "1", at=NOW + timedelta(seconds=number))
    keys = read_keyring({"OTN_ENCRYPTION_KEYS": new_key(), "OTN_HASH_KEY": new_key()})
    night = Inbox(forget(inbox).database, Keyring(keys.encryption_keys, inbox.keyring.hash_key))
    assert apply(night) == Returned(silenced=1)
    assert [payload for _, payload, *_ in standing(night)] == [None]


def test_many_who_write_at_once_lose_nothing_and_leave_nothing_behind(inbox, page, silences):
    psids = [str(n) for n in range(1, 41)]
    say(inbox, "hi", *psids)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda psid: object_to(inbox, page, psid), psids))
        list(threads.map(lambda psid: release(inbox, page, psid), psids[::2]))
    content = silences.read()
    assert (len(content.silences), content.unreadable) == (40, 0)
    assert sum(one.lifted for one in content.silences.values()) == 20
    assert behind(inbox) == 0


def test_silence_is_obeyed_while_the_journal_cannot_be_written(inbox, page, silences, monkeypatch):
    say(inbox, "stop", "1")
    with monkeypatch.context() as full:
        full.setattr(silence, "append_lines", no_space)
        say(inbox, "stop", "2")
        object_to(inbox, page, "1")
        with pytest.raises(JournalError, match="No space left"):
            silences.append([])
        assert apply(inbox) == NOTHING
        say(inbox, "stop", "3")
    assert silent(inbox) == {"1", "2", "3"}
    assert len(silences.read().silences) == 1
    monkeypatch.setattr("otn.privacy.silences._resting", {})  # a minute later
    assert apply(inbox) == NOTHING
    assert len(silences.read().silences) == 4
    size = silences.path.stat().st_size
    assert apply(inbox) == NOTHING
    assert silences.path.stat().st_size == size


def no_space(*_given: Any) -> None:
    raise OSError(28, os.strerror(28))


def test_a_journal_that_cannot_be_written_is_left_alone_for_a_while(inbox, page, silences, monkeypatch, caplog):
    monkeypatch.setattr(silence, "append_lines", no_space)
    say(inbox, "stop", "1")
    assert apply(inbox) == NOTHING
    caplog.clear()
    monkeypatch.setattr(SilenceJournal, "read", crash)
    monkeypatch.setattr("otn.privacy.silences._take_up", crash)
    assert apply(inbox) == NOTHING
    assert not caplog.records


def test_nobody_is_released_without_the_journal(inbox, page, silences, monkeypatch):
    say(inbox, "hi", "1")
    object_to(inbox, page, "1")
    with monkeypatch.context() as full:
        full.setattr(silence, "append_lines", no_space)
        with pytest.raises(JournalError, match="No space left"):
            release(inbox, page, "1")
    assert silent(inbox) == {"1"}
    assert inbox.value("SELECT count(*) FROM otn.audit WHERE action = 'released'") == 0
    release(inbox, page, "1")
    assert (silent(inbox), ended(inbox, silences)) == (set(), {"1"})


def test_a_start_while_the_journal_is_away_is_written_down_later(inbox, page, silences, monkeypatch, leave):
    say(inbox, "stop", "1", "2", "3", at=NOW - HOUR)
    leave("3")
    old = silence.Silence(inbox.keyring.digest("psid", PAGE, "8"), None, "stop_word", NOW - 9000 * HOUR, lifted=False)
    met_later = silence.Silence(inbox.keyring.digest("psid", PAGE, "9"), None, "operator", NOW, lifted=False)
    silences.append([old, met_later])
    assert apply(inbox) == NOTHING
    true = standing(inbox)
    with monkeypatch.context() as full:
        full.setattr(silence, "append_lines", no_space)
        say(inbox, "start", "1")
    assert apply(inbox) == NOTHING
    assert ended(inbox, silences) == {"1"}
    size = silences.path.stat().st_size
    assert apply(inbox, thorough=True) == NOTHING
    assert silences.path.stat().st_size == size
    assert {psid for psid, *_ in true} == {"1", "2"}
    # A backup from before that has the silence, and one from before the stop does not.
    inbox.rows(
        "INSERT INTO otn.suppression (subscriber_id, reason, since) SELECT id, 'stop_word', %s FROM otn.subscriber"
        " WHERE psid = '1'",
        NOW - HOUR,
    )
    inbox.rows("UPDATE otn.silence_mark SET bytes = 0, tail = DEFAULT")
    assert apply(inbox) == Returned(lifted=1)
    assert apply(forget(inbox)) == Returned(silenced=1)
    assert silent(inbox) == {"2"}


def test_a_line_without_a_commit_is_not_taken_for_one_that_was_lifted(inbox, page, silences, monkeypatch):
    """Somebody crashes behind the file while somebody else makes it whole."""
    say(inbox, "hi", "1")
    hashed = inbox.keyring.digest("psid", PAGE, "1")
    inbox.rows("UPDATE otn.silence_mark SET owed = true")
    silences.append([silence.Silence(hashed, None, "operator", NOW, lifted=False)])
    _complete(inbox.database, silences)
    assert ended(inbox, silences) == set()
    assert apply(inbox) == Returned(silenced=1)


def test_a_silence_that_commits_while_the_debt_is_paid_is_in_the_file_or_owed(inbox, page, silences):
    say(inbox, "hi", "1")
    inbox.rows("UPDATE otn.silence_mark SET owed = true")
    with ThreadPoolExecutor(1) as threads:
        with transaction(inbox.database) as conn:
            objection.suppress(conn, page, "1", topic=None, actor="test", journal=None)
            paid = threads.submit(apply, inbox)
            while not paid.done() and not inbox.value(WAITING):
                pass
        paid.result()
    apply(inbox)
    assert len(silences.read().silences) == 1


WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def test_a_line_in_another_file_than_the_one_that_is_followed_is_owed(inbox, page, silences, tmp_path, monkeypatch):
    say(inbox, "stop", "1")
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("OTN_ERASURE_JOURNAL", str(tmp_path / "other" / "erasures.jsonl"))
        say(inbox, "stop", "2")
    assert len(silences.read().silences) == 1
    assert apply(inbox) == NOTHING
    assert len(silences.read().silences) == 2


def test_the_journal_is_written_after_everything_else_of_a_slice(inbox, page, silences, monkeypatch):
    left: list[int] = []

    def written(conn: Any, *given: Any) -> None:
        with conn.cursor() as cursor:
            cursor.execute("SELECT count(*) AS left FROM otn.webhook_event WHERE ingested_at IS NULL")
            left.append(cursor.fetchone()[0])
        write_down(conn, *given)

    monkeypatch.setattr("otn.intake.ingest.write_down", written)
    say(inbox, "stop", "1")
    assert left == [0]


def test_topics_that_cannot_be_stored_are_an_error_and_the_lines_wait(inbox, page, silences, monkeypatch):
    inbox.put(body(optin("a", "SHOES", psid="1", at=NOW - 3 * HOUR)))
    inbox.ingest()
    say(inbox, "stop shoes", "1")
    forget(inbox)
    inbox.rows("UPDATE otn.topic SET payload = 'other', key = 'other' WHERE payload = 'SHOES'")
    with monkeypatch.context() as busy:
        busy.setattr("otn.privacy.silences.MEETING_ROUNDS", 0)
        with pytest.raises(TopicRaceError):
            apply(inbox)
    assert apply(inbox) == Returned(silenced=1)


def test_who_knows_no_journal_leaves_a_debt_that_the_next_one_pays(inbox, page, silences, monkeypatch):
    say(inbox, "hi", "1")
    with monkeypatch.context() as elsewhere:
        elsewhere.delenv("OTN_ERASURE_JOURNAL")
        assert silence_journal(keyring=inbox.keyring) is None
        say(inbox, "stop", "1")
        assert apply(inbox) == NOTHING
    assert silences.read().silences == {}
    apply(inbox)
    assert len(silences.read().silences) == 1


def test_a_journal_that_was_lost_or_is_new_here_is_made_whole(inbox, page, silences):
    say(inbox, "stop", "1")
    object_to(inbox, page, "1")
    silences.path.unlink()
    assert apply(inbox) == NOTHING
    assert len(silences.read().silences) == 2
    assert behind(inbox) == 0
    inbox.rows("UPDATE otn.silence_mark SET bytes = 0, tail = DEFAULT")  # as after an upgrade
    assert apply(inbox) == NOTHING
    assert (len(silences.read().silences), behind(inbox)) == (2, 0)


def test_nothing_is_read_while_the_journal_has_not_changed(inbox, page, silences, monkeypatch):
    say(inbox, "stop", "1")
    monkeypatch.setattr(SilenceJournal, "read", crash)
    assert apply(inbox) == NOTHING


def test_who_was_erased_is_not_waited_for(inbox, page, silences, leave: Callable[..., Any]):
    say(inbox, "stop", "1", "2")
    leave("1")
    assert silent(inbox) == {"2"}
    assert apply(forget(inbox)) == Returned(silenced=1)
    assert apply(inbox, thorough=True) == NOTHING
    assert inbox.value("SELECT count(*) FROM otn.silence") == 0


def test_a_line_that_waits_goes_when_its_person_leaves(inbox, page, silences, leave: Callable[..., Any]):
    hashed = inbox.keyring.digest("psid", PAGE, "9")
    silences.append([silence.Silence(hashed, None, "operator", NOW, lifted=False)])
    assert apply(inbox) == NOTHING
    assert inbox.value("SELECT count(*) FROM otn.silence") == 1
    leave("9")
    assert inbox.value("SELECT count(*) FROM otn.silence") == 0


def test_a_day_taken_in_again_writes_nothing(inbox, page, silences):
    say(inbox, "stop", "1")
    say(inbox, "start", "1", at=NOW + timedelta(seconds=1))
    size = silences.path.stat().st_size
    assert reingest_day(inbox.database, inbox.keyring, NOW.date()).holds
    assert silences.path.stat().st_size == size
    assert standing(inbox) == set()
    assert [json.loads(line)["lifted"] for line in silences.path.read_text().splitlines()] == [False, True]


def test_very_many_are_one_write_and_come_back_in_sets(inbox, page, silences, monkeypatch):
    people = 20_000
    inbox.rows(
        "INSERT INTO otn.subscriber (page_id, psid) SELECT %s, n::text FROM generate_series(1, %s) n", page.id, people
    )
    rows = inbox.rows(
        "INSERT INTO otn.suppression (subscriber_id, reason) SELECT id, 'operator' FROM otn.subscriber"
        " RETURNING subscriber_id, topic_id, reason, since"
    )
    synced: list[int] = []
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(handle) or sync(handle))
    with transaction(inbox.database) as conn:
        write_down(conn, silences, [Change(**row._asdict()) for row in rows])
    assert len(synced) == 2  # the file, and its folder
    assert behind(inbox) == 0
    with transaction(inbox.database) as conn:
        assert len(list(queries("silence").standing(conn))) == people
    inbox.rows("DELETE FROM otn.suppression")
    inbox.rows("UPDATE otn.silence_mark SET bytes = 0, tail = DEFAULT")
    assert apply(inbox) == Returned(silenced=people)
    assert inbox.value("SELECT count(*) FROM otn.silence") == 0
