"""From a stored webhook to people, tokens and events."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from otn.crypto import new_key, read_keyring
from otn.intake.balance import Balance, IncompleteError
from tests.consent.inbox import NOW, PAGE, body, item, message, milliseconds, optin

SAMPLE = b"""{"object":"page",
 "entry":[{"id":"1001","time":1458692752999,
   "messaging":[{
     "sender":{"id":"28777805391819468"},
     "recipient":{"id":"1001"},
     "timestamp":1458692752478,
     "optin":{"type":"one_time_notif_req",
              "payload":"<USER_DEFINED_PAYLOAD>",
              "one_time_notif_token":"<ONE_TIME_TOKEN>"}}]}]}"""


def test_the_documented_optin_is_kept_although_it_has_long_expired(inbox):
    inbox.put(SAMPLE)
    assert inbox.ingest() == Balance(webhooks=1, received=1, ingested=1, optins_new=1)
    (row,) = inbox.rows(
        "SELECT s.psid, t.payload, k.* FROM otn.token k JOIN otn.subscriber s ON s.id = k.subscriber_id"
        " JOIN otn.topic t ON t.id = k.topic_id"
    )
    assert (row.psid, row.payload) == ("28777805391819468", "<USER_DEFINED_PAYLOAD>")
    assert row.opted_in_at == datetime(2016, 3, 23, 0, 25, 52, 478000, tzinfo=UTC)
    assert row.expires_at == row.opted_in_at.replace(year=2017)
    assert inbox.tokens() == {"<ONE_TIME_TOKEN>"}
    assert b"ONE_TIME_TOKEN" not in bytes(row.token_encrypted)


def test_nothing_pending_is_nothing_done(inbox):
    assert inbox.ingest() == Balance()


def test_the_same_webhook_twice_in_one_slice_and_again_in_the_next(inbox):
    raw = body(optin("a"), message("hello", mid="m_1"))
    inbox.put(raw, raw)
    assert inbox.ingest() == Balance(webhooks=2, received=4, ingested=2, duplicate=2, optins_new=1)
    before = inbox.counts()
    inbox.put(raw)
    assert inbox.ingest() == Balance(webhooks=1, received=2, duplicate=2)
    assert inbox.counts() == before
    assert sorted(inbox.figures()) == [(2, 0, 2, 0), (2, 0, 2, 0), (2, 2, 0, 0)]


def test_the_same_tap_twice_in_one_body_keeps_the_earlier_time(inbox):
    inbox.put(body(optin("a", at=NOW), optin("a", at=NOW - timedelta(hours=1))))
    assert inbox.ingest() == Balance(webhooks=1, received=2, ingested=1, duplicate=1, optins_new=1)
    assert inbox.value("SELECT opted_in_at FROM otn.token") == NOW - timedelta(hours=1)


def test_several_tokens_of_one_person_and_one_token_text_on_two_pages(inbox, database):
    from otn.consent import pages
    from otn.database import transaction
    from tests.consent.inbox import page_settings

    with transaction(database) as conn:
        pages.register(conn, page_settings("1002", "second"))
    inbox.put(body(optin("a"), optin("b")), body(optin("a", page="1002"), page="1002"))
    assert inbox.ingest().optins_new == 3
    assert inbox.counts()["subscriber"] == 2


@pytest.mark.parametrize(
    "timestamp",
    [1_700_000_000_000, 1_700_000_000, "1700000000000", "1700000000"],
)
def test_milliseconds_seconds_and_quoted_times(inbox, timestamp):
    inbox.put(body(optin("a", at=timestamp)))
    assert inbox.ingest().ingested == 1
    assert inbox.value("SELECT opted_in_at FROM otn.token") == datetime.fromtimestamp(1_700_000_000, UTC)


@pytest.mark.parametrize(
    ("at", "reason"),
    [
        (NOW + timedelta(days=2), "the timestamp is more than a day in the future"),
        (datetime(2015, 12, 31, tzinfo=UTC), "the timestamp is before 2016"),
        (NOW + timedelta(days=40_000), "timestamp is no plausible time"),
        ("soon", "timestamp is missing or no number"),
    ],
)
def test_an_optin_of_an_impossible_time_waits_in_quarantine(inbox, at, reason):
    inbox.put(body(optin("a", at=at), optin("b")))
    assert inbox.ingest() == Balance(webhooks=1, received=2, ingested=1, quarantined=1, optins_new=1)
    assert inbox.tokens() == {"b"}
    (row,) = inbox.rows("SELECT reason, position, item FROM otn.quarantine")
    assert (row.reason, row.position) == (reason, "0/0")
    assert json.loads(inbox.keyring.decrypt(row.item, "quarantine"))["entry"][0]["messaging"] == [optin("a", at=at)]


def test_a_leap_day_optin_ends_on_the_last_of_february(inbox):
    inbox.put(body(optin("a", at=datetime(2024, 2, 29, 12, tzinfo=UTC))))
    inbox.ingest()
    assert inbox.value("SELECT expires_at FROM otn.token") == datetime(2025, 2, 28, 12, tzinfo=UTC)


def test_interaction_moves_forward_only_and_a_tap_on_notify_me_is_none(inbox):
    inbox.put(body(optin("a")))
    inbox.ingest()
    last = "SELECT last_interaction_at FROM otn.subscriber"
    assert inbox.value(last) is None
    inbox.put(body(message("hi", at=NOW - timedelta(hours=2)), message("ho", at=NOW - timedelta(hours=3))))
    inbox.ingest()
    assert inbox.value(last) == NOW - timedelta(hours=2)
    inbox.put(body(item(at=NOW - timedelta(hours=5), postback={"payload": "P", "title": "t"})))
    inbox.ingest()
    assert inbox.value(last) == NOW - timedelta(hours=2)
    for hours, content in ((1.5, {"postback": {"payload": "P"}}), (1, {"reaction": {"action": "react", "mid": "m"}})):
        inbox.put(body(item(at=NOW - timedelta(hours=hours), **content)))
        inbox.ingest()
        assert inbox.value(last) == NOW - timedelta(hours=hours)
    passive = [
        {"delivery": {"mids": ["m"], "watermark": milliseconds(NOW)}},
        {"read": {"watermark": milliseconds(NOW)}},
        {"reaction": {"action": "unreact", "mid": "m"}},
        {"message": {"is_echo": True, "mid": "m", "text": "ours"}},
    ]
    sender_is_page = item(**passive[3]) | {"sender": {"id": PAGE}, "recipient": {"id": "2002"}}
    inbox.put(body(*(item(**content) for content in passive[:3]), sender_is_page))
    assert inbox.ingest().ingested == 4
    assert inbox.value(last) == NOW - timedelta(hours=1)
    assert inbox.counts()["subscriber"] == 1


def test_evidence_is_normalised_and_texts_are_not_kept(inbox):
    echo = {
        "message": {"is_echo": True, "app_id": 15, "mid": "m_1", "metadata": 'attempt\\1\t"x"', "text": "private words"}
    }
    inbox.put(
        body(
            item(**echo) | {"sender": {"id": PAGE}, "recipient": {"id": "2002"}},
            item(delivery={"mids": ["m_1", 'm"2\\,{}'], "watermark": milliseconds(NOW)}),
            item(delivery={"watermark": milliseconds(NOW)}),
            item(read={"watermark": milliseconds(NOW)}),
            message("private words"),
        )
    )
    assert inbox.ingest().ingested == 5
    rows = inbox.rows("SELECT kind::text, mid, mids, metadata, watermark FROM otn.event ORDER BY kind, mids")
    assert ("echo", "m_1", None, 'attempt\\1\t"x"', None) in [tuple(row) for row in rows]
    assert ("delivery", None, ["m_1", 'm"2\\,{}'], None, NOW) in [tuple(row) for row in rows]
    assert ("delivery", None, None, None, NOW) in [tuple(row) for row in rows]
    assert inbox.value("SELECT count(*) FROM otn.event e WHERE e::text LIKE '%%private words%%'") == 0


def test_hostile_texts_arrive_as_they_are(inbox):
    token = "t" * 4096 + "\\N\t\n\r\\.'\"%s{}\u2028🔔"
    payload = "\\.\n';DROP TABLE otn.token;--\t\x1b[31m %s :name 🔔"
    inbox.put(
        body(optin(token, payload)), body(optin("b", "\\N")), body(optin("c", "p" * 16_000)), body(optin("d", ""))
    )
    assert inbox.ingest().optins_new == 4
    assert inbox.tokens() == {token, "b", "c", "d"}
    topics = {row.payload: row.key for row in inbox.rows("SELECT payload, key FROM otn.topic")}
    assert len(topics) == 4
    assert topics[payload].isprintable()
    assert topics["\\N"] == "\\N"
    assert topics[""] == "(no payload)"


def test_a_nul_or_half_a_surrogate_goes_to_quarantine_and_harms_nobody_else(inbox):
    inbox.put(body(optin("a\x00"), optin("\ud800"), optin("c", "p\x00"), optin("d")))
    assert inbox.ingest() == Balance(webhooks=1, received=4, ingested=1, quarantined=3, optins_new=1)
    items = [inbox.keyring.decrypt(row.item, "quarantine") for row in inbox.rows("SELECT item FROM otn.quarantine")]
    assert any(b'"one_time_notif_token":"a\\u0000"' in raw for raw in items)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"[]",
        b"null",
        b'{"object":"page","entry":[]}',
        b'{"object":"user","entry":[{}]}',
        b"[" * 50_000,
    ],
)
def test_a_body_that_nobody_can_read_is_one_item_in_quarantine(inbox, raw):
    inbox.put(raw, body(optin("a")))
    assert inbox.ingest() == Balance(webhooks=2, received=2, ingested=1, quarantined=1, optins_new=1)
    assert inbox.keyring.decrypt(inbox.value("SELECT item FROM otn.quarantine"), "quarantine") == raw


def test_every_pending_webhook_is_taken_whatever_its_day_in_slices(inbox):
    for days in (0, 400, 3, 1):
        for n in range(5):
            inbox.put(body(optin(f"{days}/{n}", psid=f"{n}")), day=NOW.date() - timedelta(days=days))
    seen = []
    assert inbox.ingest(slice_size=3, progress=seen.append) == Balance(
        webhooks=20, received=20, ingested=20, optins_new=20
    )
    assert [balance.webhooks for balance in seen] == [3, 6, 9, 12, 15, 18, 20]
    assert inbox.value("SELECT count(*) FROM otn.webhook_event WHERE ingested_at IS NULL") == 0


def test_a_limit_leaves_the_rest_pending(inbox):
    inbox.put(*(body(optin(f"{n}")) for n in range(5)))
    assert inbox.ingest(slice_size=2, limit=3).webhooks == 3
    assert inbox.value("SELECT count(*) FROM otn.webhook_event WHERE ingested_at IS NULL") == 2
    assert inbox.ingest().webhooks == 2


def test_what_stays_pending_keeps_nothing_behind_it_from_a_limited_look(inbox):
    foreign = read_keyring({"OTN_ENCRYPTION_KEYS": new_key(), "OTN_HASH_KEY": new_key()})
    inbox.put(*(body(optin(f"{n}")) for n in range(6)), day=NOW.date() - timedelta(days=1), keyring=foreign)
    inbox.put(body(optin("fine")), body(optin("also")))
    with pytest.raises(IncompleteError, match="6 webhooks cannot be decrypted"):
        inbox.ingest(slice_size=2, limit=1)
    assert len(inbox.tokens()) == 1


def test_a_clock_that_runs_ahead_opens_no_longer_window(inbox):
    inbox.put(body(message("hi", at=NOW + timedelta(hours=20))))
    inbox.ingest()
    assert inbox.value("SELECT last_interaction_at <= clock_timestamp() FROM otn.subscriber")


def test_a_slice_ends_where_bodies_grow_too_large(inbox, monkeypatch):
    monkeypatch.setattr("otn.intake.ingest.SLICE_BYTES", 50_000)
    large = body(message("x" * 60_000))
    inbox.put(large, *(body(optin(f"{n}")) for n in range(4)), body(message("y" * 60_000)))
    slices = []
    assert inbox.ingest(progress=slices.append).ingested == 6
    assert len(slices) >= 2


def test_an_unknown_key_leaves_its_webhooks_pending_and_the_others_are_ingested(inbox):
    foreign = read_keyring({"OTN_ENCRYPTION_KEYS": new_key(), "OTN_HASH_KEY": new_key()})
    inbox.put(body(optin("a")), body(optin("b")))
    inbox.put(body(optin("lost")), keyring=foreign)
    for found in (2, 0):
        with pytest.raises(IncompleteError, match="1 webhooks cannot be decrypted") as caught:
            inbox.ingest(slice_size=1)
        assert caught.value.balance.ingested == found
    assert inbox.value("SELECT count(*) FROM otn.webhook_event WHERE ingested_at IS NULL") == 1
    assert inbox.counts()["quarantine"] == 0


def test_an_unregistered_payload_is_kept_under_itself_and_never_takes_a_registered_key(inbox, database, page):
    from otn.consent import topics
    from otn.database import transaction

    with transaction(database) as conn:
        topics.add(conn, page, "sale", "Big sale", payload="SALE")
    inbox.put(body(optin("a", "sale"), optin("b", "SALE"), optin("c", "news")))
    assert inbox.ingest().optins_new == 3
    rows = {row.payload: row for row in inbox.rows("SELECT * FROM otn.topic")}
    assert rows["SALE"].key == "sale"
    assert rows["sale"].key.startswith("sale~")
    assert (rows["news"].key, rows["news"].registered_at, rows["news"].title) == ("news", None, None)


def test_events_of_the_erased_are_counted_and_leave_no_trace(inbox):
    inbox.rows("INSERT INTO otn.tombstone (psid_hash) VALUES (%s)", inbox.keyring.digest("psid", PAGE, "2002"))
    inbox.put(body(optin("a"), message("hi"), optin("b", psid="3003")))
    assert inbox.ingest() == Balance(webhooks=1, received=3, ingested=3, optins_new=1)
    assert [row.psid for row in inbox.rows("SELECT psid FROM otn.subscriber")] == ["3003"]
    assert inbox.tokens() == {"b"}
    assert inbox.counts()["event"] == 1


def test_checkbox_and_policy_events_have_nobody_and_are_kept(inbox):
    checkbox = item(psid=None, optin={"ref": "shop", "user_ref": "u-1"})
    inbox.put(body(checkbox, item(psid=None, policy_enforcement={"action": "warning", "reason": "r"})))
    assert inbox.ingest().ingested == 2
    assert inbox.counts()["subscriber"] == 0
