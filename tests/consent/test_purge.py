"""Purge: what has served its purpose goes, and nothing else."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from otn.database import transaction
from otn.errors import ConfigurationError
from otn.privacy.purge import PurgeResult, purge
from otn.privacy.retention import read_retention
from tests.consent.inbox import NOW, body, message, optin

TODAY = NOW.date()


def partition(inbox, days_ago):
    day = TODAY - timedelta(days=days_ago)
    inbox.rows("SELECT otn.make_webhook_partitions(%s, 1)", day)
    return day


def partitions(inbox):
    return {
        row.name
        for row in inbox.rows(
            "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'otn.webhook_event'::regclass"
        )
    }


def test_nothing_to_do_is_nothing_done_twice(inbox):
    purge(inbox.database)
    assert purge(inbox.database) == PurgeResult()


def test_expired_tokens_lose_their_text_and_keep_their_place(inbox):
    inbox.put(body(*(optin(f"old{n}", psid=f"{n}", at=NOW - timedelta(days=367)) for n in range(5)), optin("young")))
    inbox.ingest()
    assert purge(inbox.database, batch=2).tokens_wiped == 5
    assert inbox.tokens_left() == {"young"}
    assert inbox.counts()["token"] == 6
    # The hash stays: the same opt-in, delivered once more, is still known.
    inbox.put(body(optin("old1", psid="1", at=NOW - timedelta(days=367))))
    assert inbox.ingest().duplicate == 1
    assert purge(inbox.database).tokens_wiped == 0


@pytest.mark.parametrize(
    ("state", "extra", "wiped"),
    [
        ("waiting", "", 0),
        ("sending", ", unanswered = 1, lease_until = now()", 0),
        ("unknown", ", unanswered = 1, reason = 'r'", 0),
        ("refused", ", error_code = 551", 1),
        ("skipped", ", reason = 'token_expired'", 1),
        ("sent", ", evidence = 'answer', message_id = 'm', sent_at = now()", 1),
    ],
)
def test_the_token_of_an_unfinished_recipient_is_not_touched(inbox, state, extra, wiped):
    inbox.put(body(optin("a", at=NOW - timedelta(days=367))))
    inbox.ingest()
    inbox.rows(
        "WITH c AS (INSERT INTO otn.campaign (page_id, topic_id, key, message, content_hash)"
        " SELECT page_id, id, 'c', '{}', decode(repeat('00', 32), 'hex') FROM otn.topic RETURNING id)"
        " INSERT INTO otn.recipient (campaign_id, subscriber_id, token_id, chunk, attempts, attempt_id)"
        " SELECT c.id, k.subscriber_id, k.id, 1, 1, gen_random_uuid() FROM c, otn.token k"
    )
    inbox.rows(f"UPDATE otn.recipient SET state = '{state}'{extra}")
    assert purge(inbox.database).tokens_wiped == wiped


def test_a_token_that_a_plan_is_reserving_is_left_alone(inbox):
    inbox.put(body(optin("a", at=NOW - timedelta(days=367))))
    inbox.ingest()
    with transaction(inbox.database) as conn, conn.cursor() as cursor:
        cursor.execute("SELECT id FROM otn.token FOR KEY SHARE")  # what the foreign key of a new recipient takes
        assert purge(inbox.database).tokens_wiped == 0


def test_raw_days_past_retention_are_dropped_when_they_are_ingested(inbox):
    done, pending, young = partition(inbox, 40), partition(inbox, 41), partition(inbox, 29)
    inbox.put(body(optin("a")), day=done)
    inbox.put(body(optin("b")), day=young)
    inbox.ingest()
    inbox.put(body(optin("c")), body(optin("d")), day=pending)
    result = purge(inbox.database)
    assert (result.partitions_dropped, result.kept_pending) == ((done,), {pending: 2})
    names = partitions(inbox)
    assert f"otn.webhook_event_{done:%Y%m%d}" not in names
    assert {f"otn.webhook_event_{day:%Y%m%d}" for day in (pending, young)} <= names
    assert inbox.ingest().optins_new == 2
    assert purge(inbox.database).partitions_dropped == (pending,)


def test_days_without_a_partition_are_deleted_row_by_row(inbox):
    old = TODAY - timedelta(days=200)
    inbox.put(*(body(optin(f"{n}")) for n in range(5)), day=old)
    inbox.ingest(limit=3)
    result = purge(inbox.database, batch=2)
    assert (result.raw_deleted, result.kept_pending) == (3, {old: 2})
    inbox.ingest()
    assert purge(inbox.database).raw_deleted == 2


def test_partitions_are_made_ahead(inbox):
    inbox.rows(f"DROP TABLE otn.webhook_event_{TODAY + timedelta(days=5):%Y%m%d}")
    assert purge(inbox.database).partitions_made == 1
    assert f"otn.webhook_event_{TODAY + timedelta(days=7):%Y%m%d}" in partitions(inbox)


def test_a_busy_day_is_left_to_the_next_purge_and_the_rest_is_done(inbox, monkeypatch):
    monkeypatch.setattr("otn.privacy.purge.LOCK_TRIES", 1)
    day = partition(inbox, 40)
    inbox.put(body(message("hi")))
    inbox.ingest()
    inbox.rows("UPDATE otn.event SET created_at = now() - interval '91 days'")
    with transaction(inbox.database) as conn, conn.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM otn.webhook_event")
        result = purge(inbox.database)
    assert (result.kept_busy, result.partitions_dropped, result.events_deleted) == ((day,), (), 1)
    assert purge(inbox.database).partitions_dropped == (day,)


def test_old_events_and_quarantine_go_and_people_stay(inbox):
    inbox.put(*(body(message(f"{n}"), optin(f"{n}")) for n in range(4)), b"{", b"[")
    inbox.ingest()
    inbox.rows("UPDATE otn.event SET created_at = now() - interval '91 days' WHERE id % 2 = 0")
    first = inbox.value("SELECT webhook_id FROM otn.quarantine ORDER BY id LIMIT 1")
    inbox.rows("UPDATE otn.quarantine SET replayed_at = now() - interval '31 days' WHERE webhook_id = %s", first)
    inbox.rows("UPDATE otn.webhook_event SET quarantined = 0, ingested = 1 WHERE id = %s", first)
    result = purge(inbox.database, batch=1)
    assert (result.events_deleted, result.quarantine_deleted) == (4, 1)
    assert inbox.counts() == {
        "subscriber": 1, "token": 4, "event": 4, "topic": 1, "quarantine": 1, "suppression": 0,
    }  # fmt: skip


def test_two_purges_at_once_with_an_ingest_between(inbox):
    days = [partition(inbox, 40 + n) for n in range(4)]
    for day in days:
        inbox.put(*(body(optin(f"{day}{n}", psid=f"{n}", at=NOW - timedelta(days=380))) for n in range(5)), day=day)
    inbox.ingest()
    inbox.put(*(body(optin(f"new{n}")) for n in range(30)))
    start = threading.Barrier(3)

    def run(what):
        start.wait(10)
        return inbox.ingest(slice_size=3) if what == 1 else purge(inbox.database, batch=3)

    with ThreadPoolExecutor(3) as threads:
        first, ingested, second = threads.map(run, range(3))
    assert ingested.optins_new == 30
    last = purge(inbox.database)
    assert sum(result.tokens_wiped for result in (first, second, last)) == 20
    dropped = sorted(day for result in (first, second, last) for day in result.partitions_dropped)
    assert dropped == sorted(days)


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({"OTN_KEEP_RAW_DAYS": "many"}, "OTN_KEEP_RAW_DAYS is 'many'"),
        ({"OTN_KEEP_RAW_DAYS": "0"}, "OTN_KEEP_RAW_DAYS is '0'"),
        ({"OTN_KEEP_EVENT_DAYS": "7"}, "Events would be kept for 7 days, raw webhooks for 30"),
    ],
)
def test_impossible_retention_is_refused(environ, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        read_retention(environ)


def test_retention_comes_from_the_environment_and_events_follow_raw_webhooks():
    kept = read_retention({"OTN_KEEP_RAW_DAYS": "120"})
    assert (kept.raw_days, kept.event_days) == (120, 120)
