"""From each earlier version, with data in it, to the newest: nothing is lost, nothing means anything else."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from otn.campaign import report
from otn.crypto import Keyring
from otn.database import Engine, make_engine, queries, transaction
from otn.database.migrating import migrate, schema_version
from otn.database.schema import SchemaBehindError, check_schema, migrations
from otn.messenger.client import MessengerClient, PageCredentials, SendRequest
from otn.settings import PageSettings
from sandbox.control_client import Sandbox
from tests.campaign.conftest import sandbox
from tests.campaign.stage import Stage
from tests.schema.conftest import connect

__all__ = ["sandbox"]

HISTORY = Path(__file__).with_name("history")
EARLIER = [one.version for one in migrations()][:-1]
# Rows that a migration adds, and nothing else does.
GROWING = {"campaign_transition", "window_transition"}
PEOPLE = 12
TABLES = (
    "SELECT relname FROM pg_class WHERE relnamespace = 'otn'::regnamespace AND relkind IN ('r', 'p')"
    " AND NOT relispartition AND relname <> 'alembic_version' ORDER BY 1"
)
CONSENTS = {
    (1, "spent"),
    (1, "unspent"),
    (2, "unspent"),
    (2, "expired"),
    (3, "spent"),
    (4, "spent"),
    *((n, "reserved") for n in (5, 6, 7, 9)),
    (8, "unspent"),
    (10, "unspent"),
    (11, "silenced"),
    (12, "silenced"),
}


@pytest.fixture(scope="session")
def earlier(postgres: str, make_database: Callable[[str], str]) -> Callable[[str], str]:
    """Gives a database of its own as an earlier version left it."""
    chain = make_database("template1")
    snapshots: dict[str, str] = {}
    for version in EARLIER:
        migrate(chain, upto=version)
        with closing(connect(chain)) as connection:
            if (fill := HISTORY / f"{version}.sql").exists():  # what it added to a database in use
                connection.cursor().execute(fill.read_text(encoding="utf-8"))
                connection.commit()
        snapshots[version] = make_database(str(make_url(chain).database))
    return lambda version: make_database(str(make_url(snapshots[version]).database))


def everything(url: str) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table."""
    with closing(connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SET timezone = 'UTC'")
        cursor.execute(TABLES)
        found = {}
        for (table,) in cursor.fetchall():
            cursor.execute(f"SELECT to_jsonb(t) FROM otn.{table} t")
            found[table] = [row for (row,) in cursor.fetchall()]
        return found


def as_set(rows: list[dict[str, Any]], columns: set[str]) -> Counter[str]:
    return Counter(str(sorted((name, str(row[name])) for name in columns)) for row in rows)


@pytest.mark.parametrize("version", EARLIER)
def test_every_row_is_there_and_says_what_it_said(earlier: Callable[[str], str], version: str) -> None:
    url = earlier(version)
    _the_receiver_of_this_version_stores(url, version)
    before = everything(url)
    empty = {table for table, rows in before.items() if not rows}
    assert empty == set(), "a table that is empty proves nothing: fill it in tests/schema/history"
    audience = counted(url, version)
    migrate(url)
    assert schema_version(url)[0] == migrations()[-1].version
    after = everything(url)
    for table, rows in before.items():
        columns = set(rows[0])
        was, is_ = as_set(rows, columns), as_set(after[table], columns)
        assert is_ >= was if table in GROWING else is_ == was, table
    assert [row["owed"] for row in after["silence_mark"]] == [True], "no journal knows who was silent before"
    assert counted(url, migrations()[-1].version) == audience
    engine = make_engine(url)
    try:
        _views_say_what_is_so(engine)
    finally:
        engine.dispose()


def counted(url: str, version: str) -> Counter[str]:
    """The audience of a topic, by reason."""
    arguments = "1, '{}', '{}', NULL" if version == "0001" else "1, '{}', '{}', '{}', NULL"
    with closing(connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT coalesce(reason, 'planned'), count(*) FROM otn.audience({arguments}) GROUP BY 1")
        return Counter(dict(cursor.fetchall()))


def _the_receiver_of_this_version_stores(url: str, version: str) -> None:
    """Whatever is rolled out first: a webhook is never turned away."""
    engine = make_engine(url)
    ask = queries("receiver")
    try:
        with transaction(engine) as connection:
            assert "messenger_default" in {row.connection_id for row in ask.page_connections(connection)}
            assert ask.can_store(connection) is True
            ask.store_webhooks(connection, days=["2001-01-01"], ids=[str(uuid.uuid4())], ages=[0.0], bodies=[b"sealed"])
            if version > "0001":
                ask.ask_deletion(connection, id=str(uuid.uuid4()), code="new", user_id=b"x", user_hash=b"h" * 32)
                assert ask.find_deletion(connection, code="new").state == "received"
        with transaction(engine) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM otn.webhook_event WHERE received_day = '2001-01-01'")
            assert cursor.fetchone()[0] == 1
    finally:
        engine.dispose()


def _views_say_what_is_so(engine: Engine) -> None:
    with transaction(engine) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT subscriber_id, state FROM otn.v_consent")
        assert set(cursor.fetchall()) == CONSENTS
        cursor.execute("SELECT campaign, state, planned FROM otn.v_campaign ORDER BY campaign")
        assert {row.campaign: (row.state, row.planned) for row in cursor.fetchall()} == {
            "done": ("finished", 3),
            "given": ("cancelled", 1),
            "going": ("sending", 6),
            "halted": ("halted", 0),
            "later": ("draft", 0),
        }
        cursor.execute("SELECT count(*) FROM otn.v_recipient")
        assert cursor.fetchone()[0] == 10
        cursor.execute(
            "SELECT halt_held, blocked_at IS NOT NULL AS blocked, policy_event_id FROM otn.page WHERE id = 2"
        )
        page = cursor.fetchone()
        assert (page.halt_held, page.blocked, page.policy_event_id) == (True, True, 13)
    figures = report.report(engine, 1)
    assert {name: figures[name] for name in ("sent", "delivered", "refused", "tokens_spent", "errors")} == {
        "sent": 1,
        "delivered": 1,
        "refused": 2,
        "tokens_spent": 2,
        "errors": {"551": 1, "100": 1},
    }


@pytest.fixture
def mid_sending(
    earlier: Callable[[str], str], keyring: Keyring, sandbox: Sandbox
) -> Iterator[Callable[[str], tuple[str, Stage, list[str]]]]:
    """Gives a database of an earlier version whose people and tokens the platform knows; and these people."""
    stages: list[Stage] = []

    def make(version: str) -> tuple[str, Stage, list[str]]:
        url = earlier(version)
        facts = sandbox.page(str(10**15 + uuid.uuid4().int % 10**14))
        page, token = facts["page_id"], facts["access_token"]
        psids = sandbox.people(page, PEOPLE)
        settings = PageSettings(
            "messenger_default", sandbox.base_url, page, token, facts["app_secret"], messages_per_second=None
        )
        client = MessengerClient(PageCredentials(settings.base_url, page, token, settings.app_secret))
        stage = Stage(make_engine(url, pool_size=5), keyring, sandbox, settings, client, 1, 1)
        stages.append(stage)
        rows = sandbox.optins(page, "restock", psids=psids, webhook=False, list_tokens=True)["rows"]
        tokens = {row["psid"]: row["token"] for row in rows}
        stage.sql("UPDATE otn.page SET page_id = %s WHERE id = 1", page)
        for number, psid in enumerate(psids, 1):
            sealed = keyring.encrypt(tokens[psid].encode(), "token")
            digest = keyring.digest("token", page, tokens[psid])
            stage.sql("UPDATE otn.subscriber SET psid = %s WHERE id = %s", psid, number)
            stage.sql(
                "UPDATE otn.token SET token_encrypted = %s, token_hash = %s WHERE id = %s", sealed, digest, number
            )
        for number in (4, 7):  # both saw it; of 7 the answer was lost
            statement = "SELECT attempt_id FROM otn.recipient WHERE campaign_id = 2 AND subscriber_id = %s"
            attempt = str(stage.sql(statement, number)[0].attempt_id)
            message = {"text": "It is back!", "metadata": attempt}
            client.send(SendRequest({"one_time_notif_token": tokens[psids[number - 1]]}, message))
        return url, stage, psids

    yield make
    for stage in stages:
        stage.client.close()
        stage.engine.dispose()


@pytest.mark.parametrize("version", EARLIER)
def test_a_campaign_that_was_cut_off_is_finished_and_nobody_sees_it_twice(
    mid_sending: Callable[[str], tuple[str, Stage, list[str]]], version: str
) -> None:
    url, stage, psids = mid_sending(version)
    migrate(url)
    figures = stage.run(2)
    assert stage.seen() == {psids[number - 1]: 1 for number in (4, 5, 6, 7, 9)}
    assert (figures["state"], figures["sent"], figures["waiting"], figures["unknown"]) == ("finished", 5, 0, 0)
    assert figures["skipped"] == {"suppressed": 1}
    assert figures["sent_inferred"] == 1
    stage.promise_holds(2)


def test_an_older_schema_is_refused_by_senders_until_it_is_migrated(earlier: Callable[[str], str]) -> None:
    url = earlier(EARLIER[-1])
    engine = make_engine(url)
    try:
        with pytest.raises(SchemaBehindError, match="otn migrate"):
            check_schema(engine)
        migrate(url)
        check_schema(engine)
    finally:
        engine.dispose()


def test_a_database_without_tables_is_refused(make_database: Callable[[str], str]) -> None:
    engine = make_engine(make_database("template1"))
    try:
        with pytest.raises(SchemaBehindError):
            check_schema(engine)
    finally:
        engine.dispose()
