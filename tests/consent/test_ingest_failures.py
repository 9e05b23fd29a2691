"""What goes wrong in the middle: nothing is half done, and one bad webhook spoils nothing but itself."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest

from otn.consent import ingest
from otn.consent.balance import Balance, IncompleteError
from otn.consent.reading import parse_webhook
from otn.database import DatabaseAwayError, DatabaseError, transaction
from tests.consent.inbox import NOW, Inbox, body, item, message, milliseconds, optin

PENDING = "SELECT count(*) FROM otn.webhook_event WHERE ingested_at IS NULL"


def test_a_failure_after_the_inserts_rolls_all_of_it_back(inbox):
    inbox.put(body(optin("a"), optin("b", "news")), b"{")
    empty = inbox.counts()

    def fail(conn, event_ids):
        raise RuntimeError("the campaigns are broken")

    with pytest.raises(IncompleteError, match="1 webhooks could not be ingested \\(RuntimeError\\)") as caught:
        inbox.ingest(on_events=fail)
    assert isinstance(caught.value.__cause__.__cause__, RuntimeError)
    # The body without events never met the failing part: it alone is done.
    assert inbox.counts() == empty | {"quarantine": 1}
    assert inbox.value(PENDING) == 1
    assert inbox.ingest() == Balance(webhooks=1, received=2, ingested=2, optins_new=2)


def test_a_database_error_in_the_callback_is_no_fault_of_the_webhooks(inbox):
    inbox.put(body(optin("a")), body(optin("b")))

    def gone(conn, event_ids):
        raise psycopg2.OperationalError("server closed the connection unexpectedly")

    with pytest.raises(DatabaseAwayError):
        inbox.ingest(on_events=gone)
    assert inbox.value(PENDING) == 2
    assert inbox.counts()["quarantine"] == 0


def test_a_connection_that_dies_in_mid_slice_leaves_everything_pending(inbox):
    inbox.put(body(optin("a")), body(optin("b")))

    def die(conn, event_ids):
        with conn.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(DatabaseAwayError):
        inbox.ingest(on_events=die)
    assert inbox.value(PENDING) == 2
    assert inbox.counts()["token"] == 0
    assert inbox.ingest().optins_new == 2


def test_poison_is_set_aside_as_a_whole_and_the_rest_goes_on(inbox, monkeypatch):
    def parse(raw, page_ids=None):
        if b"poison" in raw:
            raise ZeroDivisionError("secret text of a person")
        return parse_webhook(raw, page_ids)

    monkeypatch.setattr("otn.consent.reading.parse_webhook", parse)
    inbox.put(body(optin("a")), body(message("poison"), optin("kept")), body(optin("b")))
    assert inbox.ingest() == Balance(webhooks=3, received=3, ingested=2, quarantined=1, optins_new=2)
    (row,) = inbox.rows("SELECT * FROM otn.quarantine")
    assert (row.position, row.reason) == ("body", "ingest failed on it: ZeroDivisionError")
    monkeypatch.undo()

    from otn.consent import quarantine

    assert quarantine.replay(inbox.database, inbox.keyring).optins_new == 1
    assert inbox.tokens() == {"a", "b", "kept"}
    assert sorted(inbox.figures()) == [(1, 1, 0, 0), (1, 1, 0, 0), (2, 2, 0, 0)]


def test_a_missing_table_is_no_poison(inbox):
    inbox.put(body(optin("a")))
    inbox.rows("ALTER TABLE otn.token RENAME TO token_away")
    with pytest.raises(DatabaseError, match="42P01"):
        inbox.ingest()
    inbox.rows("ALTER TABLE otn.token_away RENAME TO token")
    assert inbox.value(PENDING) == 1
    assert inbox.ingest().optins_new == 1


def test_when_everything_fails_it_stops_instead_of_filling_the_quarantine(inbox, monkeypatch):
    monkeypatch.setattr("otn.consent.reading.parse_webhook", lambda raw, page_ids=None: 1 / 0)
    monkeypatch.setattr(ingest, "MOST_FAILURES", 3)
    inbox.put(*(body(optin(f"{n}")) for n in range(10)))
    with pytest.raises(ZeroDivisionError):
        inbox.ingest()
    assert inbox.value(PENDING) == 6


def test_the_callback_is_told_of_new_events_only_inside_the_transaction(inbox):
    told = []

    def note(conn, event_ids):
        with conn.cursor() as cursor:
            cursor.execute("SELECT kind::text FROM otn.event WHERE id = ANY (%s) ORDER BY id", (event_ids,))
            told.append(sorted(row.kind for row in cursor.fetchall()))

    raw = body(optin("a"), item(read={"watermark": milliseconds(NOW)}))
    inbox.put(raw, raw)
    inbox.ingest(on_events=note)
    inbox.put(raw)
    inbox.ingest(on_events=note)
    assert told == [["optin", "read"]]


def test_two_ingests_at_once_on_overlapping_webhooks_never_wait_in_a_circle(inbox, keyring):
    """Overlap in every table: people, tokens, topics and events, in opposite orders, with stop words between."""
    webhooks = []
    for n in range(120):
        items = [optin(f"t{(n * 7 + k) % 60}", f"topic{(n + k) % 9}", psid=f"{(n * 3 + k) % 25}") for k in range(6)]
        words = [message("stop" if n % 2 else "start", mid=f"m{n % 40}", psid=f"{n % 25}")]
        chosen = items + words
        webhooks.append(body(*(chosen if n % 2 else reversed(chosen))))
    inbox.put(*webhooks)
    received = 120 * 7
    start = threading.Barrier(2)
    deadlocks = []

    def run(_):
        start.wait(10)
        return inbox.ingest(slice_size=5)

    monkey = pytest.MonkeyPatch()
    monkey.setattr(ingest._log, "warning", lambda *words, **_: deadlocks.append(words), raising=False)
    with monkey.context(), ThreadPoolExecutor(2) as threads:
        first, second = threads.map(run, range(2))
    monkey.undo()
    whole = first + second
    assert whole.webhooks == 120 and whole.received == received
    assert min(first.webhooks, second.webhooks) > 0
    assert whole.holds and whole.optins_new == 60
    assert deadlocks == []
    one = Inbox(inbox.database, keyring)
    assert len(one.tokens()) == 60
    assert one.value(PENDING) == 0
    assert one.value("SELECT count(*) FROM otn.event WHERE kind = 'optin'") == 60


def test_a_second_ingest_passes_by_what_the_first_one_holds(inbox, database):
    inbox.put(body(optin("a")), body(optin("b")))
    with transaction(database) as conn, conn.cursor() as cursor:
        cursor.execute("SELECT id FROM otn.webhook_event ORDER BY id LIMIT 1 FOR UPDATE")
        assert inbox.ingest().webhooks == 1
    assert inbox.ingest().webhooks == 1
