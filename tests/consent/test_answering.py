"""From events to answers: one an event at most, only where it may still be sent, and never twice."""

from __future__ import annotations

import json
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from otn.intake import answering
from otn.intake.ingest import reingest_day
from otn.intake.quarantine import replay
from tests.clean import database, emptied_url  # noqa: F401 - fixtures
from tests.consent.inbox import NOW, PAGE, body, item, message, optin

AGO = NOW - timedelta(minutes=5)


@pytest.fixture
def topic(inbox, page):
    """A registered topic, without thanks."""
    (row,) = inbox.rows(
        "INSERT INTO otn.topic (page_id, key, title, payload, registered_at)"
        " VALUES (%s, 'sale', 'Big sale', 'sale', now()) RETURNING id",
        page.id,
    )
    return row.id


@pytest.fixture
def rule(inbox, page, topic):
    """Adds a rule; its topic is the one above unless it has none."""

    def add(trigger, pattern=None, *, card=True, message=None, **columns):
        values = {
            "page_id": page.id,
            "key": uuid.uuid4().hex,
            "trigger": trigger,
            "pattern": pattern,
            "topic_id": topic if card else None,
            "message": json.dumps(message) if message else None,
        } | columns
        names, places = ", ".join(values), ", ".join(["%s"] * len(values))
        (row,) = inbox.rows(f"INSERT INTO otn.rule ({names}) VALUES ({places}) RETURNING id", *values.values())
        return row.id

    return add


def answers(inbox):
    return inbox.rows(
        "SELECT w.*, e.occurred_at FROM otn.window_message w LEFT JOIN otn.event e ON e.id = w.event_id ORDER BY w.id"
    )


def states(inbox):
    return [(row.state, row.reason) for row in answers(inbox)]


def card(payload="sale"):
    return {
        "attachment": {
            "type": "template",
            "payload": {"template_type": "one_time_notif_req", "title": "Big sale", "payload": payload},
        }
    }


def test_a_word_is_answered_with_the_card_of_its_rule_once(inbox, rule, topic):
    number = rule("word", "restock")
    raw = body(message("Restock!", at=AGO, mid="m1"))
    inbox.put(raw, raw)
    inbox.ingest()
    inbox.put(raw)
    inbox.ingest()
    reingest_day(inbox.database, inbox.keyring, NOW.date())
    (row,) = answers(inbox)
    assert (row.state, row.cause, row.card, row.message, row.rule_id) == ("waiting", "rule", True, card(), number)
    assert (row.topic_id, row.ref, row.not_after) == (topic, None, AGO + timedelta(hours=24))


@pytest.mark.parametrize(
    ("trigger", "pattern", "content", "ref"),
    [
        ("postback", "BUY", {"postback": {"title": "Buy", "payload": "BUY", "mid": "m"}}, None),
        ("postback", "BUY", {"message": {"mid": "m", "text": "Buy", "quick_reply": {"payload": "BUY"}}}, None),
        ("get_started", None, {"postback": {"title": "Get Started", "payload": "GET_STARTED"}}, None),
        ("referral", "shoes", {"referral": {"ref": "shoes:red", "source": "SHORTLINK", "type": "OPEN_THREAD"}}, "red"),
        ("referral", "shoes", {"postback": {"payload": "GET_STARTED", "referral": {"ref": "shoes"}}}, None),
        ("any", None, {"message": {"mid": "m", "text": "whatever"}}, None),
    ],
)
def test_each_kind_of_event_finds_its_rule(inbox, rule, trigger, pattern, content, ref):
    rule(trigger, pattern)
    inbox.put(body(item(at=AGO, **content)))
    inbox.ingest()
    (row,) = answers(inbox)
    payload = json.dumps({"topic": "sale", "ref": ref}, separators=(",", ":")) if ref else "sale"
    assert (row.state, row.message, row.ref) == ("waiting", card(payload), ref)


def test_a_reaction_to_a_campaign_message_is_answered_and_taking_it_back_is_not(inbox, page, rule, topic):
    rule("reaction", "spring")
    inbox.put(body(optin("a"), optin("b", psid="3003")))
    inbox.ingest()
    inbox.rows(
        "INSERT INTO otn.campaign (page_id, topic_id, key, state, message, content_hash, needs_approval, planned_at,"
        " chunks) VALUES (%s, %s, 'spring', 'sending', '{}', sha256(''), false, now(), 1)",
        page.id,
        topic,
    )
    inbox.rows(
        "INSERT INTO otn.recipient (campaign_id, subscriber_id, token_id, chunk, state, attempts, attempt_id, evidence,"
        " message_id, sent_at) SELECT c.id, t.subscriber_id, t.id, 1, 'sent', 1, gen_random_uuid(), 'answer',"
        " 'm_' || t.subscriber_id, now() FROM otn.token t, otn.campaign c"
    )
    mid = inbox.value(
        "SELECT message_id FROM otn.recipient r JOIN otn.subscriber s ON s.id = r.subscriber_id WHERE s.psid = '2002'"
    )
    for action, psid, to in (
        ("react", "2002", mid),
        ("unreact", "2002", mid),
        ("react", "3003", mid),
        ("react", "2002", "x"),
    ):
        inbox.put(body(item(psid=psid, at=AGO, reaction={"mid": to, "action": action, "reaction": "love"})))
    inbox.ingest()
    # The token of the opt-in was spent: the card goes out again, once, to whoever got that message.
    (row,) = answers(inbox)
    assert (row.state, row.card) == ("waiting", True)


def test_thanks_go_to_each_new_opt_in_of_a_topic_that_has_some(inbox, topic):
    inbox.rows("""UPDATE otn.topic SET reply = '{"text": "Thank you, {{ first_name | default(\\"friend\\") }}!"}'""")
    raw = body(optin("a", at=AGO), optin("b", at=NOW, psid="3003"), optin("c", "other"))
    inbox.put(body(message("hi", at=AGO - timedelta(minutes=1))))
    inbox.put(raw, raw)
    inbox.ingest()
    inbox.put(raw)
    inbox.ingest()
    first, second = answers(inbox)
    assert (first.cause, first.card, first.topic_id, first.state) == ("opt_in", False, topic, "waiting")
    assert first.message == second.message == {"text": 'Thank you, {{ first_name | default("friend") }}!'}
    # The tap itself may not open the window: that of the last message counts, or an hour where none is known.
    assert first.not_after == AGO - timedelta(minutes=1) + timedelta(hours=24)
    assert second.not_after == NOW + timedelta(hours=1)


def test_an_answer_that_comes_too_late_is_not_sent(inbox, rule, topic):
    rule("word", "restock")
    inbox.rows("""UPDATE otn.topic SET reply = '{"text": "thanks"}'""")
    inbox.put(
        body(message("restock", at=NOW - timedelta(hours=24, seconds=1)), optin("a", at=NOW - timedelta(hours=25)))
    )
    inbox.ingest()
    assert states(inbox) == [("skipped", "window_closed")] * 2
    assert {row.message for row in answers(inbox)} == {None}


def test_what_reingest_finds_for_the_first_time_is_answered_while_the_window_is_open(inbox, rule):
    inbox.put(body(message("restock", at=AGO)), body(message("restock", psid="3", at=NOW - timedelta(hours=30))))
    inbox.ingest()
    rule("word", "restock")
    reingest_day(inbox.database, inbox.keyring, NOW.date())
    assert states(inbox) == []  # known events are answered by no rule made since
    inbox.rows("DELETE FROM otn.event")
    for _ in range(2):
        reingest_day(inbox.database, inbox.keyring, NOW.date())
        assert sorted(states(inbox)) == [("skipped", "window_closed"), ("waiting", None)]


def test_a_replayed_item_is_answered_like_any_other(inbox, rule):
    rule("word", "restock")
    inbox.put(body(message("restock", page="1002"), page="1002"))
    assert inbox.ingest().quarantined == 1
    inbox.rows("UPDATE otn.page SET page_id = '1002'")
    for _ in range(2):
        replay(inbox.database, inbox.keyring)
    assert states(inbox) == [("waiting", None)]


@pytest.mark.parametrize("said_first", [True, False])
def test_nobody_is_answered_who_stopped_after_what_they_said(inbox, rule, said_first):
    rule("word", "restock")
    stop = AGO + timedelta(minutes=1) if said_first else AGO - timedelta(minutes=1)
    inbox.put(body(message("restock", at=AGO), message("stop sale", at=stop)))
    inbox.ingest()
    (row,) = [row for row in answers(inbox) if row.cause == "rule"]
    assert (row.state, row.reason) == (("skipped", "suppressed") if said_first else ("waiting", None))


def test_an_operators_objection_silences_answers_but_no_confirmation(inbox, rule):
    rule("any", card=False, message={"text": "hello"})
    inbox.put(body(message("hi", at=AGO - timedelta(minutes=1))))
    inbox.ingest()
    inbox.rows("INSERT INTO otn.suppression (subscriber_id, reason) SELECT id, 'operator' FROM otn.subscriber")
    inbox.put(body(message("hi", at=AGO), message("stop", at=NOW)))
    inbox.ingest()
    assert states(inbox) == [("waiting", None), ("skipped", "suppressed"), ("waiting", None)]


def test_nobody_is_told_that_messages_come_again_while_an_operator_objects(inbox):
    inbox.rows("INSERT INTO otn.subscriber (page_id, psid) SELECT id, '2002' FROM otn.page")
    inbox.rows("INSERT INTO otn.suppression (subscriber_id, reason) SELECT id, 'operator' FROM otn.subscriber")
    inbox.put(body(message("stop", at=AGO), message("start", at=NOW)))
    inbox.ingest(slice_size=1)
    assert states(inbox)[-1] == ("skipped", "suppressed")


@pytest.mark.parametrize("text", ["stop", "hello"])
def test_one_persons_flood_is_read_once_and_not_once_a_message(inbox, rule, text):
    rule("any", card=False, message={"text": "hello"})
    inbox.put(body(*(message(text, at=AGO + timedelta(milliseconds=n), mid=f"a{n}") for n in range(300))))
    inbox.ingest()
    inbox.put(body(*(message(text, at=NOW + timedelta(milliseconds=n), mid=f"b{n}") for n in range(300))))
    read = []

    def count(conn, _):
        with conn.cursor() as cursor:
            cursor.execute(
                "CREATE FUNCTION pg_temp.rows_read() RETURNS bigint LANGUAGE sql AS $$"
                " SELECT sum(idx_tup_fetch + seq_tup_read)::bigint FROM pg_stat_xact_user_tables"
                " WHERE schemaname = 'otn' AND relname IN ('event', 'window_message') $$"
            )

    put = answering._put

    def counted(conn, given):
        put(conn, given)
        with conn.cursor() as cursor:
            cursor.execute("SELECT pg_temp.rows_read()")
            read.append(cursor.fetchone()[0])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answering, "_put", counted)
        inbox.ingest(on_events=count)
    assert len(answers(inbox)) == 600
    assert 600 <= read[0] < 20 * 600


def test_a_stop_word_is_answered_by_no_rule(inbox, rule):
    rule("any", card=False, message={"text": "hello"})
    inbox.put(body(message("stop", mid="m")))
    inbox.ingest()
    (row,) = answers(inbox)
    assert row.cause == "stop"
    inbox.put(body(message("start", psid="3003")))
    inbox.ingest()
    assert [row.cause for row in answers(inbox)] == ["stop", "rule"]


def test_a_holder_of_enough_tokens_gets_the_message_instead_or_nothing(inbox, rule):
    rule("word", "restock")
    rule("word", "sale", message={"text": "You are on the list."})
    rule("word", "more", stock=2)
    inbox.put(body(optin("a", at=AGO)))
    inbox.ingest()
    for word in ("restock", "sale", "more"):
        inbox.put(body(message(word, at=AGO)))
        inbox.ingest()
    held, instead, more = answers(inbox)
    assert (held.state, held.reason, held.card) == ("skipped", "has_token", True)
    assert (instead.state, instead.card, instead.topic_id) == ("waiting", False, None)
    assert instead.message == {"text": "You are on the list."}
    assert (more.state, more.card) == ("waiting", True)


@pytest.mark.parametrize("gone", ["expired", "wiped", "stopped"])
def test_a_token_that_is_worth_nothing_is_no_stock(inbox, rule, gone):
    rule("word", "restock")
    inbox.put(body(optin("a", at=AGO - timedelta(days=364))))
    inbox.ingest()
    if gone == "stopped":
        inbox.put(body(message("stop", at=AGO - timedelta(hours=30))))
        inbox.ingest()
    elif gone == "wiped":
        inbox.rows("UPDATE otn.token SET token_encrypted = NULL, wiped_at = now()")
    else:
        inbox.rows("UPDATE otn.token SET expires_at = now()")
    inbox.put(body(message("restock", at=AGO)))
    inbox.ingest()
    assert states(inbox)[-1] == ("waiting", None)


def test_a_token_of_another_reference_is_no_stock_of_this_one(inbox, rule):
    rule("referral", "shoes")
    inbox.put(body(optin("a", '{"topic":"sale","ref":"red"}', at=AGO)))
    inbox.ingest()
    for ref in ("shoes:red", "shoes:blue"):
        inbox.put(body(item(at=AGO, referral={"ref": ref})))
    inbox.ingest()
    assert {row.ref: (row.state, row.reason) for row in answers(inbox)} == {
        "red": ("skipped", "has_token"),
        "blue": ("waiting", None),
    }


def test_who_hammers_a_word_gets_one_card_in_an_hour(inbox, rule):
    rule("word", "restock")
    inbox.put(*(body(message("restock", at=AGO + timedelta(seconds=n), mid=f"m{n}")) for n in range(5)))
    inbox.ingest(slice_size=2)
    assert states(inbox) == [("waiting", None)] + [("skipped", "asked_already")] * 4
    first = answers(inbox)[0]
    assert first.occurred_at == min(row.occurred_at for row in answers(inbox)[:2])
    inbox.rows("UPDATE otn.window_message SET created_at = created_at - interval '61 minutes'")
    inbox.put(body(message("restock", at=NOW - timedelta(seconds=1))))
    inbox.ingest()
    assert states(inbox)[-1] == ("skipped", "asked_already"), "a card that still waits is on its way"
    inbox.rows(
        "UPDATE otn.window_message SET state = 'sent', attempts = 1, attempt_id = gen_random_uuid(), message_id = 'm',"
        " evidence = 'answer', called_at = now() - interval '61 minutes', sent_at = now() - interval '61 minutes'"
        " WHERE state = 'waiting'"
    )
    inbox.put(body(message("restock", at=NOW)))
    inbox.ingest()
    assert states(inbox)[-1] == ("waiting", None)


def test_two_ingests_at_once_give_one_card(inbox, rule):
    rule("word", "restock")
    inbox.put(*(body(message("restock", at=AGO + timedelta(seconds=n % 3), mid=f"m{n}")) for n in range(24)))
    start = threading.Barrier(3)

    def run(_):
        start.wait(10)
        return inbox.ingest(slice_size=2)

    with ThreadPoolExecutor(3) as threads:
        assert sum(balance.ingested for balance in threads.map(run, range(3))) == 24
    assert sorted(states(inbox), key=str) == sorted([("waiting", None)] + [("skipped", "asked_already")] * 23, key=str)


def test_a_flood_is_answered_twenty_times_an_hour(inbox, rule):
    rule("any", card=False, message={"text": "hello"})
    inbox.put(*(body(message(f"{n}", at=AGO + timedelta(seconds=n))) for n in range(24)))
    inbox.put(body(message("hi", psid="3003")))
    inbox.ingest(slice_size=15)
    reasons = [reason for _, reason in states(inbox)]
    assert (reasons.count(None), reasons.count("flood")) == (answering.FLOOD + 1, 4)


def test_a_rule_that_was_removed_meanwhile_answers_nothing(inbox, rule, monkeypatch):
    rule("word", "restock")
    load = answering.rules.load

    def load_and_remove(conn):
        book = load(conn)
        inbox.rows("DELETE FROM otn.rule")
        return book

    monkeypatch.setattr(answering.rules, "load", load_and_remove)
    inbox.put(body(message("restock")))
    assert inbox.ingest().ingested == 1
    assert answers(inbox) == []


def test_a_body_whose_answers_fail_is_stored_without_them(inbox, rule, monkeypatch):
    rule("word", "restock")
    put = answering._put

    def fail(conn, given):
        put(conn, given)
        if len(given) != 1:
            return
        with conn.cursor() as cursor:
            cursor.execute(
                "SELECT 1 / (count(*) FILTER (WHERE psid <> '666')) FROM otn.subscriber s"
                " JOIN otn.event e ON e.subscriber_id = s.id WHERE e.id = %s",
                (given[0].event_id,),
            )

    monkeypatch.setattr(answering, "_put", fail)
    inbox.put(body(message("restock", psid="666"), optin("kept", psid="666")))
    inbox.put(body(message("restock", at=AGO)))
    assert inbox.ingest(slice_size=1).optins_new == 1
    assert (inbox.tokens(), states(inbox)) == ({"kept"}, [("waiting", None)])


def test_the_erased_are_not_answered(inbox, rule):
    rule("any", card=False, message={"text": "hello"})
    inbox.rows("INSERT INTO otn.tombstone (psid_hash) VALUES (%s)", inbox.keyring.digest("psid", PAGE, "2002"))
    inbox.put(body(message("hi"), message("stop")))
    inbox.ingest()
    assert answers(inbox) == []


def test_a_reference_that_no_card_can_carry_is_left_out_of_it(inbox, rule):
    rule("referral", "shoes")
    inbox.put(body(item(at=AGO, referral={"ref": "shoes:" + "r" * 5000})))
    inbox.ingest()
    (row,) = answers(inbox)
    assert (row.state, row.ref, row.message) == ("waiting", None, card())
