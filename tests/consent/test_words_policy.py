"""Stop words of people, and policy events of the platform: the latest word counts, whenever it comes."""

from __future__ import annotations

import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from otn.consent import pages
from otn.consent.suppression import read_words
from otn.database import transaction
from tests.consent.inbox import NOW, body, item, message, policy


def reason(inbox):
    rows = inbox.rows("SELECT reason FROM otn.suppression")
    return rows[0].reason if rows else None


@pytest.mark.parametrize(
    "text",
    [
        "stop",
        " STOP! ",
        "Stop.",
        "stopp",
        "ARRÊT",
        "Unsubscribe",
        "Baja",
        "停止",
        "\uff33\uff34\uff2f\uff30",
        "🛑 stop",
        "\u201cstop\u201d\n",
    ],
)
def test_a_stop_word_alone_silences_and_its_text_is_not_kept(inbox, text):
    inbox.put(body(message(text)))
    inbox.ingest()
    assert reason(inbox) == "stop_word"
    (row,) = inbox.rows("SELECT * FROM otn.event")
    assert (row.detail, row.payload) == ("stop_word", None)


@pytest.mark.parametrize("text", ["please don't stop", "stop sign", "", "   ", "!", "s" * 50_000])
def test_other_texts_silence_nobody_and_leave_nothing(inbox, text):
    inbox.put(body(message(text)))
    inbox.ingest()
    assert reason(inbox) is None
    assert inbox.value("SELECT detail FROM otn.event") is None


def test_our_own_message_is_no_stop_word(inbox):
    inbox.put(
        body(
            item(message={"is_echo": True, "mid": "m", "text": "stop"})
            | {"sender": {"id": "1001"}, "recipient": {"id": "2002"}}
        )
    )
    inbox.ingest()
    assert reason(inbox) is None


def test_words_can_be_set_and_a_stop_word_is_never_a_start_word(inbox, monkeypatch):
    monkeypatch.setenv("OTN_STOP_WORDS", "Genug!, Halt ein")
    monkeypatch.setenv("OTN_START_WORDS", "weiter, genug")
    assert read_words().start == {"weiter"}
    inbox.put(body(message("stop", psid="1"), message("genug", psid="2"), message("halt  ein", psid="3")))
    inbox.ingest()
    silent = "SELECT psid FROM otn.subscriber s JOIN otn.suppression p ON p.subscriber_id = s.id ORDER BY 1"
    assert [row.psid for row in inbox.rows(silent)] == ["2", "3"]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_words_count_by_their_own_time_in_whatever_order_they_come(inbox, order):
    words = ["stop", "start", "stop"]
    for n in order:
        inbox.put(body(message(words[n], at=NOW + timedelta(minutes=n))))
        inbox.ingest()
    assert reason(inbox) == "stop_word"
    inbox.put(body(message("start", at=NOW + timedelta(minutes=9))), body(message("stop", at=NOW - timedelta(days=1))))
    inbox.ingest()
    assert reason(inbox) is None


@pytest.mark.parametrize("kept", ["operator", "erased"])
def test_a_start_word_lifts_only_what_a_stop_word_did(inbox, kept):
    inbox.put(body(message("hi")))
    inbox.ingest()
    inbox.rows("INSERT INTO otn.suppression (subscriber_id, reason) SELECT id, %s FROM otn.subscriber", kept)
    inbox.put(body(message("stop", at=NOW - timedelta(hours=1))), body(message("start")))
    inbox.ingest()
    assert reason(inbox) == kept


def test_a_start_word_that_comes_while_the_stop_word_is_being_stored_waits_for_it(inbox):
    """Each of two transactions would see its own word only, and the earlier one might win."""
    inbox.put(body(message("hello", at=NOW)))
    inbox.ingest()
    inbox.put(body(message("stop", at=NOW - timedelta(minutes=2))))
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with ThreadPoolExecutor(1) as threads:
        other = []

        def start_meanwhile(conn, event_ids):
            inbox.put(body(message("start", at=NOW - timedelta(minutes=1))))
            other.append(threads.submit(inbox.ingest))
            while not other[0].done() and not inbox.value(waiting):
                time.sleep(0.01)  # a lock tells nobody that somebody waits for it

        inbox.ingest(on_events=start_meanwhile, limit=1)
        assert other[0].result(20).ingested == 1
    assert reason(inbox) is None


def halt(inbox):
    with transaction(inbox.database) as conn:
        return pages.find(conn, "1001").halt_reason


def test_a_block_halts_the_page_and_an_unblock_releases_it(inbox):
    inbox.put(body(policy("warning", "careful")))
    inbox.ingest()
    assert halt(inbox) is None
    inbox.put(body(policy("block", "spam")))
    inbox.ingest()
    assert halt(inbox) == "policy_enforcement: block: spam"
    inbox.put(body(policy("unblock", at=NOW + timedelta(hours=1))))
    inbox.ingest()
    assert halt(inbox) is None
    assert [row.action for row in inbox.rows("SELECT action FROM otn.audit ORDER BY id")] == [
        "page halted",
        "page released",
    ]


@pytest.mark.parametrize("together", [True, False])
def test_policy_counts_by_its_own_time(inbox, together):
    events = [body(policy("unblock", at=NOW)), body(policy("block", at=NOW - timedelta(hours=1)))]
    for raw in events:
        inbox.put(raw)
        if not together:
            inbox.ingest()
    inbox.ingest()
    assert halt(inbox) is None


def test_a_halt_of_ours_is_neither_renamed_nor_lifted_by_policy(inbox):
    inbox.rows("UPDATE otn.page SET halted_at = now(), halt_reason = '190: token'")
    inbox.put(body(policy("block", at=NOW - timedelta(hours=1))), body(policy("unblock")))
    inbox.ingest()
    assert halt(inbox) == "190: token"


def test_a_block_that_comes_twice_does_not_undo_a_resume(inbox):
    raw = body(policy("block"))
    inbox.put(raw)
    inbox.ingest()
    inbox.rows("UPDATE otn.page SET halted_at = NULL, halt_reason = NULL")
    inbox.put(raw)
    inbox.ingest()
    assert halt(inbox) is None
