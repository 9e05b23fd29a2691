"""Adoption: misspelt opt-ins find their topic, with their silence, whatever is written meanwhile."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from otn.campaign import control
from otn.campaign.model import CampaignSpec
from otn.consent import adoption, topics
from otn.consent.adoption import BusyError, adopt, looks_like, release
from otn.consent.reference import pack
from otn.consent.topics import TopicConflictError, UnknownTopicError
from otn.database import transaction
from tests.clean import database, emptied_url
from tests.consent.inbox import body, message, optin

__all__ = ["database", "emptied_url"]


@pytest.fixture
def sale(database, page):
    with transaction(database) as conn:
        return topics.add(conn, page, "sale", "Summer sale", "SUMMER-SALE")


def give(database, page, payload, key="sale"):
    with transaction(database) as conn:
        return adopt(conn, page, payload, key, actor="test")


def owners(inbox):
    """Key of the topic → how many tokens it has."""
    found = inbox.rows("SELECT t.key, count(*) FROM otn.token k JOIN otn.topic t ON t.id = k.topic_id GROUP BY t.key")
    return {row.key: row.count for row in found}


def test_what_looks_like_a_topic_is_pointed_out(inbox, database, page, sale):
    payloads = [
        "summer-sale",
        " SUMMER SALE ",
        "SummerSale!",
        "sale.",
        pack("Summer_Sale", "sku-1"),
        "winter-sale",
        "?",
        "",
    ]
    for place, payload in enumerate(payloads):
        inbox.put(body(optin(f"t{place}", payload)))
    inbox.ingest()
    with transaction(database) as conn:
        found = topics.listing(conn)
    alike = looks_like(found)
    assert set(alike.values()) == {"sale"}
    assert {one.payload for one in found if one.id in alike} >= {"summer-sale", " SUMMER SALE ", "SummerSale!", "sale."}
    assert not {one.payload for one in found if one.id in alike} & {"winter-sale", "?", "", "SUMMER-SALE"}


def test_opt_ins_move_and_later_ones_follow(inbox, database, page, sale):
    inbox.put(body(optin("a", "summer sale"), optin("b", "summer sale", psid="3"), optin("c", "SUMMER-SALE")))
    inbox.ingest()
    assert give(database, page, "summer sale").opt_ins == 2
    assert give(database, page, "summer sale").opt_ins == 0
    inbox.put(body(optin("d", "summer sale")))
    inbox.ingest()
    assert owners(inbox) == {"sale": 4}
    assert inbox.value("SELECT count(*) FROM otn.audit WHERE action = 'opt_ins_adopted'") == 1
    with transaction(database) as conn:
        counts = {one.payload: one for one in topics.listing(conn)}
        assert (counts["SUMMER-SALE"].opt_ins, counts["summer sale"].adopted_by) == (4, "sale")
        assert looks_like(counts.values()) == {}
        with pytest.raises(UnknownTopicError, match="were adopted by another topic"):
            topics.find(conn, page, "summer sale")
        with pytest.raises(TopicConflictError, match="Release the payload first"):
            topics.add(conn, page, "summer sale", "Summer sale")


def test_a_payload_that_held_a_reference_gives_it_to_its_tokens(inbox, database, page, sale):
    packed = pack("summer-sale", "sku-1")
    with transaction(database) as conn, conn.cursor() as cursor:
        # Met before references were read.
        cursor.execute("INSERT INTO otn.topic (page_id, key, payload) VALUES (%s, 'old', %s)", (page.id, packed))
        cursor.execute("INSERT INTO otn.subscriber (page_id, psid) VALUES (%s, '2002') RETURNING id", (page.id,))
        cursor.execute(
            "INSERT INTO otn.token (subscriber_id, topic_id, token_hash, token_encrypted, opted_in_at, expires_at)"
            " SELECT %s, max(id), sha256('x'), 'x', now(), now() + interval '1 year' FROM otn.topic",
            (cursor.fetchone().id,),
        )
    assert give(database, page, "old").opt_ins == 1
    assert [tuple(row) for row in inbox.rows("SELECT topic_id, ref FROM otn.token")] == [(sale.id, "sku-1")]


def test_whoever_stopped_the_misspelt_topic_stays_silent(inbox, database, page, sale):
    inbox.put(body(optin("a", "summersale")))
    inbox.ingest()
    inbox.put(body(message("STOP summersale")))
    inbox.ingest()
    inbox.rows(
        "INSERT INTO otn.suppression (subscriber_id, topic_id, reason, since)"
        " SELECT id, %s, 'stop_word', 'yesterday' FROM otn.subscriber",
        sale.id,
    )
    give(database, page, "summersale")
    (silence,) = inbox.rows("SELECT since > 'yesterday' AS later FROM otn.suppression WHERE topic_id = %s", sale.id)
    assert silence.later
    assert inbox.value("SELECT otn.silenced(subscriber_id, topic_id, opted_in_at) FROM otn.token")


def test_a_released_payload_is_kept_apart_again_from_then_on(inbox, database, page, sale):
    inbox.put(body(optin("a", "summer sale")))
    inbox.ingest()
    give(database, page, "summer sale")
    with transaction(database) as conn:
        assert release(conn, page, "summer sale", actor="test") == "summer sale"
        with pytest.raises(UnknownTopicError, match="No topic has adopted"):
            release(conn, page, "summer sale", actor="test")
    inbox.put(body(optin("b", "summer sale")))
    inbox.ingest()
    assert owners(inbox) == {"sale": 1, "summer sale": 1}


def test_what_cannot_be_adopted_is_refused_and_nothing_moves(inbox, database, page, sale):
    inbox.put(body(optin("a", "summer sale"), optin("b", "winter")))
    inbox.ingest()
    with transaction(database) as conn:
        topics.add(conn, page, "other", "Other")
    for payload, key, error, sentence in (
        ("summer sale", "nothing", UnknownTopicError, "no topic 'nothing'"),
        ("summer sale", "winter", TopicConflictError, "'winter' is not registered"),
        ("never met", "sale", UnknownTopicError, "No opt-in has come with the payload 'never met'"),
        ("other", "sale", TopicConflictError, "belongs to the registered topic 'other'"),
        ("SUMMER-SALE", "sale", TopicConflictError, "belongs to the registered topic 'sale'"),
    ):
        with pytest.raises(error, match=sentence):
            give(database, page, payload, key)
    give(database, page, "winter")
    with pytest.raises(TopicConflictError, match="was adopted by another topic"):
        give(database, page, "winter", "other")
    assert owners(inbox) == {"summer sale": 1, "sale": 1}


def test_opt_ins_that_a_campaign_sends_to_stay_until_it_is_over(inbox, database, page, sale):
    inbox.put(body(optin("a", "summer sale")))
    inbox.ingest()
    with transaction(database) as conn:
        met = topics.find(conn, page, "summer sale")
    names = {"page_row_id": page.id, "facebook_page_id": page.page_id, "actor": "test"}
    spec = CampaignSpec(key="spring", message={"text": "It is on"}, approval=True)
    control.open_campaign(database, spec, topic_row_id=met.id, topic_key=met.key, **names)
    with pytest.raises(TopicConflictError, match="'spring' sends to the opt-ins of 'summer sale'"):
        give(database, page, "summer sale")
    inbox.rows("UPDATE otn.campaign SET state = 'cancelled', finished_at = clock_timestamp()")
    assert give(database, page, "summer sale").opt_ins == 1


def waiting(database):
    """Until somebody waits for a lock in this database."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        with transaction(database) as conn, conn.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            if cursor.fetchone()[0]:
                return True
        time.sleep(0.01)
    return False


def test_an_ingest_that_is_writing_is_waited_for(inbox, database, page, sale):
    inbox.put(body(optin("a", "summer sale")))
    inbox.ingest()
    inbox.put(body(optin("b", "summer sale")))
    written, go_on = threading.Event(), threading.Event()

    def hold(_conn, _ids):
        written.set()
        assert go_on.wait(20)

    with ThreadPoolExecutor(2) as threads:
        ingesting = threads.submit(inbox.ingest, on_events=hold)
        assert written.wait(20)
        adopting = threads.submit(give, database, page, "summer sale")
        assert waiting(database)
        go_on.set()
        ingesting.result(20)
        assert adopting.result(20).opt_ins == 2
    assert owners(inbox) == {"sale": 2}


def test_an_ingest_that_comes_meanwhile_waits_and_follows(inbox, database, page, sale):
    inbox.put(body(optin("a", "summer sale")))
    inbox.ingest()
    inbox.put(body(optin("b", "summer sale")))
    with ThreadPoolExecutor(1) as threads:
        with transaction(database) as conn:
            adopt(conn, page, "summer sale", "sale", actor="test")
            ingesting = threads.submit(inbox.ingest)
            assert waiting(database)
        ingesting.result(20)
    assert owners(inbox) == {"sale": 2}


def test_nobody_is_waited_for_too_long(inbox, database, page, sale, monkeypatch):
    inbox.put(body(optin("a", "summer sale")))
    inbox.ingest()
    monkeypatch.setattr(adoption, "PATIENCE", "50ms")
    with transaction(database) as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLE otn.token IN ROW EXCLUSIVE MODE")
        with pytest.raises(BusyError, match="Try again in a moment"):
            give(database, page, "summer sale")
    assert give(database, page, "summer sale").opt_ins == 1
