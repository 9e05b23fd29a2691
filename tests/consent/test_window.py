"""What comes back about messages inside the window: a tap finds its card, an echo proves its message."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from otn.consent.reference import pack
from otn.intake import ingest
from otn.intake.ingest import reingest_day
from tests.clean import database, emptied_url  # noqa: F401 - fixtures
from tests.consent.inbox import NOW, PAGE, body, item, message, optin
from tests.consent.test_ingest_failures import NoteWarnings

AGO = NOW - timedelta(hours=1)
FACTS = {
    "sending": "lease_until = clock_timestamp() + interval '1 minute'",
    "sent": "evidence = 'answer', message_id = 'm_answer', sent_at = called_at",
    "unknown": "reason = 'no_answer'",
    "refused": "error_code = 551",
    "skipped": "reason = 'window_closed'",
    "waiting": "reason = 'throttled'",
}


@pytest.fixture
def card(inbox, page):
    """Makes a card that was called, as a sender leaves it; answers its id and the metadata of its call."""

    def make(state="sent", called=AGO, psid="2002", ref=None, topic="sale"):
        inbox.put(body(message("hi", psid=psid, at=AGO - timedelta(hours=1), mid=f"hi-{psid}")))
        inbox.ingest()
        inbox.rows(
            "INSERT INTO otn.topic (page_id, key, title, payload, registered_at) VALUES (%s, %s, 'T', %s, now())"
            " ON CONFLICT DO NOTHING",
            page.id,
            topic,
            topic,
        )
        attempt = str(uuid.uuid4())
        (row,) = inbox.rows(
            "INSERT INTO otn.window_message (page_id, subscriber_id, cause, event_id, topic_id, ref, card, message,"
            " not_after) SELECT s.page_id, s.id, 'rule', (SELECT count(*) - 1000 FROM otn.window_message), t.id, %s,"
            " true, '{}', clock_timestamp() + interval '1 day' FROM otn.subscriber s, otn.topic t"
            " WHERE s.psid = %s AND t.key = %s RETURNING id",
            ref,
            psid,
            topic,
        )
        inbox.rows("UPDATE otn.window_message SET state = 'sending', attempts = 1, attempt_id = %s, called_at = %s,"
                   " lease_until = now() WHERE id = %s", attempt, called, row.id)  # fmt: skip
        inbox.rows(
            f"UPDATE otn.window_message SET state = '{state}', lease_until = NULL, {FACTS[state]} WHERE id = %s"
            if state != "sending"
            else "SELECT %s",
            row.id,
        )
        inbox.rows(
            "INSERT INTO otn.window_attempt (window_message_id, attempt_id, step, sender)"
            " VALUES (%s, %s, 'intent', 'test')",
            row.id,
            attempt,
        )
        return row.id, attempt

    return make


def links(inbox):
    """The card of each token, oldest opt-in first."""
    return [row.card_id for row in inbox.rows("SELECT card_id FROM otn.token ORDER BY opted_in_at, id")]


def tapped(inbox):
    return {row.id: row.tapped_at for row in inbox.rows("SELECT id, tapped_at FROM otn.window_message WHERE card")}


def echo(mid="m_echo", metadata=None, psid="2002", at=NOW):
    content = {"is_echo": True, "mid": mid, "text": "text"} | ({"metadata": metadata} if metadata else {})
    return item(message=content, at=at) | {"sender": {"id": PAGE}, "recipient": {"id": psid}}


@pytest.mark.parametrize("state", ["sending", "sent", "unknown"])
def test_a_tap_finds_the_card_that_it_answers(inbox, card, state):
    number, _ = card(state)
    inbox.put(body(optin("a", at=NOW)))
    inbox.ingest()
    assert links(inbox) == [number]
    assert tapped(inbox) == {number: NOW}
    # A doubt about the call stays a doubt.
    assert inbox.value("SELECT state::text FROM otn.window_message WHERE card") == state


@pytest.mark.parametrize("state", ["waiting", "refused", "skipped"])
def test_what_was_not_sent_was_not_tapped(inbox, card, state):
    card(state)
    inbox.put(body(optin("a")))
    inbox.ingest()
    assert links(inbox) == [None]


def test_the_card_is_the_same_persons_of_the_same_topic_and_reference_and_before_the_tap(inbox, card):
    wanted, _ = card(ref="red", called=NOW - timedelta(minutes=30))
    card(ref="red", called=NOW - timedelta(minutes=50))
    card(ref="blue", called=NOW - timedelta(minutes=10))
    card(called=NOW - timedelta(minutes=10))
    card(ref="red", psid="3003", called=NOW - timedelta(minutes=10))
    card(ref="red", topic="news", called=NOW - timedelta(minutes=10))
    card(ref="red", called=NOW + timedelta(minutes=6))
    inbox.put(body(optin("a", pack("sale", "red"), at=NOW)))
    inbox.ingest()
    assert links(inbox) == [wanted]


def test_a_call_a_moment_after_the_tap_is_a_matter_of_two_clocks(inbox, card):
    number, _ = card(called=NOW + timedelta(seconds=20))
    inbox.put(body(optin("a", at=NOW)))
    inbox.ingest()
    assert links(inbox) == [number]


def test_several_taps_of_one_person_in_one_slice_each_find_their_card(inbox, card):
    cards = [card(called=AGO + timedelta(minutes=n))[0] for n in (0, 10, 20)]
    taps = [AGO + timedelta(minutes=n) for n in (5, 15, 25)]
    inbox.put(body(*(optin(f"t{n}", at=at) for n, at in reversed(list(enumerate(taps))))))
    inbox.ingest()
    assert links(inbox) == cards
    assert tapped(inbox) == dict(zip(cards, taps, strict=True))


def test_a_second_tap_finds_the_card_not_yet_tapped(inbox, card):
    first, _ = card(called=AGO)
    second, _ = card(called=AGO + timedelta(minutes=1))
    inbox.put(body(optin("a", at=AGO + timedelta(minutes=2))))
    inbox.ingest()
    inbox.put(body(optin("b", at=AGO + timedelta(minutes=3))))
    inbox.ingest()
    assert links(inbox) == [second, first]
    inbox.put(body(optin("c", at=AGO + timedelta(minutes=4))))
    inbox.ingest()
    assert links(inbox)[2] == second
    assert tapped(inbox)[second] == AGO + timedelta(minutes=2)


@pytest.mark.parametrize(("state", "by"), [*((state, "metadata") for state in FACTS), ("sent", "mid")])
def test_an_echo_proves_its_message_whatever_stood_there(inbox, card, state, by):
    number, attempt = card(state)
    raw = body(echo(metadata=attempt) if by == "metadata" else echo(mid="m_answer"))
    inbox.put(raw, raw)
    inbox.ingest()
    (row,) = inbox.rows("SELECT * FROM otn.window_message WHERE id = %s", number)
    assert (row.state, row.sent_at, row.lease_until, row.reason, row.error_code) == ("sent", NOW, None, None, None)
    answered = state == "sent"
    assert (row.evidence, row.message_id) == (("answer", "m_answer") if answered else ("echo", "m_echo"))
    before = inbox.rows("SELECT w::text FROM otn.window_message w")
    reingest_day(inbox.database, inbox.keyring, NOW.date())
    assert inbox.rows("SELECT w::text FROM otn.window_message w") == before


def test_an_echo_of_somebody_else_or_of_another_app_proves_nothing(inbox, card):
    _, attempt = card("unknown")
    inbox.put(body(message("hi", psid="3003")))
    inbox.put(body(echo(metadata=attempt, psid="3003"), echo(mid="x", metadata="not ours"), echo(mid="y")))
    inbox.ingest()
    assert inbox.value("SELECT state::text FROM otn.window_message WHERE card") == "unknown"


def test_an_echo_that_was_stored_and_not_settled_is_settled_by_a_second_look(inbox, card):
    _, attempt = card("unknown")
    inbox.put(body(echo(metadata=attempt)))
    inbox.ingest()
    inbox.rows("ALTER TABLE otn.window_message DISABLE TRIGGER USER")
    inbox.rows("UPDATE otn.window_message SET state = 'unknown', evidence = NULL, message_id = NULL, sent_at = NULL,"
               " reason = 'no_answer'")  # fmt: skip
    inbox.rows("ALTER TABLE otn.window_message ENABLE TRIGGER USER")
    reingest_day(inbox.database, inbox.keyring, NOW.date())
    assert inbox.value("SELECT state::text FROM otn.window_message") == "sent"


def test_taps_and_echoes_of_two_ingests_in_opposite_order_never_wait_in_a_circle(inbox, card, monkeypatch):
    cards = [card("unknown", psid=f"{n}") for n in range(12)]
    psids = [f"{n}" for n in range(12)]
    # Each body taps one half and echoes the other; both touch all the rows.
    first = [optin(f"a{n}", psid=n) for n in psids[6:]]
    first += [echo(metadata=cards[int(n)][1], psid=n) for n in psids[:6]]
    second = [optin(f"b{n}", psid=n) for n in psids[:6]]
    second += [echo(mid="m2", metadata=cards[int(n)][1], psid=n, at=AGO) for n in psids[6:]]
    inbox.put(body(*first), body(*reversed(second)))
    deadlocks, ready = [], threading.Barrier(2)
    monkeypatch.setattr(ingest, "_log", NoteWarnings(deadlocks))

    def meet(_conn, _event_ids):
        if not ready.broken and ready.n_waiting < 2:
            ready.wait(20)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda _: inbox.ingest(slice_size=1, limit=1, on_events=meet), range(2)))
    assert deadlocks == []
    assert inbox.value("SELECT count(*) FROM otn.window_message WHERE state = 'sent' AND tapped_at IS NOT NULL") == 12
