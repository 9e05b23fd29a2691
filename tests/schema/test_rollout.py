"""A new version is rolled out while the old one is at work: it sends and stores, and the new schema comes."""

from __future__ import annotations

import shutil
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import make_url

from otn.campaign import plan
from otn.database import DatabaseError, Engine, make_engine, migrating, queries, transaction
from otn.database.migrating import BusyError, migrate, schema_version, script
from otn.database.schema import SchemaAheadError, SchemaBehindError, check_schema, migrations
from otn.local.logins import RECEIVER
from otn.local.postgres import environment, programs
from otn.settings import ROOT, sql_folder
from tests.campaign.conftest import make_stage, sandbox, stage
from tests.campaign.stage import Stage
from tests.logins import url_of
from tests.schema.conftest import connect

__all__ = ["make_stage", "sandbox", "stage"]

HEAD = migrations()[-1].version
NEXT = f"{int(HEAD) + 1:04}"
NEXT_SQL = """-- The next version: changes the tables that everybody writes to.
ALTER TABLE otn.webhook_event ADD COLUMN later integer;
ALTER TABLE otn.recipient ADD COLUMN later integer, ADD CONSTRAINT recipient_later CHECK (later > 0) NOT VALID;
"""
NEXT_STEP = f"""
from otn.database.migrations import run_sql
revision, down_revision = "{NEXT}", "{HEAD}"
def upgrade():
    run_sql("{NEXT}_next.sql")
"""
PEOPLE = 60


@pytest.fixture
def next_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes this code the next version, whose schema is one migration further."""
    steps = tmp_path / "migrations"
    shutil.copytree(ROOT / "plugins" / "otn" / "database" / "migrations", steps)
    (steps / "versions" / f"{NEXT}_next.py").write_text(NEXT_STEP)
    shutil.copytree(sql_folder(), tmp_path / "sql")
    (tmp_path / "sql" / "migrations" / f"{NEXT}_next.sql").write_text(NEXT_SQL)

    def become() -> None:
        monkeypatch.setenv("OTN_SQL_DIR", str(tmp_path / "sql"))
        monkeypatch.setattr(migrating, "_SCRIPTS", steps)

    return become


@pytest.fixture
def newer(
    database: Engine, database_url: str, next_version: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> Engine:
    """A database that is one migration further than this code."""
    next_version()
    migrate(database_url)
    assert schema_version(database_url) == (NEXT, NEXT)
    monkeypatch.undo()
    assert schema_version(database_url) == (NEXT, HEAD)
    return database


def sends(stage: Stage, campaign: int, done: list[dict[str, object]]) -> None:
    done.append(stage.run(campaign))


@pytest.fixture
def storing(database_url: str) -> Iterator[Callable[[], tuple[int, list[str]]]]:
    """A receiver's writer, at work all the time; ended, it tells how many it stored, and what it was refused."""
    stop = threading.Event()
    stored: list[str] = []
    refused: list[str] = []
    engine = make_engine(url_of(RECEIVER, database_url), pool_size=1)

    def work() -> None:
        while not stop.wait(0.01):
            receipt = str(uuid.uuid4())
            try:
                with transaction(engine) as connection:
                    queries("receiver").store_webhooks(
                        connection, days=["2001-01-01"], ids=[receipt], ages=[0.0], bodies=[b"sealed"]
                    )
                stored.append(receipt)
            except DatabaseError as error:
                refused.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()

    def end() -> tuple[int, list[str]]:
        stop.set()
        thread.join(60)
        return len(stored), refused

    yield end
    end()
    engine.dispose()


def test_senders_and_receiver_go_on_while_the_next_version_migrates(
    stage: Stage,
    database_url: str,
    next_version: Callable[[], None],
    storing: Callable[[], tuple[int, list[str]]],
) -> None:
    stage.opt_in(PEOPLE)
    campaign = stage.open()
    plan.plan(stage.engine, campaign, messages_per_second=20)
    done: list[dict[str, object]] = []
    told: list[str] = []
    waiting = threading.Event()

    def tell(what: str) -> None:
        told.append(what)
        if what.startswith("waiting"):
            waiting.set()

    next_version()
    mover = threading.Thread(target=migrate, args=(database_url,), kwargs={"progress": tell})
    sender = threading.Thread(target=sends, args=(stage, campaign, done))
    with closing(
        connect(database_url)
    ) as blocking:  # a transaction that takes its time, as a plan for many people does
        blocking.cursor().execute("UPDATE otn.recipient SET reason = NULL WHERE false")
        sender.start()
        mover.start()
        assert waiting.wait(60), told
        blocking.rollback()
    mover.join(60)
    sender.join(120)
    count, refused = storing()
    assert schema_version(database_url)[0] == NEXT
    assert told[0] == f"{NEXT}: The next version: changes the tables that everybody writes to"
    assert done[0]["sent"] == PEOPLE
    stage.promise_holds(campaign)
    assert (count > 0, refused) == (True, [])
    stored = stage.sql("SELECT count(*) FROM otn.webhook_event WHERE received_day = '2001-01-01'")
    assert stored == [(count,)]


def test_code_of_the_version_before_sends_on_the_newer_schema(newer: Engine, stage: Stage) -> None:
    check_schema(newer)
    stage.opt_in(5)
    campaign = stage.planned()
    assert stage.run(campaign)["sent"] == 5
    stage.promise_holds(campaign)


def test_a_schema_that_wants_newer_code_is_refused_by_senders_and_by_migrate(newer: Engine, database_url: str) -> None:
    with transaction(newer) as connection:
        connection.cursor().execute(
            f"CREATE OR REPLACE FUNCTION otn.oldest_code() RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT '{NEXT}' $$"
        )
    with pytest.raises(SchemaAheadError, match="too old"):
        check_schema(newer)
    with pytest.raises(SchemaAheadError):
        migrate(database_url)


def test_an_older_migrate_leaves_a_newer_schema_as_it_is(newer: Engine, database_url: str) -> None:
    migrate(database_url)
    assert schema_version(database_url)[0] == NEXT
    assert migrating.plan(database_url).pending == ()


def test_new_code_waits_for_the_schema(database: Engine, database_url: str, next_version: Callable[[], None]) -> None:
    check_schema(database)
    next_version()
    with pytest.raises(SchemaBehindError):
        check_schema(database)
    migrate(database_url)
    check_schema(database)


def test_who_holds_a_lock_for_minutes_is_told_of_and_nothing_was_done(
    database_url: str, next_version: Callable[[], None]
) -> None:
    next_version()
    with closing(connect(database_url)) as blocking:
        blocking.cursor().execute("LOCK TABLE otn.recipient IN ROW EXCLUSIVE MODE")
        with pytest.raises(BusyError, match="pg_stat_activity"):
            migrate(database_url, patience_s=0)
    with closing(connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_attribute WHERE attrelid = 'otn.webhook_event'::regclass AND attname = 'later'"
        )
        assert cursor.fetchone() == (0,)
    assert schema_version(database_url)[0] == HEAD


def test_the_printed_sql_makes_the_same_schema(make_database: Callable[[str], str]) -> None:
    printed, moved = make_database("template1"), make_database("template1")
    with closing(connect(printed)) as connection:
        connection.autocommit = True
        connection.cursor().execute(script(migrating.plan(printed)))
    migrate(moved)
    assert described(printed) == described(moved)
    assert migrating.plan(printed).pending == ()


def test_printed_sql_of_which_a_step_fails_leaves_the_steps_before_it_and_migrate_goes_on(
    make_database: Callable[[str], str],
) -> None:
    printed, moved = make_database("template1"), make_database("template1")
    told = script(migrating.plan(printed))
    run(printed, "CREATE SCHEMA otn; CREATE TABLE otn.epoch ()")  # which 0009 makes
    ended = subprocess.run(
        [
            str(programs() / "psql"),
            "--no-psqlrc",
            "--quiet",
            make_url(printed).set(drivername="postgresql").render_as_string(False),
        ],
        input=told,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, "psql goes on after an error"
    assert 'relation "epoch" already exists' in ended.stderr
    for what in (*(one.version for one in migrations() if one.version > "0009"), "the rest"):
        assert f"Nothing of {what} was done" in ended.stderr
    assert schema_version(printed)[0] == "0008"
    run(printed, "DROP TABLE otn.epoch")
    assert not {"call_count", "silence_mark"} & {row[0] for row in described(printed)}  # of 0010 and 0012
    migrate(printed)
    migrate(moved)
    assert described(printed) == described(moved)


def run(url: str, statement: str) -> None:
    with closing(connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        connection.commit()


def described(url: str) -> list[tuple[str, ...]]:
    """Columns, constraints, functions and rights, as the catalogue has them."""
    with closing(connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull::text, c.relacl::text"
            " FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
            " WHERE c.relnamespace = 'otn'::regnamespace AND a.attnum > 0"
            " UNION ALL SELECT conname, '', pg_get_constraintdef(oid), '', '' FROM pg_constraint"
            " WHERE connamespace = 'otn'::regnamespace"
            " UNION ALL SELECT proname, '', md5(prosrc), '', '' FROM pg_proc WHERE pronamespace = 'otn'::regnamespace"
            " UNION ALL SELECT 'version', version_num, '', '', '' FROM otn.alembic_version ORDER BY 1, 2, 3, 4, 5"
        )
        found = cursor.fetchall()
        assert len(found) > 300
        return list(found)


def test_the_server_is_named_nowhere_in_the_printed_sql(make_database: Callable[[str], str]) -> None:
    url = make_database("template1")
    text = script(migrating.plan(url))
    assert str(make_url(url).password) not in text
    assert text.count("BEGIN;\n") == text.count("COMMIT;\n") == len(migrations()) + 1
