"""Quarantine: kept with its reason, and used after all."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from otn.consent import pages
from otn.crypto import new_key, read_keyring
from otn.database import transaction
from otn.intake import quarantine
from otn.intake.balance import Balance, IncompleteError
from tests.consent.inbox import NOW, body, milliseconds, optin, page_settings


def register_second(inbox):
    with transaction(inbox.database) as conn:
        pages.register(conn, page_settings("1002", "second"))


def test_events_of_an_unknown_page_are_replayed_after_it_was_registered(inbox):
    ids = inbox.put(body(optin("a", page="1002"), optin("b", page="1002"), page="1002"))
    assert inbox.ingest() == Balance(webhooks=1, received=2, quarantined=2)
    with transaction(inbox.database) as conn:
        items = quarantine.listing(conn)
        (reason,) = quarantine.reasons(conn)
    assert {(one.webhook_id, one.position, one.reason) for one in items} == {
        (ids[0], "0/0", "the page is not registered"),
        (ids[0], "0/1", "the page is not registered"),
    }
    assert (reason.reason, reason.items) == ("the page is not registered", 2)

    assert quarantine.replay(inbox.database, inbox.keyring) == Balance(webhooks=2, received=2, quarantined=2)
    register_second(inbox)
    told = []
    done = quarantine.replay(inbox.database, inbox.keyring, on_events=lambda _conn, new: told.extend(new))
    assert done == Balance(webhooks=2, received=2, ingested=2, optins_new=2)
    assert len(told) == 2
    assert inbox.figures() == [(2, 2, 0, 0)]
    assert inbox.tokens() == {"a", "b"}
    assert quarantine.replay(inbox.database, inbox.keyring) == Balance()


def test_single_items_can_be_replayed(inbox):
    inbox.put(body(optin("a", page="1002"), optin("b", page="1002"), page="1002"))
    inbox.ingest()
    register_second(inbox)
    with transaction(inbox.database) as conn:
        chosen = next(one.id for one in quarantine.listing(conn) if one.position == "0/1")
    assert quarantine.replay(inbox.database, inbox.keyring, ids=[chosen]).optins_new == 1
    assert inbox.tokens() == {"b"}
    assert inbox.figures() == [(2, 1, 0, 1)]
    assert quarantine.replay(inbox.database, inbox.keyring, ids=[]) == Balance()


def test_an_item_that_is_still_unusable_gets_the_reason_of_today(inbox):
    inbox.put(body(optin("a", page="1002", at=NOW + timedelta(days=9)), page="1002"))
    inbox.ingest()
    register_second(inbox)
    assert quarantine.replay(inbox.database, inbox.keyring).quarantined == 1
    with transaction(inbox.database) as conn:
        (row,) = quarantine.listing(conn)
    assert row.reason == "the timestamp is more than a day in the future"


def test_an_item_that_came_again_meanwhile_is_a_duplicate(inbox):
    raw = body(optin("a", page="1002"), page="1002")
    inbox.put(raw)
    inbox.ingest()
    register_second(inbox)
    inbox.put(raw)
    inbox.ingest()
    assert quarantine.replay(inbox.database, inbox.keyring) == Balance(webhooks=1, received=1, duplicate=1)


def test_of_several_entries_only_the_bad_ones_wait_and_each_alone(inbox):
    entries = [
        {"id": "1001", "time": milliseconds(NOW), "messaging": [optin("a"), "nonsense", optin("b", at="soon")]},
        "nonsense",
        {"id": "1001", "time": milliseconds(NOW), "messaging": []},
        {"id": "1001", "standby": [optin("c")], "messaging": [optin("d")], "changes": [{"field": "feed", "value": 1}]},
    ]
    raw = json.dumps({"object": "page", "entry": entries}).encode()
    inbox.put(raw)
    balance = inbox.ingest()
    assert (balance.received, balance.quarantined, inbox.tokens()) == (8, 5, {"a", "c", "d"})
    items = {
        row.position: json.loads(inbox.keyring.decrypt(row.item, "quarantine"))["entry"]
        for row in inbox.rows("SELECT position, item FROM otn.quarantine")
    }
    assert items["0/1"] == [{"id": "1001", "time": milliseconds(NOW), "messaging": ["nonsense"]}]
    assert items["0/2"][0]["messaging"] == [optin("b", at="soon")]
    assert items["1/0"] == ["nonsense"]
    assert items["3/2"][0].get("changes") == [{"field": "feed", "value": 1}]
    assert quarantine.replay(inbox.database, inbox.keyring) == Balance(webhooks=5, received=5, quarantined=5)


def test_two_replays_at_once_store_everything_once(inbox):
    for n in range(30):
        inbox.put(body(optin(f"{n}", page="1002", psid=f"{n % 4}"), page="1002"))
    inbox.ingest()
    register_second(inbox)
    start = threading.Barrier(2)

    def run(_):
        start.wait(10)
        return quarantine.replay(inbox.database, inbox.keyring)

    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(run, range(2))
    assert first + second == Balance(webhooks=30, received=30, ingested=30, optins_new=30)


def test_an_item_outlives_its_webhook(inbox):
    inbox.put(body(optin("a", page="1002"), page="1002"))
    inbox.ingest()
    inbox.rows("DELETE FROM otn.webhook_event")
    register_second(inbox)
    assert quarantine.replay(inbox.database, inbox.keyring).optins_new == 1


def test_items_of_an_unknown_key_stay_and_are_told(inbox):
    inbox.put(body(optin("a", page="1002"), page="1002"))
    inbox.ingest()
    register_second(inbox)
    other = read_keyring({"OTN_ENCRYPTION_KEYS": new_key(), "OTN_HASH_KEY": new_key()})
    with pytest.raises(IncompleteError, match="1 quarantined items cannot be decrypted"):
        quarantine.replay(inbox.database, other)
    assert quarantine.replay(inbox.database, inbox.keyring).optins_new == 1


def test_a_failing_callback_leaves_the_item_where_it_was(inbox):
    inbox.put(body(optin("a", page="1002"), page="1002"))
    inbox.ingest()
    register_second(inbox)

    def fail(conn, event_ids):
        raise RuntimeError

    with pytest.raises(Exception, match="campaigns"):
        quarantine.replay(inbox.database, inbox.keyring, on_events=fail)
    assert inbox.counts()["token"] == 0
    assert inbox.figures() == [(1, 0, 0, 1)]
