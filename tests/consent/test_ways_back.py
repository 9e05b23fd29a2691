"""Nobody who was erased comes back, by whatever way."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy import URL

from otn.campaign.report import report
from otn.consent import pages
from otn.database import Engine, make_engine, transaction
from otn.errors import ConfigurationError
from otn.intake import quarantine
from otn.intake.import_lines import ImportFile
from otn.intake.importing import import_file
from otn.intake.ingest import reingest_day
from otn.local.postgres import programs
from otn.privacy import erasure
from otn.privacy.journal import Journal, read_journal
from tests.clean import database, emptied_url
from tests.consent.inbox import NOW, PAGE, Inbox, body, message, optin, page_settings
from tests.consent.leaving import (
    OTHER,
    PSID,
    apply,
    campaign,
    crash,
    journal,
    leave,
    people,
    settled,
)

__all__ = ["database", "emptied_url", "journal", "leave"]  # a database for all of them; somebody who leaves


def test_reprocessing_and_a_late_echo_bring_nobody_back(inbox, page, leave):
    inbox.put(body(optin("a", psid=PSID), message("hi", psid=PSID), optin("b", psid=OTHER)))
    inbox.ingest()
    spring = campaign(inbox, page)
    settled(inbox, PSID, "unknown", ", unanswered = 1, reason = 'timeout'")
    attempt = str(inbox.value("SELECT attempt_id FROM otn.recipient WHERE state = 'unknown'"))
    leave()
    before = report(inbox.database, spring)
    echo = {"recipient": {"id": PSID}, "sender": {"id": PAGE}, "timestamp": int(NOW.timestamp() * 1000)}
    inbox.put(body(echo | {"message": {"mid": "m_1", "is_echo": True, "metadata": attempt}}))
    inbox.ingest()
    for _ in range(2):
        assert reingest_day(inbox.database, inbox.keyring, NOW.date()).holds
    assert people(inbox) == {OTHER}
    assert report(inbox.database, spring) == before


def optins_file(folder: Path, *psids: str) -> ImportFile:
    path = folder / "old.csv"
    lines = [f"{psid},imported-{n},sale,{NOW.isoformat()},web" for n, psid in enumerate(psids)]
    path.write_text("\n".join(["psid,token,payload,opted_in_at,source", *lines]))
    return ImportFile.at(path)


def test_last_nights_dump_brings_nobody_back(inbox, page, leave, journal, tmp_path):
    inbox.put(body(optin("a", psid=PSID), message("hi", psid=PSID), optin("b", psid=OTHER)))
    inbox.put(body(optin("w", psid=PSID, page="1002"), page="1002"))
    inbox.ingest()
    old = optins_file(tmp_path, PSID, OTHER)
    import_file(inbox.database, inbox.keyring, page, old, actor="test")
    spring = campaign(inbox, page)
    settled(inbox, PSID, "sent", ", evidence = 'answer', message_id = 'm_1', sent_at = now()")
    before = report(inbox.database, spring)
    dump = dumped(inbox.database, tmp_path / "night.dump")
    leave()
    with restored(inbox.database, dump) as engine:
        night = Inbox(engine, inbox.keyring)
        assert people(night) == {PSID, OTHER}
        assert apply(night, journal) == 1
        assert apply(night, journal) == 0
        for one in (inbox, night):
            one.rows("UPDATE otn.webhook_event SET ingested_at = ingested_at")
            assert reingest_day(one.database, one.keyring, NOW.date()).holds
            with transaction(one.database) as conn:
                pages.register(conn, page_settings("1002", "second"))
            quarantine.replay(one.database, one.keyring)
            result = import_file(one.database, one.keyring, page, old, actor="test")
            assert (result.refused, result.duplicate) == ({"erased": 1}, 1)
            second = one.value("SELECT id FROM otn.page WHERE page_id = '1002'")
            assert one.value("SELECT count(*) FROM otn.subscriber WHERE psid = %s AND page_id <> %s", PSID, second) == 0
            assert "a" not in one.tokens_left()
            assert report(one.database, spring) == before


def dumped(engine: Engine, file: Path) -> Path:
    """A dump as an operator makes it."""
    run_program("pg_dump", "--format=custom", f"--file={file}", f"--dbname={plain(engine.url)}")
    return file


@contextmanager
def restored(engine: Engine, dump: Path) -> Iterator[Engine]:
    """A dump in a database of its own."""
    name = f"night_{uuid.uuid4().hex}"
    with closing(psycopg2.connect(plain(engine.url.set(database="postgres")))) as connection:
        connection.autocommit = True
        connection.cursor().execute(f'CREATE DATABASE "{name}"')
        url = engine.url.set(database=name)
        run_program("pg_restore", "--exit-on-error", f"--dbname={plain(url)}", str(dump))
        night = make_engine(url.render_as_string(hide_password=False))
        yield night
        night.dispose()
        connection.cursor().execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def plain(url: URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def run_program(name: str, *words: str) -> None:
    done = subprocess.run([programs() / name, *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_a_crash_between_journal_and_database_is_made_up_for(inbox, page, leave, journal, monkeypatch):
    inbox.put(body(optin("a", psid=PSID)))
    inbox.ingest()
    with monkeypatch.context() as broken:
        broken.setattr("otn.privacy.erasure._settled", crash)
        with pytest.raises(RuntimeError):
            leave()
    assert people(inbox) == {PSID}
    assert apply(inbox, journal) == 1
    assert people(inbox) == set()


def test_a_crash_while_people_are_looked_for_starts_that_again(inbox, leave, journal, monkeypatch):
    inbox.put(body(optin("a", psid=PSID)))
    inbox.ingest()
    journal.append([(inbox.keyring.digest("psid", PAGE, PSID), None)])
    with monkeypatch.context() as broken:
        broken.setattr("otn.privacy.erasure._walk", crash)
        with pytest.raises(RuntimeError):
            apply(inbox, journal)
    assert inbox.value("SELECT count(*) FROM otn.tombstone") == 1  # and yet the person is still here
    assert apply(inbox, journal) == 1


def test_a_torn_line_is_passed_over_and_the_next_one_is_whole(inbox, journal):
    hashes = [inbox.keyring.digest("psid", PAGE, str(n)) for n in range(3)]
    journal.append([(hashes[0], None), (hashes[1], None)])
    with journal.path.open("r+b") as file:
        file.truncate(journal.path.stat().st_size - 9)
    assert (set(journal.read().erasures), journal.read().unreadable) == ({hashes[0]}, 1)
    journal.append([(hashes[2], None)])
    assert (set(journal.read().erasures), journal.read().unreadable) == ({hashes[0], hashes[2]}, 1)
    assert journal.path.stat().st_mode & 0o777 == 0o600
    for line in (b"[]", b'"x"', b'{"psid_hash": 1}', b"\xff\xfe", b'{"psid_hash": "00", "at": "2026-01-01T00:00:00Z"}'):
        journal.path.write_bytes(line)
        assert journal.read().unreadable == 1


def test_many_writers_of_one_journal_lose_nothing(journal):
    hashes = [uuid.uuid4().bytes * 2 for _ in range(40)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda one: journal.append([(one, None)]), hashes))
    assert set(journal.read().erasures) == set(hashes)


def test_a_journal_that_was_lost_is_made_whole_again(inbox, leave, journal):
    leave()
    leave(OTHER)
    journal.path.unlink()
    assert apply(inbox, journal) == 0
    assert len(journal.read().erasures) == 2


def test_nothing_is_read_while_the_journal_has_not_changed(inbox, leave, journal, monkeypatch):
    leave()
    apply(inbox, journal)
    monkeypatch.setattr(Journal, "read", crash)
    assert apply(inbox, journal) == 0


def test_whoever_finishes_looking_does_not_speak_for_those_who_still_look(inbox, journal, monkeypatch):
    inbox.put(body(optin("a", psid=PSID), optin("b", psid=OTHER)))
    inbox.ingest()
    journal.append([(inbox.keyring.digest("psid", PAGE, OTHER), None)])
    walk = erasure._walk

    def and_meanwhile(*given):
        count = walk(*given)
        journal.append([(inbox.keyring.digest("psid", PAGE, PSID), None)])
        monkeypatch.setattr(erasure, "_walk", crash)
        with pytest.raises(RuntimeError):
            apply(inbox, journal)  # another process: it has buried the second person, and dies before it looks
        return count

    monkeypatch.setattr(erasure, "_walk", and_meanwhile)
    assert apply(inbox, journal) == 1
    monkeypatch.setattr(erasure, "_walk", walk)
    assert apply(inbox, journal) == 1
    assert people(inbox) == set()


def test_a_look_that_was_begun_by_another_is_not_called_done(inbox, journal, monkeypatch):
    inbox.put(body(optin("a", psid=PSID)))
    inbox.ingest()
    journal.append([(inbox.keyring.digest("psid", PAGE, PSID), None)])
    read = Journal.read

    def and_meanwhile(self):
        content = read(self)
        monkeypatch.setattr(Journal, "read", read)
        with monkeypatch.context() as broken:
            broken.setattr(erasure, "_walk", crash)
            with pytest.raises(RuntimeError):
                apply(inbox, journal)
        return content

    monkeypatch.setattr(Journal, "read", and_meanwhile)
    assert apply(inbox, journal) == 1
    assert people(inbox) == set()


def test_a_file_that_is_taken_for_the_wrong_page_brings_nobody_back(inbox, page, leave, tmp_path):
    inbox.put(body(optin("a", psid=PSID), optin("b", psid=OTHER)))
    inbox.ingest()
    with transaction(inbox.database) as conn:
        second = pages.register(conn, page_settings("1002", "second"))
    leave()
    path = tmp_path / "old.csv"
    lines = [f"{PSID},a,sale,{NOW},x", f"{OTHER},b,sale,{NOW},x", f"7,of-the-second,sale,{NOW},x"]
    path.write_text("\n".join(["psid,token,payload,opted_in_at,source", *lines]))
    result = import_file(inbox.database, inbox.keyring, second, ImportFile.at(path), actor="test")
    assert (result.imported, result.refused) == (1, {"erased": 1, "token_of_another_page": 1})
    assert people(inbox) == {OTHER, "7"}


def test_a_journal_is_the_same_file_wherever_one_stands():
    with pytest.raises(ConfigurationError, match="Give an absolute path"):
        read_journal({"OTN_ERASURE_JOURNAL": "erasures.jsonl"})
