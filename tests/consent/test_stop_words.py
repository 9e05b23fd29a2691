"""Stop words: whole messages, for all or for a topic, in many languages; the latest word counts, whenever it comes."""

from __future__ import annotations

import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from otn.consent import pages
from otn.consent.suppression import Heard, read_words
from otn.consent.words import LANGUAGES
from otn.database import transaction
from otn.messenger.messages import message_text
from otn.rendering import compile_message
from tests.clean import database, emptied_url  # noqa: F401 - fixtures
from tests.consent.inbox import NOW, body, item, message, optin, page_settings


def silences(inbox, psid="2002"):
    """Of one person: topic or None, and reason."""
    rows = inbox.rows(
        "SELECT t.key, p.reason FROM otn.suppression p JOIN otn.subscriber s ON s.id = p.subscriber_id"
        " LEFT JOIN otn.topic t ON t.id = p.topic_id WHERE s.psid = %s ORDER BY 1",
        psid,
    )
    return [tuple(row) for row in rows]


def confirmations(inbox):
    """State, reason and text of what is answered to words, oldest word first."""
    return [
        (row.state, row.reason, row.message["text"] if row.message else None)
        for row in inbox.rows(
            "SELECT w.state::text, w.reason, w.message FROM otn.window_message w JOIN otn.event e ON e.id = w.event_id"
            " WHERE w.cause = 'stop' ORDER BY e.occurred_at, e.id"
        )
    ]


@pytest.fixture
def topics(inbox, page):
    """Two registered topics, and one that was only met."""
    inbox.rows(
        "INSERT INTO otn.topic (page_id, key, title, payload, registered_at) VALUES"
        " (%s, 'sale', 'Big Sale!', 'sale', now()), (%s, 'news', 'Monthly news', 'news', now()),"
        " (%s, 'Shoes', NULL, 'Shoes', NULL)",
        *[page.id] * 3,
    )


ALL = [(None, "stop_word")]


@pytest.mark.parametrize(
    "text",
    [
        "stop",
        " STOP! ",
        "stopp",
        "ARRÊT",
        "Unsubscribe",
        "Baja",
        "停止",
        "\uff33\uff34\uff2f\uff30",
        "🛑 stop",
        "“stop”\n",
    ],
)
def test_a_stop_word_alone_silences_and_its_text_is_not_kept(inbox, text):
    inbox.put(body(message(text)))
    inbox.ingest()
    assert silences(inbox) == ALL
    (row,) = inbox.rows("SELECT * FROM otn.event")
    assert (row.detail, row.payload, row.topic_id) == ("stop_word", None, None)


@pytest.mark.parametrize(
    "text",
    [
        "please don't stop", "stop sign", "stopped", "stop shop", "seis", "", "   ", "!", "s" * 50_000,
        "stop" + "p" * 200, "stop " * 60, "stop \x1b[31m {0} %s",
    ],
)  # fmt: skip
def test_other_texts_silence_nobody_and_leave_nothing(inbox, topics, text):
    inbox.put(body(message(text)))
    inbox.ingest()
    assert silences(inbox) == []
    assert tuple(inbox.rows("SELECT detail, topic_id FROM otn.event")[0]) == (None, None)
    assert inbox.value("SELECT count(*) FROM otn.window_message") == 0


def test_our_own_message_is_no_stop_word(inbox):
    echo = item(message={"is_echo": True, "mid": "m", "text": "stop"})
    inbox.put(body(echo | {"sender": {"id": "1001"}, "recipient": {"id": "2002"}}))
    inbox.ingest()
    assert silences(inbox) == []


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("STOP sale", "sale"),
        ("stop: Big Sale", "sale"),
        ("Stop “big sale!”", "sale"),
        ("abmelden Monthly  NEWS", "news"),
        ("停止news", "news"),
        ("stop pub news", "news"),
        ("stop shoes", "Shoes"),
        ("stop all", None),
    ],
)
def test_a_stop_word_with_a_topic_stops_that_topic_only(inbox, topics, text, key):
    inbox.put(body(message(text)))
    inbox.ingest()
    assert silences(inbox) == [(key, "stop_word")]
    event = inbox.rows("SELECT t.key, e.detail FROM otn.event e LEFT JOIN otn.topic t ON t.id = e.topic_id")
    assert [tuple(row) for row in event] == [(key, "stop_word")]


def test_a_topic_of_another_page_is_not_named(inbox, topics):
    with transaction(inbox.database) as conn:
        pages.register(conn, page_settings("1002", "second"))
    inbox.put(body(message("stop sale", page="1002"), page="1002"))
    inbox.ingest()
    assert silences(inbox) == []


def test_a_name_that_two_topics_share_stops_all_and_starts_nothing(inbox, topics):
    inbox.rows("UPDATE otn.topic SET title = 'big sale' WHERE key = 'news'")
    inbox.put(body(message("stop big sale", at=NOW - timedelta(minutes=2))))
    inbox.ingest()
    assert silences(inbox) == ALL
    inbox.put(body(message("start big sale")))
    inbox.ingest()
    assert silences(inbox) == ALL


def test_an_adopted_topic_stands_for_its_adopter(inbox, topics):
    inbox.rows("UPDATE otn.topic SET adopted_by = (SELECT id FROM otn.topic WHERE key = 'sale') WHERE key = 'Shoes'")
    inbox.put(body(message("stop shoes")))
    inbox.ingest()
    assert silences(inbox) == [("sale", "stop_word")]


def test_words_can_be_set_and_a_stop_word_is_never_a_start_word(inbox, monkeypatch):
    monkeypatch.setenv("OTN_STOP_WORDS", "Genug!, Halt ein")
    monkeypatch.setenv("OTN_START_WORDS", "weiter, genug")
    assert read_words().start == {"weiter"}
    inbox.put(body(message("stop", psid="1"), message("genug", psid="2"), message("halt  ein", psid="3")))
    inbox.ingest()
    assert [bool(silences(inbox, psid)) for psid in "123"] == [False, True, True]
    assert "Write WEITER" in confirmations(inbox)[0][2]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_words_count_by_their_own_time_in_whatever_order_they_come(inbox, topics, order):
    words = ["stop{}", "start{}", "stop{}"]
    start = NOW - timedelta(hours=1)
    for n in order:
        at = start + timedelta(minutes=n)
        inbox.put(body(message(words[n].format(""), at=at), message(words[n].format(" sale"), at=at, psid="3003")))
        inbox.ingest()
    assert (silences(inbox), silences(inbox, "3003")) == (ALL, [("sale", "stop_word")])
    assert inbox.value("SELECT min(since) FROM otn.suppression") == start + timedelta(minutes=2)
    for psid, rest in (("2002", ""), ("3003", " sale")):
        inbox.put(body(message(f"start{rest}", at=NOW, psid=psid)))
        inbox.put(body(message(f"stop{rest}", at=NOW - timedelta(days=1), psid=psid)))
    inbox.ingest()
    assert (silences(inbox), silences(inbox, "3003")) == ([], [])


def test_start_lifts_all_and_start_with_a_topic_that_topic(inbox, topics):
    def say(text, minutes):
        inbox.put(body(message(text, at=NOW - timedelta(minutes=30 - minutes))))
        inbox.ingest()
        return [key for key, _ in silences(inbox)]

    assert say("stop sale", 0) == ["sale"]
    assert say("stop news", 1) == ["news", "sale"]
    assert say("start sale", 2) == ["news"]
    assert say("stop", 3) == ["news", None]
    # One topic cannot be started out of a silence about everything, and the person is told so.
    assert say("start news", 4) == [None]
    assert confirmations(inbox)[-1][2].startswith("You will get no more messages from us.")
    assert say("stop sale", 5) == ["sale", None]
    assert say("start", 6) == []
    assert confirmations(inbox)[-1][2] == "You can get messages from us again. Write STOP to end them."


@pytest.mark.parametrize("kept", ["operator", "erased"])
def test_a_start_word_lifts_only_what_a_stop_word_did(inbox, kept):
    inbox.put(body(message("hi")))
    inbox.ingest()
    inbox.rows("INSERT INTO otn.suppression (subscriber_id, reason) SELECT id, %s FROM otn.subscriber", kept)
    inbox.put(body(message("stop", at=NOW - timedelta(hours=1))), body(message("start")))
    inbox.ingest()
    assert silences(inbox) == [(None, kept)]


def test_what_an_operator_lifted_is_not_brought_back_by_another_word(inbox, topics):
    inbox.put(body(message("stop", at=NOW - timedelta(hours=1))))
    inbox.ingest()
    inbox.rows("DELETE FROM otn.suppression")
    inbox.put(body(message("stop sale")))
    inbox.ingest()
    assert silences(inbox) == [("sale", "stop_word")]


def test_a_stop_takes_back_consents_before_it_and_none_after(inbox, topics):
    for n, minutes in enumerate((30, 10)):
        inbox.put(body(optin(f"t{n}", at=NOW - timedelta(minutes=minutes))))
    inbox.put(body(message("stop", at=NOW - timedelta(minutes=20))))
    inbox.ingest()
    silenced = "SELECT otn.silenced(subscriber_id, topic_id, opted_in_at) FROM otn.token ORDER BY opted_in_at"
    assert [row.silenced for row in inbox.rows(silenced)] == [True, False]
    inbox.put(body(message("stop news", at=NOW)))
    inbox.ingest()
    assert [row.silenced for row in inbox.rows(silenced)] == [True, False]


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
    assert silences(inbox) == []


def test_each_word_is_confirmed_once_in_the_language_of_the_word(inbox, topics):
    raw = [body(message("Abmelden", mid="m1", at=NOW - timedelta(minutes=3))), body(message("stop big sale", mid="m2"))]
    for _ in range(2):
        inbox.put(*raw)
        inbox.ingest()
    german, english = confirmations(inbox)
    assert german == (
        "waiting",
        None,
        "Du bekommst keine Nachrichten mehr von uns. Schreib ANMELDEN, um wieder welche zu bekommen.",
    )
    # Everything is stopped, and that is what is said.
    assert english[2] == "You will get no more messages from us. Write START to get them again."


def test_a_topic_is_named_by_its_title_and_no_name_becomes_a_template(inbox, topics, page):
    inbox.rows(
        "INSERT INTO otn.topic (page_id, key, payload, title, registered_at)"
        " VALUES (%s, 'odd', 'p', '{{%% x %%}} {0}', now())",
        page.id,
    )
    inbox.put(body(message("stop sale", psid="1"), message("STOP {{% x %}} {0}", psid="2")))
    inbox.ingest()
    texts = {text for _, _, text in confirmations(inbox)}
    assert "You will get no more messages about “Big Sale!”. Write START Big Sale! to get them again." in texts
    (odd,) = [text for text in texts if "Big Sale!" not in text]
    assert compile_message({"text": odd}).render({}) == {"text": odd}


def test_the_locale_decides_between_languages_that_share_a_word(inbox):
    inbox.put(body(*(message("hello", psid=psid) for psid in "123")))
    inbox.ingest()
    inbox.rows("UPDATE otn.subscriber SET locale = 'ja_JP' WHERE psid = '1'")
    inbox.rows("UPDATE otn.subscriber SET locale = 'zh_HK' WHERE psid = '2'")
    inbox.put(body(*(message("停止", psid=psid, at=NOW + timedelta(seconds=int(psid))) for psid in "123")))
    inbox.ingest()
    japanese, traditional, simplified = (text for _, _, text in confirmations(inbox))
    assert ("当ページ" in japanese, "訊息" in traditional, "消息" in simplified) == (True, True, True)


def test_start_of_somebody_who_never_stopped_is_just_a_word(inbox):
    inbox.put(body(message("start")))
    inbox.ingest()
    assert (confirmations(inbox), silences(inbox)) == ([], [])


def test_a_word_overtaken_in_the_same_slice_is_not_confirmed(inbox):
    inbox.put(body(message("stop", at=NOW - timedelta(minutes=1)), message("start", at=NOW)))
    inbox.ingest()
    stop, start = confirmations(inbox)
    assert stop == ("skipped", "overtaken", None)
    assert start[0] == "waiting"
    assert start[2].startswith("You can get messages")


def test_a_word_that_comes_too_late_is_obeyed_and_not_confirmed(inbox):
    inbox.put(body(message("stop", at=NOW - timedelta(hours=25))))
    inbox.ingest()
    assert confirmations(inbox) == [("skipped", "window_closed", None)]
    assert silences(inbox) == ALL


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.code)
def test_every_language_names_words_that_work_in_texts_that_can_be_sent(language):
    words = read_words({})
    listed = [[word.strip() for word in text.split(",")] for text in (language.stop, language.start)]
    for meaning, named in zip(("stop_word", "start_word"), listed, strict=True):
        assert [words.meaning(word) for word in named] == [meaning] * len(named)
        assert words.meaning(named[0].upper()) == meaning
        heard = Heard(meaning, named[0])
        for topic in (None, "Back in stock"):
            for silent in (True, False):
                text = words.answer(heard, f"{language.code}_XX", topic, silent=silent)
                assert message_text(text)
                assert "{" not in text
                assert (topic or "") in text
                wanted = listed[silent][0].upper() + (f" {topic}" if topic else "")
                assert wanted in text


def test_ours_has_no_word_twice_in_both_meanings():
    words = read_words({})
    assert not words.stop & words.start
    assert len(words.stop) > 100
    assert words.naming("停止して") == [(Heard("stop_word", "停止"), "して")]
