"""Erasure: a person leaves for good, whatever happens at the same time and whatever comes back."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
import pytest

from otn.campaign import control, plan
from otn.campaign.model import CampaignSpec
from otn.campaign.report import report
from otn.consent import objection, pages
from otn.consent.objection import UnknownPersonError
from otn.database import Engine, make_engine, queries, transaction
from otn.errors import ConfigurationError, UsageError
from otn.intake import quarantine
from otn.intake.import_lines import ImportFile
from otn.intake.importing import import_file
from otn.intake.ingest import reingest_day
from otn.messenger.errors import MessengerError
from otn.privacy import deletion, personal
from otn.privacy.deletion import DeletionFigures
from otn.privacy.erasure import Erasure, apply_journal, erase, forget_late
from otn.privacy.journal import Journal, JournalError, needed_journal, read_journal
from tests.clean import database, emptied_url
from tests.consent.inbox import NOW, PAGE, Inbox, body, item, message, optin, page_settings

__all__ = ["database", "emptied_url"]  # in place of a fresh database for each test

PSID = "28777805391819468"
OTHER = "28777805391819469"
PERSONAL = ("psid", "first_name", "last_name", "locale", "utc_offset", "last_interaction_at")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "erasures.jsonl")


@pytest.fixture
def leave(inbox: Inbox, page: pages.Page, journal: Journal) -> Callable[..., Erasure]:
    def run(psid: str = PSID, **changes) -> Erasure:
        values = {"actor": "test", "reason": "asked for it", "journal": journal, **changes}
        return erase(inbox.database, inbox.keyring, page, psid, **values)

    return run


def apply(inbox: Inbox, journal: Journal, **options) -> int:
    return apply_journal(inbox.database, inbox.keyring, {"OTN_ERASURE_JOURNAL": str(journal.path)}, **options)


def campaign(inbox: Inbox, page: pages.Page, key: str = "spring") -> int:
    topic = inbox.value("SELECT id FROM otn.topic WHERE key = 'sale'")
    opened = control.open_campaign(
        inbox.database,
        CampaignSpec(key=key, message={"text": 'Hi {{ first_name | default("there") }}'}, approval=False),
        page_row_id=page.id,
        facebook_page_id=PAGE,
        topic_row_id=topic,
        topic_key="sale",
        actor="test",
    )
    plan.plan(inbox.database, opened.id, messages_per_second=None)
    return opened.id


def name(inbox: Inbox) -> None:
    inbox.rows(
        "UPDATE otn.subscriber SET first_name = 'Ada', last_name = 'L', locale = 'en_GB', utc_offset = 1,"
        """ labels = '{vip}', attributes = '{"city": "London"}' WHERE psid = %s""",
        PSID,
    )


def traces(inbox: Inbox, *secrets: str) -> list[str]:
    """Tables in which one of these texts still stands; sealed columns are opened."""
    found = []
    for table in ("subscriber", "token", "event", "recipient", "attempt", "window_message", "window_attempt", "audit"):
        text = "\n".join(str(row) for row in inbox.rows(f"SELECT to_jsonb(t)::text FROM otn.{table} t"))
        found += [table for secret in secrets if secret in text]
    sealed = [("webhook_event", "body", "webhook"), ("quarantine", "item", "quarantine")]
    for table, column, purpose in sealed:
        for row in inbox.rows(f"SELECT {column} AS sealed FROM otn.{table}"):
            opened = inbox.keyring.decrypt(row.sealed, purpose).decode("utf-8", "replace")
            found += [table for secret in secrets if secret in opened]
    return found


def settled(inbox: Inbox, psid: str, state: str, more: str = "") -> None:
    inbox.rows(
        f"UPDATE otn.recipient SET state = '{state}', attempts = 1, attempt_id = gen_random_uuid(){more}"
        " WHERE subscriber_id = (SELECT id FROM otn.subscriber WHERE psid = %s)",
        psid,
    )
    inbox.rows(
        "INSERT INTO otn.attempt (campaign_id, subscriber_id, attempt_id, step, sender, outcome, message_id)"
        " SELECT campaign_id, subscriber_id, attempt_id, 'answer', 'test', 'sent', message_id FROM otn.recipient"
        " WHERE message_id IS NOT NULL AND subscriber_id = (SELECT id FROM otn.subscriber WHERE psid = %s)",
        psid,
    )


def test_nothing_of_a_person_is_left_and_the_others_keep_everything(inbox, page, leave, journal):
    inbox.put(
        body(optin("a-token", psid=PSID), message("my secret", psid=PSID), optin("b-token", psid=OTHER)),
        body(item(psid=PSID, postback={"payload": "p", "title": "t"}), "nonsense", optin("c-token", psid=OTHER)),
        body(optin("d-token", psid=PSID, page="1002"), page="1002"),  # waits in quarantine
        b'{"object": "page", "who": "' + PSID.encode(),  # no JSON
    )
    inbox.ingest()
    name(inbox)
    spring = campaign(inbox, page)
    settled(inbox, PSID, "sent", ", evidence = 'answer', message_id = 'm_of_the_person', sent_at = now()")
    inbox.rows("INSERT INTO otn.suppression (subscriber_id, reason) SELECT id, 'operator' FROM otn.subscriber")
    window(inbox, PSID)
    before, figures = report(inbox.database, spring), inbox.figures()

    done = leave()
    assert done == Erasure(done.subscriber_id, repeated=False)
    secrets = (PSID, "a-token", "my secret", "Ada", "London", "vip", "m_of_the_person", "d-token", "for you alone")
    assert traces(inbox, *secrets) == []
    assert report(inbox.database, spring) == before
    assert inbox.figures() == figures
    assert inbox.tokens_left() == {"b-token", "c-token"}
    gone = inbox.rows("SELECT * FROM otn.subscriber WHERE erased_at IS NOT NULL")
    assert [[getattr(row, column) for column in PERSONAL] for row in gone] == [[None] * len(PERSONAL)]
    assert inbox.value("SELECT count(*) FROM otn.suppression") == 1
    assert PSID not in journal.path.read_text()
    audit = inbox.rows("SELECT actor, detail FROM otn.audit WHERE action = 'erased'")
    assert [(row.actor, row.detail["subscriber_id"]) for row in audit] == [("test", done.subscriber_id)]


def window(inbox: Inbox, psid: str, states: tuple[str, ...] = ("sent", "waiting")) -> None:
    """Messages inside the 24 h window, one in each state."""
    for number, state in enumerate(states):
        sent, calling = state == "sent", state == "sending"
        values = {
            "evidence": "answer" if sent else None,
            "message_id": "m_of_the_person" if sent else None,
            "sent_at": NOW if sent else None,
            "lease_until": NOW if calling else None,
        }
        inbox.rows(
            "INSERT INTO otn.window_message (page_id, subscriber_id, cause, event_id, card, topic_id, message,"
            " not_after, state, attempts, attempt_id, called_at, evidence, message_id, sent_at, lease_until)"
            " SELECT s.page_id, s.id, 'rule', %s, false, t.id, '{\"text\": \"for you alone\"}',"
            " now() + interval '1 day', %s, 1, gen_random_uuid(), now(), %s, %s, %s, %s"
            " FROM otn.subscriber s, otn.topic t WHERE s.psid = %s AND t.key = 'sale'",
            10**9 + number,
            state,
            *values.values(),
            psid,
        )


def test_the_same_person_twice_and_somebody_whom_nobody_knew(inbox, leave, journal):
    inbox.put(body(optin("a", psid=PSID)))
    inbox.ingest()
    assert not leave().repeated
    assert leave() == Erasure(None, repeated=True)
    assert leave(OTHER) == Erasure(None, repeated=False)
    inbox.put(body(optin("b", psid=OTHER), optin("c", psid=PSID)))
    balance = inbox.ingest()
    assert (balance.ingested, balance.optins_new, inbox.tokens_left()) == (2, 0, set())
    assert len(journal.read().erasures) == 2
    with pytest.raises(UsageError, match="That is no PSID"):
        leave("not a psid")


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


def people(inbox: Inbox) -> set[str]:
    return {row.psid for row in inbox.rows("SELECT psid FROM otn.subscriber WHERE psid IS NOT NULL")}


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
    with copied(inbox.database) as restored:
        leave()
        night = Inbox(restored, inbox.keyring)
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


@contextmanager
def copied(engine: Engine) -> Iterator[Engine]:
    """The same database as of now, as a dump of it would be."""
    url = engine.url
    engine.dispose()
    name = f"night_{uuid.uuid4().hex}"
    plain = url.set(drivername="postgresql", database="postgres").render_as_string(hide_password=False)
    with closing(psycopg2.connect(plain)) as connection:
        connection.autocommit = True
        connection.cursor().execute(f'CREATE DATABASE "{name}" TEMPLATE "{url.database}"')
        copy = make_engine(url.set(database=name).render_as_string(hide_password=False))
        yield copy
        copy.dispose()
        connection.cursor().execute(f'DROP DATABASE "{name}" WITH (FORCE)')


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


def crash(*_args, **_options):
    raise RuntimeError


def test_without_a_journal_nobody_is_erased(inbox, leave, tmp_path):
    inbox.put(body(optin("a", psid=PSID)))
    inbox.ingest()
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match="cannot be written"):
        leave(journal=Journal(tmp_path / "file" / "erasures.jsonl"))
    assert people(inbox) == {PSID}
    assert read_journal({}) is None
    assert apply_journal(inbox.database, inbox.keyring, {}) == 0
    with pytest.raises(ConfigurationError, match="OTN_ERASURE_JOURNAL is not set"):
        needed_journal({})


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


def test_a_person_who_is_just_being_stored_is_erased_too(inbox, leave):
    inbox.put(body(optin("a", psid=PSID)))
    left: list[Future[Erasure]] = []
    with ThreadPoolExecutor(1) as threads:

        def on_events(_conn, _ids):
            left.append(threads.submit(leave))
            wait_for(inbox, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")

        inbox.ingest(on_events=on_events)
        assert left[0].result(20).subscriber_id is not None
    assert people(inbox) == set()
    assert inbox.tokens_left() == set()


def wait_for(inbox: Inbox, count: str) -> None:
    deadline = time.monotonic() + 20
    while not inbox.value(count):
        assert time.monotonic() < deadline, count


def test_a_plan_at_the_same_moment_reaches_nobody_who_left(inbox, page, leave):
    inbox.put(body(optin("a", psid=PSID), optin("b", psid=OTHER)))
    inbox.ingest()
    spring = campaign(inbox, page)
    inbox.rows("DELETE FROM otn.recipient")
    with ThreadPoolExecutor(1) as threads:
        with transaction(inbox.database) as conn, conn.cursor() as cursor:
            cursor.execute(
                "INSERT INTO otn.recipient (campaign_id, subscriber_id, token_id, chunk, variables)"
                """ SELECT %s, t.subscriber_id, t.id, 1, '{"first_name": "Ada"}' FROM otn.token t""",
                (spring,),
            )
            left = threads.submit(leave)
            wait_for(inbox, "SELECT count(*) FROM pg_locks WHERE NOT granted")
        person = left.result(20).subscriber_id
    rows = inbox.rows("SELECT state::text, reason, variables FROM otn.recipient WHERE subscriber_id = %s", person)
    assert [tuple(row) for row in rows] == [("skipped", "erased", {})]


def test_a_call_under_way_is_recorded_and_then_forgotten(inbox, page, leave):
    inbox.put(body(optin("a", psid=PSID)))
    inbox.ingest()
    name(inbox)
    spring = campaign(inbox, page)
    claim = {"campaign_id": spring, "sender": "test"}
    with transaction(inbox.database) as conn:
        (row,) = list(queries("recipient").claim(conn, chunk=1, most=9, lease_s=60, **claim))
    window(inbox, PSID, states=("sending",))
    leave()
    answer = {"subscriber_id": row.subscriber_id, "attempt_id": row.attempt_id, "outcome": "sent",
              "message_id": "m_late", "called": True, "age_s": 0.0}  # fmt: skip
    with transaction(inbox.database) as conn:
        (recorded,) = list(queries("recipient").record(conn, answers=json.dumps([answer]), **claim))
    assert recorded.state == "sent"
    inbox.rows("UPDATE otn.window_message SET state = 'unknown', reason = 'timeout', lease_until = NULL")
    assert forget_late(inbox.database) == 3
    assert forget_late(inbox.database) == 0
    assert traces(inbox, PSID, "m_late", "Ada", "for you alone") == []
    assert report(inbox.database, spring)["sent"] == 1


class Platform:
    """Says whom an app's id means, or refuses."""

    def __init__(self, *psids: str, refuses: bool = False) -> None:
        self.psids = list(psids)
        self.refuses = refuses

    def page_scoped_ids(self, _user: str) -> list[str]:
        if self.refuses:
            raise MessengerError
        return self.psids


def request(inbox: Inbox, user: str, code: str, days_ago: int = 0) -> None:
    inbox.rows(
        "INSERT INTO otn.deletion_request (id, code, user_id, user_hash, received_at)"
        " VALUES (gen_random_uuid(), %s, %s, %s, now() - make_interval(days => %s))",
        code,
        inbox.keyring.encrypt(user.encode(), "deletion"),
        inbox.keyring.digest("asid", user),
        days_ago,
    )


def test_deletion_requests_are_tried_for_a_week(inbox, page, journal):
    where = {"OTN_ERASURE_JOURNAL": str(journal.path)}
    inbox.put(body(optin("a", psid=PSID), optin("b", psid=OTHER), optin("c", psid="77")))
    inbox.ingest()
    request(inbox, "77", "psid by chance")
    refusing, knowing = Platform(refuses=True), Platform(PSID, "999")
    assert deletion.process(inbox.database, inbox.keyring, {page.id: refusing}, where) == DeletionFigures(waiting=1)
    assert people(inbox) == {PSID, OTHER}
    assert deletion.process(inbox.database, inbox.keyring, {}, where) == DeletionFigures(waiting=1)
    request(inbox, "app-scoped", "second")
    assert deletion.process(inbox.database, inbox.keyring, {page.id: knowing}, where) == DeletionFigures(
        done=2, people=2
    )
    request(inbox, "nobody", "late", days_ago=8)
    assert deletion.process(inbox.database, inbox.keyring, {}, where) == DeletionFigures(done=1)
    assert deletion.process(inbox.database, inbox.keyring, {}, where) == DeletionFigures()
    assert people(inbox) == {OTHER}
    with transaction(inbox.database) as conn:
        found = {one.code: (one.state, one.people) for one in deletion.listing(conn)}
    assert found["late"] == ("done", 0)
    assert sum(count for _, count in found.values()) == 2


def test_a_person_can_see_everything_but_the_text_of_tokens(inbox, page, leave):
    inbox.put(body(optin("a-token", psid=PSID), message("my words", psid=PSID), message("not mine", psid=OTHER)))
    inbox.ingest()
    name(inbox)
    spring = campaign(inbox, page)
    settled(inbox, PSID, "sent", ", evidence = 'answer', message_id = 'm_1', sent_at = now()")
    window(inbox, PSID)
    inbox.rows(
        "INSERT INTO otn.suppression (subscriber_id, reason, note) SELECT id, 'operator', 'n' FROM otn.subscriber"
    )
    held = personal.export(inbox.database, inbox.keyring, page, PSID)
    text = json.dumps(held, default=str)
    assert (held["profile"]["first_name"], held["profile"]["labels"]) == ("Ada", ["vip"])
    assert [(one["campaign"], one["message"]) for one in held["campaigns"]] == [("spring", {"text": "Hi Ada"})]
    assert [one["topic"] for one in held["consents"]] == ["sale"]
    assert held["window_messages"][0]["message"] == {"text": "for you alone"}
    assert held["silences"][0]["note"] == "n"
    assert {one["kind"] for one in held["events"]} == {"optin", "message"}
    assert "my words" in text
    assert "not mine" not in text
    assert "a-token" not in text
    assert spring
    leave()
    gone = personal.export(inbox.database, inbox.keyring, page, PSID)
    assert gone.keys() == {"page", "psid", "erased_at"}
    with pytest.raises(UnknownPersonError, match="holds nobody"):
        personal.export(inbox.database, inbox.keyring, page, "4711")


def test_an_operators_objection_is_lifted_by_an_operator_only(inbox, page):
    inbox.put(body(optin("a", psid=PSID)))
    inbox.ingest()
    with transaction(inbox.database) as conn:
        for _ in range(2):
            objection.suppress(conn, page, PSID, topic=None, actor="anna", note="wrote a letter")
    inbox.put(body(message("start", psid=PSID), optin("b", psid=PSID)))
    inbox.ingest()
    row = inbox.rows("SELECT reason, actor, note FROM otn.suppression")
    assert [tuple(one) for one in row] == [("operator", "anna", "wrote a letter")]
    with transaction(inbox.database) as conn:
        assert objection.release(conn, page, PSID, topic=None, actor="anna")
        assert not objection.release(conn, page, PSID, topic=None, actor="anna")
        with pytest.raises(UnknownPersonError):
            objection.suppress(conn, page, OTHER, topic=None, actor="anna")
        with pytest.raises(UsageError, match="The note is too long"):
            objection.suppress(conn, page, PSID, topic=None, actor="anna", note="n\x00")
    assert [one.action for one in inbox.rows("SELECT action FROM otn.audit WHERE actor = 'anna' ORDER BY id")] == [
        "suppressed", "suppressed", "released",
    ]  # fmt: skip
