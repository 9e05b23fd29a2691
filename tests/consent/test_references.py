"""What an opt-in brings: the topic behind its payload, a reference, labels."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from otn.consent import adoption, pages, topics
from otn.consent.reference import pack
from otn.database import transaction
from otn.intake.ingest import reingest_day
from tests.clean import database, emptied_url  # noqa: F401 - fixtures
from tests.consent.inbox import NOW, body, item, message, optin


@pytest.fixture
def sale(inbox, page):
    with transaction(inbox.database) as conn:
        return topics.add(conn, page, "sale", "Big sale")


def met(inbox):
    """Payload of the topic, and reference, of each token."""
    return sorted(
        (row.payload, row.ref or "")
        for row in inbox.rows("SELECT t.payload, k.ref FROM otn.token k JOIN otn.topic t ON t.id = k.topic_id")
    )


@pytest.mark.parametrize(
    ("payload", "topic", "ref"),
    [
        (pack("sale", "red shoes"), "sale", "red shoes"),
        (pack("sale", None), "sale", ""),
        ('{"topic": "sale", "ref": 42}', "sale", "42"),
        ('{"topic": "sale"}', "sale", ""),
        (pack("news", "x"), "news", "x"),
        ('{"topic":"","ref":"x"}', "", "x"),
        ('{"topic":"sale","ref":"x","more":1}', '{"topic":"sale","ref":"x","more":1}', ""),
        ('{"topic":"sale","ref":["x"]}', '{"topic":"sale","ref":["x"]}', ""),
        ('{"topic":"sale","ref":"' + "r" * 201 + '"}', '{"topic":"sale","ref":"' + "r" * 201 + '"}', ""),
        ('{"topic":"sa', '{"topic":"sa', ""),
        ("[" * 5000, "[" * 5000, None),
        ('{"topic":"p\\u0000\\ud800","ref":"r\\u0000\\ud800"}', "p\\u0000\\ud800", "r\\u0000\\ud800"),
        (json.dumps({"topic": "🔔\t\\N", "ref": "🔔\t\\N"}), "🔔\t\\N", "🔔\t\\N"),
    ],
)
def test_a_payload_is_read_as_topic_and_reference_or_kept_word_for_word(inbox, sale, payload, topic, ref):
    inbox.put(body(optin("a", payload)))
    assert inbox.ingest().optins_new == 1
    ((found, found_ref),) = met(inbox)
    if ref is not None:
        assert (found, found_ref) == (topic, ref)
    assert len(found.encode()) <= 2000


def test_a_registered_payload_is_never_taken_apart(inbox, sale):
    whole = pack("sale", "x")
    inbox.rows(
        "INSERT INTO otn.topic (page_id, key, title, payload, registered_at) VALUES (%s, 'whole', 'Whole', %s, now())",
        sale.page_id,
        whole,
    )
    inbox.put(body(optin("a", whole), optin("b", pack("sale", "y"))))
    inbox.ingest()
    assert met(inbox) == [("sale", "y"), (whole, "")]


def test_one_that_was_only_met_before_references_were_known_is(inbox, sale):
    whole = pack("sale", "x")
    inbox.rows("INSERT INTO otn.topic (page_id, key, payload) VALUES (%s, 'old', %s)", sale.page_id, whole)
    inbox.put(body(optin("a", whole)))
    inbox.ingest()
    assert met(inbox) == [("sale", "x")]


def test_many_references_make_one_topic(inbox):
    inbox.put(body(*(optin(f"t{n}", pack("news", f"r{n % 7}"), psid=f"{n}") for n in range(50))))
    assert inbox.ingest().optins_new == 50
    assert inbox.counts()["topic"] == 1
    assert inbox.value("SELECT count(DISTINCT ref) FROM otn.token") == 7


def test_opt_ins_follow_an_adoption(inbox, page, sale):
    inbox.put(body(optin("a", "SALE "), optin("b", pack("SALE ", "x"))))
    inbox.ingest()
    assert met(inbox) == [("SALE ", ""), ("SALE ", "x")]
    inbox.rows("""UPDATE otn.topic SET labels = '{buyer}', reply = '{"text": "thanks"}' WHERE id = %s""", sale.id)
    with transaction(inbox.database) as conn:
        assert adoption.adopt(conn, page, "SALE ", "sale", actor="test").opt_ins == 2
    inbox.put(body(optin("c", "SALE "), optin("d", pack("SALE ", "y"))))
    assert inbox.ingest().optins_new == 2
    assert met(inbox) == [("sale", ""), ("sale", ""), ("sale", "x"), ("sale", "y")]
    # What the adopter does for whoever opts in holds for them too.
    assert inbox.value("SELECT labels FROM otn.subscriber") == ["buyer"]
    assert inbox.value("SELECT count(*) FROM otn.window_message WHERE cause = 'opt_in'") == 2
    reingest_day(inbox.database, inbox.keyring, NOW.date())
    assert len(met(inbox)) == 4


def test_an_adoption_waits_for_an_ingest_and_finds_its_opt_ins(inbox, page, sale):
    from concurrent.futures import ThreadPoolExecutor

    inbox.put(body(optin("a", "SALE ")))
    inbox.ingest()
    inbox.put(body(optin("b", "SALE ")))

    def adopt():
        with transaction(inbox.database) as conn:
            return adoption.adopt(conn, page, "SALE ", "sale", actor="test").opt_ins

    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with ThreadPoolExecutor(1) as threads:
        other = []

        def adopt_meanwhile(_conn, _event_ids):
            other.append(threads.submit(adopt))
            while not other[0].done() and not inbox.value(waiting):
                pass

        inbox.ingest(on_events=adopt_meanwhile)
        assert other[0].result(20) == 2
    assert met(inbox) == [("sale", ""), ("sale", "")]


def test_labels_come_with_new_opt_ins_each_once_and_never_again(inbox, page, sale):
    inbox.rows('UPDATE otn.topic SET labels = \'{buyer, vip, "a b,\\"{}"}\' WHERE id = %s', sale.id)
    raw = body(optin("a", "sale"), optin("b", "sale"), optin("c", "sale", psid="3003"), optin("d", "x", psid="4004"))
    inbox.put(body(message("hi"), message("hi", psid="3003")))
    inbox.ingest()
    inbox.rows("UPDATE otn.subscriber SET labels = '{vip, old}' WHERE psid = '3003'")
    inbox.put(raw)
    inbox.ingest()
    rows = {row.psid: row.labels for row in inbox.rows("SELECT psid, labels FROM otn.subscriber")}
    assert rows == {"2002": ['a b,"{}', "buyer", "vip"], "3003": ["vip", "old", 'a b,"{}', "buyer"], "4004": []}
    # Taken away by somebody, they are not brought back by the same opt-in.
    inbox.rows("UPDATE otn.subscriber SET labels = '{}'")
    inbox.put(raw)
    inbox.ingest()
    reingest_day(inbox.database, inbox.keyring, NOW.date())
    assert inbox.value("SELECT count(*) FROM otn.subscriber WHERE labels <> '{}'") == 0
    inbox.put(body(optin("e", "sale")))
    inbox.ingest()
    assert inbox.value("SELECT labels FROM otn.subscriber WHERE psid = '2002'") == ['a b,"{}', "buyer", "vip"]


def test_the_ref_of_a_link_is_kept_with_its_event(inbox):
    inbox.put(
        body(
            item(referral={"ref": "spring", "source": "SHORTLINK", "type": "OPEN_THREAD"}),
            item(postback={"payload": "GET_STARTED", "referral": {"ref": "x" * 3000}}),
            message("hi"),
        )
    )
    inbox.ingest()
    refs = {row.kind: row.ref for row in inbox.rows("SELECT kind::text, ref FROM otn.event")}
    assert (refs["referral"], len(refs["postback"]), refs["message"]) == ("spring", 2000, None)


def test_a_text_that_was_taken_out_of_the_stored_body_leaves_the_same_event(inbox, page):
    def said(text):
        said = {"mid": "m_1"} | ({"text": text} if text else {})
        echo = item(message={"is_echo": True, "mid": "m_2"} | ({"text": text} if text else {}))
        return body(item(message=said), echo | {"sender": {"id": "1001"}, "recipient": {"id": "2002"}})

    inbox.rows(
        "INSERT INTO otn.rule (page_id, key, trigger, message) VALUES (%s, 'any', 'any', '{\"text\": \"hello\"}')",
        page.id,
    )
    (receipt,) = inbox.put(said("stop"))
    inbox.ingest()
    inbox.rows(
        "UPDATE otn.webhook_event SET body = %s WHERE id = %s", inbox.keyring.encrypt(said(None), "webhook"), receipt
    )
    before = inbox.counts()
    again = reingest_day(inbox.database, inbox.keyring, NOW.date())
    assert (again.received, again.ingested, inbox.counts()) == (2, 2, before)
    assert inbox.value("SELECT count(*) FROM otn.window_message") == 1
    assert inbox.value("SELECT count(*) FROM otn.event WHERE detail = 'stop_word'") == 1


def test_without_a_mid_the_text_tells_events_apart(inbox):
    at = NOW - timedelta(minutes=1)
    inbox.put(body(item(at=at, message={"text": "a"}), item(at=at, message={"text": "b"})))
    assert inbox.ingest().ingested == 2


def test_a_page_without_any_topic_of_that_name_meets_it_for_itself(inbox, sale):
    from tests.consent.inbox import page_settings

    with transaction(inbox.database) as conn:
        pages.register(conn, page_settings("1002", "second"))
    inbox.put(body(optin("a", pack("sale", "x"), page="1002"), page="1002"))
    assert inbox.ingest().optins_new == 1
    assert inbox.value("SELECT count(*) FROM otn.topic WHERE payload = 'sale'") == 2
