"""A day again: harmless, and it heals what is missing."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from otn.consent import pages
from otn.crypto import new_key, read_keyring
from otn.database import transaction
from otn.intake.balance import Balance, IncompleteError
from otn.intake.ingest import reingest_day
from tests.consent.inbox import NOW, body, item, message, milliseconds, optin, page_settings

DAY = NOW.date()


def everything(inbox):
    tables = ("subscriber", "token", "event", "topic", "quarantine", "suppression", "webhook_event")
    return {table: sorted(row[0] for row in inbox.rows(f"SELECT t::text FROM otn.{table} t")) for table in tables}


def test_a_day_again_changes_nothing_at_all(inbox):
    raw = body(optin("a"), message("stop"), optin("b", at=NOW + timedelta(days=3)))
    inbox.put(raw, raw, b"{")
    first = inbox.ingest()
    before = everything(inbox)
    for _ in range(2):
        again = reingest_day(inbox.database, inbox.keyring, DAY)
        assert again == Balance(webhooks=3, received=7, ingested=2, duplicate=2, quarantined=3)
    assert everything(inbox) == before
    assert (first.received, first.ingested, first.duplicate, first.quarantined) == (7, 2, 2, 3)


def test_a_day_without_webhooks_balances(inbox):
    assert reingest_day(inbox.database, inbox.keyring, DAY - timedelta(days=99)) == Balance()


def test_only_the_day_is_touched_and_what_is_pending_in_it_is_ingested(inbox):
    inbox.put(body(optin("a")), day=DAY - timedelta(days=1))
    inbox.put(body(optin("b")))
    assert reingest_day(inbox.database, inbox.keyring, DAY).optins_new == 1
    assert inbox.tokens() == {"b"}


def test_what_is_missing_is_healed_and_the_first_figures_stand(inbox):
    inbox.put(body(optin("a"), optin("b"), message("hi")))
    inbox.ingest()
    figures = inbox.figures()
    inbox.rows("DELETE FROM otn.token WHERE id = (SELECT min(id) FROM otn.token)")
    inbox.rows("DELETE FROM otn.event WHERE kind = 'message'")
    told = []
    again = reingest_day(inbox.database, inbox.keyring, DAY, lambda _conn, ids: told.extend(ids))
    assert again == Balance(webhooks=1, received=3, ingested=3, optins_new=1)
    assert inbox.tokens() == {"a", "b"}
    assert inbox.figures() == figures
    assert sorted(told) == [row.id for row in inbox.rows("SELECT id FROM otn.event ORDER BY id")]


def test_a_page_registered_meanwhile_moves_items_from_quarantine_to_ingested(inbox, database):
    inbox.put(body(optin("a", page="1002"), page="1002"))
    assert inbox.ingest().quarantined == 1
    with transaction(database) as conn:
        pages.register(conn, page_settings("1002", "second"))
    again = reingest_day(inbox.database, inbox.keyring, DAY)
    assert again == Balance(webhooks=1, received=1, ingested=1, optins_new=1)
    assert inbox.figures() == [(1, 1, 0, 0)]
    assert inbox.value("SELECT count(*) FROM otn.quarantine WHERE replayed_at IS NULL") == 0
    assert reingest_day(inbox.database, inbox.keyring, DAY) == Balance(webhooks=1, received=1, ingested=1)


def test_a_quarantined_item_that_got_lost_comes_back(inbox):
    inbox.put(b"{")
    inbox.ingest()
    inbox.rows("DELETE FROM otn.quarantine")
    assert reingest_day(inbox.database, inbox.keyring, DAY).quarantined == 1
    assert inbox.counts()["quarantine"] == 1


def test_a_word_long_obeyed_is_not_obeyed_again(inbox):
    """What an operator lifted meanwhile stays lifted: the second look finds no new word."""
    inbox.put(body(message("stop")))
    inbox.ingest()
    inbox.rows("DELETE FROM otn.suppression")
    reingest_day(inbox.database, inbox.keyring, DAY)
    assert inbox.counts()["suppression"] == 0


def test_a_failure_leaves_figures_and_rows_as_they_were(inbox):
    inbox.put(body(optin("a")))
    inbox.ingest()
    before = everything(inbox)

    def fail(conn, event_ids):
        raise RuntimeError

    with pytest.raises(IncompleteError):
        reingest_day(inbox.database, inbox.keyring, DAY, fail)
    assert everything(inbox) == before


def test_a_missing_key_is_told(inbox):
    foreign = read_keyring({"OTN_ENCRYPTION_KEYS": new_key(), "OTN_HASH_KEY": new_key()})
    inbox.put(body(optin("a")), keyring=foreign)
    inbox.put(body(optin("b")))
    with pytest.raises(IncompleteError, match="cannot be decrypted"):
        reingest_day(inbox.database, inbox.keyring, DAY)
    assert inbox.tokens() == {"b"}


def test_ingest_and_reingest_of_the_same_day_at_once(inbox):
    for n in range(60):
        inbox.put(
            body(optin(f"{n % 40}", psid=f"{n % 7}"), item(read={"watermark": milliseconds(NOW)}, psid=f"{n % 7}"))
        )
    start = threading.Barrier(3)

    def run(again):
        start.wait(10)
        if again:
            return reingest_day(inbox.database, inbox.keyring, DAY, slice_size=4)
        return inbox.ingest(slice_size=4)

    with ThreadPoolExecutor(3) as threads:
        results = list(threads.map(run, (True, False, True)))
    assert all(balance.holds for balance in results)
    assert sum(balance.optins_new for balance in results) == 40
    figures = inbox.rows(
        "SELECT sum(events) AS received, sum(ingested) AS ingested,"
        " count(*) FILTER (WHERE ingested_at IS NULL) AS pending FROM otn.webhook_event"
    )
    assert tuple(figures[0]) == (120, 40 + 7, 0)
