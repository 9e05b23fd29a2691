"""What goes wrong in the middle: nothing is half done, and one bad webhook spoils nothing but itself."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import psycopg2
import pytest

from otn.database import DatabaseAwayError, DatabaseError, transaction
from otn.intake import ingest, merging
from otn.intake.balance import Balance, IncompleteError
from otn.intake.reading import parse_webhook
from otn.intake.staging import Stage
from tests.consent.inbox import NOW, body, item, message, milliseconds, optin

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

    monkeypatch.setattr("otn.intake.reading.parse_webhook", parse)
    inbox.put(body(optin("a")), body(message("poison"), optin("kept")), body(optin("b")))
    assert inbox.ingest() == Balance(webhooks=3, received=3, ingested=2, quarantined=1, optins_new=2)
    (row,) = inbox.rows("SELECT * FROM otn.quarantine")
    assert (row.position, row.reason) == ("body", "ingest failed on it: ZeroDivisionError")
    monkeypatch.undo()

    from otn.intake import quarantine

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
    monkeypatch.setattr("otn.intake.reading.parse_webhook", lambda *_: 1 / 0)
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


def crowd(table, psids):
    """Webhooks whose rows in this one table are new; everything written before it is known."""
    if table == "topic":
        # Topics are made so fast that fewer of them would not meet.
        return [optin(f"topic-{psid}-{n}", f"topic-{psid}-{n}", psid=psid) for psid in psids for n in range(5)]
    if table == "token":
        return [optin(f"token-{psid}", psid=psid) for psid in psids]
    return [
        message("hi", mid=f"{table}-{psid}", psid=f"{table}-{psid}" if table == "subscriber" else psid)
        for psid in psids
    ]


@pytest.mark.parametrize("table", ["topic", "subscriber", "token", "event", "suppression"])
def test_two_ingests_of_the_same_people_in_opposite_order_never_wait_in_a_circle(inbox, monkeypatch, table):
    """Both merge at the same moment, in one slice each; the first table in which they meet is the one under test."""
    psids = [f"{n:04}" for n in range(1500)]
    inbox.put(body(*(optin(f"known-{psid}", psid=psid) for psid in psids)))
    inbox.put(body(*(message("hello", psid=psid, at=NOW + timedelta(hours=1)) for psid in psids)))
    inbox.ingest()
    items = crowd(table, psids)
    if table == "suppression":
        items = [message("stop", mid=psid, psid=psid) for psid in psids]
    inbox.put(body(*items), body(*reversed(items)))

    deadlocks, met, ready, copy, look = [], set(), threading.Barrier(2), Stage.copy, merging.meet

    def meet_each_other():
        if threading.get_ident() not in met:  # a slice that is tried again meets nobody
            met.add(threading.get_ident())
            ready.wait(20)

    def meet_before_topics(*arguments):
        meet_each_other()
        return look(*arguments)

    def copy_and_meet(stage, conn):
        copy(stage, conn)
        meet_each_other()

    if table == "topic":
        monkeypatch.setattr(merging, "meet", meet_before_topics)
    else:
        monkeypatch.setattr(Stage, "copy", copy_and_meet)
    monkeypatch.setattr(ingest, "_log", NoteWarnings(deadlocks))
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(lambda _: inbox.ingest(slice_size=1, limit=1), range(2))
    assert deadlocks == []
    whole = first + second
    assert (whole.webhooks, whole.received) == (2, 2 * len(items))
    assert (whole.ingested, whole.duplicate) == (len(items), len(items))
    assert inbox.value(PENDING) == 0


class NoteWarnings:
    """A logger that keeps warnings."""

    def __init__(self, kept):
        self.warning = lambda *words, **values: kept.append((words, values))


def test_many_slices_of_two_ingests_at_once_store_everything_once(inbox):
    webhooks = []
    for n in range(100):
        items = [optin(f"t{(n * 7 + k) % 60}", f"topic{(n + k) % 9}", psid=f"{(n * 3 + k) % 25}") for k in range(6)]
        items.append(message("stop" if n % 2 else "start", mid=f"m{n % 40}", psid=f"{n % 25}"))
        webhooks.append(body(*(items if n % 2 else reversed(items))))
    inbox.put(*webhooks)
    start = threading.Barrier(2)

    def run(_):
        start.wait(10)
        return inbox.ingest(slice_size=5)

    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(run, range(2))
    whole = first + second
    assert (whole.webhooks, whole.received, whole.optins_new, whole.holds) == (100, 700, 60, True)
    assert min(first.webhooks, second.webhooks) > 0
    assert len(inbox.tokens()) == 60
    assert inbox.value("SELECT count(*) FROM otn.event WHERE kind = 'optin'") == 60
    assert inbox.value(PENDING) == 0


def test_a_second_ingest_passes_by_what_the_first_one_holds(inbox, database):
    inbox.put(body(optin("a")), body(optin("b")))
    with transaction(database) as conn, conn.cursor() as cursor:
        cursor.execute("SELECT id FROM otn.webhook_event ORDER BY id LIMIT 1 FOR UPDATE")
        assert inbox.ingest().webhooks == 1
    assert inbox.ingest().webhooks == 1
