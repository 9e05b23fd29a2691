"""Pages and topics: registered once, refused with a sentence."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from otn.consent import pages, topics
from otn.consent.pages import PageConflictError, UnknownPageError
from otn.consent.topics import TopicConflictError, UnknownTopicError
from otn.database import transaction
from otn.errors import UsageError
from tests.clean import database, emptied_url
from tests.consent.inbox import NOW, body, optin, page_settings

__all__ = ["database", "emptied_url"]


def test_the_same_page_twice_is_one_page_and_a_name_may_change(database):
    with transaction(database) as conn:
        first = pages.register(conn, page_settings())
        assert pages.register(conn, page_settings()) == first
        assert pages.register(conn, page_settings(), "Shop").name == "Shop"
        assert pages.register(conn, page_settings()).name == "Shop"
        assert pages.listing(conn) == [pages.find(conn, "1001")] == [pages.find(conn, "messenger_default")]
        assert not first.halted


def test_a_connection_stands_for_one_page_and_a_page_has_one_connection(database):
    with transaction(database) as conn:
        pages.register(conn, page_settings("1001", "one"))
        with pytest.raises(PageConflictError, match="'one' is registered for page 1001, but its login names page 1002"):
            pages.register(conn, page_settings("1002", "one"))
        with pytest.raises(PageConflictError, match="Page 1001 is registered with the connection 'one'"):
            pages.register(conn, page_settings("1001", "two"))
        assert [page.page_id for page in pages.listing(conn)] == ["1001"]


def test_an_unknown_page_names_the_known_ones(database, page):
    with transaction(database) as conn, pytest.raises(UnknownPageError, match=r"messenger_default \(1001\)"):
        pages.find(conn, "messenger_defualt")


def test_a_page_registered_by_two_at_once_is_one_page(database):
    start = threading.Barrier(2)

    def register(_):
        with transaction(database) as conn:
            start.wait(10)
            return pages.register(conn, page_settings())

    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(register, range(2))
    assert first == second


def test_a_topic_has_its_key_as_payload_unless_told_otherwise(database, page):
    with transaction(database) as conn:
        topic = topics.add(conn, page, "sale", "Big sale")
        assert (topic.key, topic.title, topic.payload, topic.registered) == ("sale", "Big sale", "sale", True)
        assert topics.add(conn, page, "sale", "Big sale") == topic
        assert topics.add(conn, page, "sale", "Bigger sale").title == "Bigger sale"
        assert topics.add(conn, page, "news", "News", "NEWS").payload == "NEWS"
        assert topics.find(conn, page, "sale").id == topic.id


def test_a_topic_met_in_optins_is_adopted_with_them(inbox, database, page):
    inbox.put(body(optin("a", "SALE"), optin("b", "SALE"), optin("c", "other")))
    inbox.ingest()
    with transaction(database) as conn:
        (met,) = (row for row in topics.listing(conn) if row.payload == "SALE")
        assert (met.key, met.registered, met.opt_ins) == ("SALE", False, 2)
        adopted = topics.add(conn, page, "sale", "Big sale", "SALE")
        assert (adopted.id, adopted.key, adopted.registered) == (met.id, "sale", True)
        assert [row.key for row in topics.listing(conn)] == ["sale", "other"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("", "Title"), "cannot be a topic's key"),
        (("a\nb", "Title"), "cannot be a topic's key"),
        (("k" * 201, "Title"), "cannot be a topic's key"),
        (("key", ""), "Give 1 to 65"),
        (("key", "T" * 66), "The title has 66 characters. Give 1 to 65"),
        (("key", "T\x00"), "The title holds characters"),
        (("key", "Title", "p\x00"), "The payload is too long or holds"),
        (("key", "Title", "p" * 5000), "The payload is too long or holds"),
    ],
)
def test_what_cannot_be_a_topic_is_refused(database, page, arguments, sentence):
    with transaction(database) as conn:
        with pytest.raises(UsageError, match=sentence):
            topics.add(conn, page, *arguments)
        assert topics.listing(conn) == []


def test_a_title_of_65_characters_of_any_script_is_taken(database, page):
    with transaction(database) as conn:
        assert topics.add(conn, page, "key", "通" * 65).title == "通" * 65


def test_a_key_or_payload_of_another_topic_is_refused_and_nothing_changes(inbox, database, page):
    inbox.put(body(optin("a", "spring")))
    inbox.ingest()
    with transaction(database) as conn:
        topics.add(conn, page, "sale", "Sale", "SALE")
        before = topics.listing(conn)
        for arguments, sentence in (
            (("sale", "Sale", "OTHER"), "'sale' is registered with the payload 'SALE'"),
            (("other", "Sale", "SALE"), "'SALE' belongs to the topic 'sale' already"),
            (("spring", "Spring", "SPRING"), "'spring' stands for opt-ins that arrived with the payload 'spring'"),
            (("sale", "Sale", "spring"), "'sale' is registered with the payload 'SALE'"),
        ):
            with pytest.raises(TopicConflictError, match=sentence):
                topics.add(conn, page, *arguments)
        assert topics.listing(conn) == before


def test_an_unknown_topic_names_those_that_look_alike(database, page):
    with transaction(database) as conn:
        topics.add(conn, page, "spring-sale", "Sale")
        with pytest.raises(UnknownTopicError, match=r"no topic 'spring-sael' \(near: spring-sale\)"):
            topics.find(conn, page, "spring-sael")
        with pytest.raises(UnknownTopicError, match=r"\(known: spring-sale\)"):
            topics.find(conn, page, "zzz")


def test_every_optin_of_a_topic_is_counted_once(inbox, database, page):
    from datetime import timedelta

    ages = {"unspent": 10, "expiring": 350, "expired": 400, "waiting": 10, "sent": 10, "dead": 10, "given back": 10}
    for psid, days in ages.items():
        inbox.put(body(optin(psid, psid=psid, at=NOW - timedelta(days=days))))
    inbox.ingest()
    inbox.rows(
        """
        WITH c AS (
            INSERT INTO otn.campaign (page_id, topic_id, key, message, content_hash)
            SELECT page_id, id, 'c', '{}', decode(repeat('00', 32), 'hex') FROM otn.topic RETURNING id
        )
        INSERT INTO otn.recipient (campaign_id, subscriber_id, token_id, chunk, state, attempts, attempt_id, evidence,
                                   message_id, sent_at, error_code, token_dead, reason)
        SELECT c.id, s.id, k.id, 1,
               CASE psid WHEN 'waiting' THEN 'waiting' WHEN 'sent' THEN 'sent' WHEN 'dead' THEN 'refused'
                    ELSE 'skipped' END::otn.recipient_state,
               1, gen_random_uuid(),
               CASE psid WHEN 'sent' THEN 'answer'::otn.evidence END, CASE psid WHEN 'sent' THEN 'm' END,
               CASE psid WHEN 'sent' THEN now() END, CASE psid WHEN 'dead' THEN 100 END, psid = 'dead', 'r'
        FROM c, otn.subscriber s JOIN otn.token k ON k.subscriber_id = s.id
        WHERE psid IN ('waiting', 'sent', 'dead', 'given back')
        """
    )
    with transaction(database) as conn:
        (row,) = topics.listing(conn, page)
    assert (row.opt_ins, row.people, row.unspent, row.expiring) == (7, 7, 3, 1)
    assert (row.reserved, row.spent, row.expired) == (1, 2, 1)
    assert row.opt_ins == row.unspent + row.reserved + row.spent + row.expired


def test_reply_and_labels_are_kept_until_they_are_given_again(database, page):
    with transaction(database) as conn, conn.cursor() as cursor:
        first = topics.add(
            conn, page, "sale", "Sale", reply="Thanks {{ first_name }}!", labels=["b", "a", "b"], actor="x"
        )
        assert (first.reply, first.labels) == ({"text": "Thanks {{ first_name }}!"}, ["a", "b"])
        assert topics.add(conn, page, "sale", "Sale", actor="x") == first
        assert topics.add(conn, page, "sale", "Sale", labels=["c"], actor="x").labels == ["c"]
        bare = topics.add(conn, page, "sale", "Sale", reply={}, labels=[], actor="x")
        assert (bare.reply, bare.labels) == (None, [])
        cursor.execute("SELECT action FROM otn.audit ORDER BY id")
        assert [row.action for row in cursor.fetchall()] == ["topic_registered", "topic_changed", "topic_changed"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"reply": "{{ first_name"}, "The template is broken"),
        ({"reply": {"text": "x", "metadata": "m"}}, "metadata"),
        (
            {"reply": {"attachment": {"type": "template", "payload": {"template_type": "one_time_notif_req"}}}},
            "otn_ask",
        ),
        ({"labels": [" "]}, "label"),
        ({"labels": [f"l{n}" for n in range(101)]}, "100 labels on people at most"),
        ({"payload": '{"topic":"other","ref":"sku-1"}'}, "reads as a topic with a reference"),
    ],
    ids=range(6),
)
def test_a_reply_label_or_payload_that_would_fail_later_is_refused_now(database, page, options, sentence):
    with transaction(database) as conn:
        with pytest.raises(UsageError, match=sentence):
            topics.add(conn, page, "sale", "Sale", **options)
        assert topics.listing(conn) == []


def test_a_title_is_counted_as_messenger_may_count_it(database, page):
    with transaction(database) as conn:
        assert topics.add(conn, page, "few", "😀" * 32).title == "😀" * 32
        with pytest.raises(UsageError, match="The title has 66 characters"):
            topics.add(conn, page, "many", "😀" * 33)
        with pytest.raises(UsageError, match="cannot be stored"):
            topics.add(conn, page, "half", "\ud83d")
