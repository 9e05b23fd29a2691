"""Erasure: a person leaves for good, whatever happens at the same time and whatever comes back."""

from __future__ import annotations

import json
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from otn.campaign.report import report
from otn.database import queries, transaction
from otn.errors import ConfigurationError, UsageError
from otn.privacy.erasure import Erasure, apply_journal, forget_late
from otn.privacy.journal import Journal, JournalError, needed_journal, read_journal
from tests.clean import database, emptied_url
from tests.consent.inbox import Inbox, body, item, message, optin
from tests.consent.leaving import (
    OTHER,
    PSID,
    campaign,
    journal,
    leave,
    name,
    people,
    settled,
    traces,
    wait_for,
    window,
)

__all__ = ["database", "emptied_url", "journal", "leave"]  # a database for all of them; somebody who leaves

PERSONAL = ("psid", "first_name", "last_name", "locale", "utc_offset", "last_interaction_at")


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
        (row,) = list(queries("recipient").claim(conn, chunk=1, after=0, most=9, lease_s=60, **claim))
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


def test_a_sender_that_learns_that_a_person_is_out_of_reach_is_not_waited_for_in_a_circle(inbox, page, leave):
    inbox.put(body(optin("a", psid=PSID)))
    inbox.ingest()
    window(inbox, PSID, states=("waiting",))
    before = deadlocks(inbox)
    with ThreadPoolExecutor(1) as threads:
        with transaction(inbox.database) as conn, conn.cursor() as cursor:
            cursor.execute("SELECT subscriber_id FROM otn.window_message FOR UPDATE")
            person = cursor.fetchone()[0]
            left = threads.submit(leave)
            wait_for(inbox, "SELECT count(*) FROM pg_locks WHERE NOT granted")
            cursor.execute("INSERT INTO otn.suppression (subscriber_id, reason) VALUES (%s, 'unreachable')", [person])
        assert left.result(20).subscriber_id == person
    assert deadlocks(inbox) == before


def deadlocks(inbox: Inbox) -> int:
    inbox.rows("SELECT pg_stat_clear_snapshot()")
    return inbox.value("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
