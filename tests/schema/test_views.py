"""Views that fit their documentation and their report, and roles that can do their work and nothing else."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
import pytest
from sqlalchemy import event

from otn.campaign import control, report
from otn.database import DatabaseError, Engine, make_engine, queries, transaction
from otn.intake.ingest import ingest_pending
from otn.settings import ROOT
from tests.campaign.conftest import make_stage, sandbox, stage
from tests.campaign.stage import Stage
from tests.campaign.test_report import every_state
from tests.clean import database, emptied_url
from tests.consent.inbox import Inbox, body, message, optin
from tests.schema.conftest import connect

__all__ = ["database", "emptied_url", "every_state", "make_stage", "sandbox", "stage"]

LACKING = "42501"  # insufficient_privilege
VIEWS = ("v_campaign", "v_recipient", "v_consent")
# What names, reaches or decrypts a person, or what a person or an operator wrote: no reader sees it.
HIDDEN = {
    "webhook_event": {"id", "body"},
    "quarantine": {"webhook_id", "position", "item"},
    "subscriber": {"psid", "first_name", "last_name", "attributes"},
    "token": {"token_hash", "token_encrypted"},
    "silence": {"id", "psid_hash", "payload"},
    "silence_mark": {"id", "bytes", "tail", "looks"},
    "suppression": {"actor", "note"},
    "tombstone": {"psid_hash"},
    "event": {
        *("fingerprint", "mid", "mids", "watermark", "metadata", "payload", "detail"),
        *("webhook_day", "webhook_id"),
    },
    "recipient": {"attempt_id", "variables", "message_id"},
    "attempt": {"attempt_id", "message_id"},
    "window_message": {"message", "attempt_id", "message_id"},
    "window_attempt": {"attempt_id", "message_id"},
    "deletion_request": {"id", "code", "user_id", "user_hash"},
    "erasure_mark": {"id", "bytes", "tail"},
    "attachment": {"sha256", "name", "attachment_id", "uploaded_by"},
    "audit": {"detail"},
    "landing": {"error"},
    "endpoint": {"url", "secret", "secret_before", "secret_until", "lease", "lease_until", "created_by"},
    "landing_file": {"version", "error", "read_digest"},
}


@contextmanager
def acting_as(role: str, url: str) -> Iterator[Engine]:
    """An engine whose every session has the rights of a role, as a login that is a member of it has."""
    engine = make_engine(url, pool_size=4)

    @event.listens_for(engine, "connect")
    def become(connection: Any, _record: Any) -> None:
        connection.cursor().execute(f"SET ROLE {role}")
        connection.commit()

    yield engine
    engine.dispose()


def rows(engine: Engine, statement: str, *values: Any) -> list[Any]:
    with transaction(engine) as connection, connection.cursor() as cursor:
        cursor.execute(statement, values or None)
        return list(cursor.fetchall()) if cursor.description else []


def refused(engine: Engine, statement: str) -> bool:
    """Whether Postgres says that the right is lacking; any other error is one."""
    try:
        rows(engine, statement)
    except DatabaseError as error:
        if error.sqlstate != LACKING:
            raise
        return True
    return False


# ── views


def test_every_column_of_a_view_is_explained_in_the_database_and_in_the_docs(ground: Any) -> None:
    ground.execute(
        "SELECT c.relname, a.attname, col_description(c.oid, a.attnum) FROM pg_class c"
        " JOIN pg_attribute a ON a.attrelid = c.oid"
        " WHERE c.relnamespace = 'otn'::regnamespace AND c.relkind = 'v' AND a.attnum > 0 ORDER BY 1, a.attnum"
    )
    columns = ground.fetchall()
    assert {view for view, _, _ in columns} == set(VIEWS)
    text = (ROOT / "docs" / "sql.md").read_text(encoding="utf-8")
    told = {view: re.findall(r"^\| `(\w+)` \| (.+) \|$", part, re.MULTILINE) for view, part in chapters(text)}
    for view in VIEWS:
        assert told[view] == [(name, why) for of, name, why in columns if of == view]
        ground.execute("SELECT obj_description(%s::regclass)", (f"otn.{view}",))
        assert "contract" in ground.fetchone()[0]


def chapters(text: str) -> list[tuple[str, str]]:
    return [(part.split("`")[1], part) for part in text.split("\n## ") if part.startswith("`")]


def test_the_figures_of_the_view_are_those_of_the_report(every_state: tuple[Stage, int]) -> None:
    stage, campaign = every_state
    stage.sql(
        "INSERT INTO otn.audit (actor, action, campaign_id, detail)"
        " SELECT 'platform', 'token_spent_elsewhere', %s, '{\"people\": 3}' FROM generate_series(1, 2)",
        campaign,
    )
    stage.sql("UPDATE otn.page SET halted_at = now(), halt_reason = 'blocked (368)'")
    empty = stage.open("summer")
    others = [stage.planned(name) for name in ("paused", "halted", "finished", "cancelled")]
    control.pause(stage.engine, others[0], actor="test")
    with transaction(stage.engine) as connection:
        control.halt(connection, queries("campaign").lock_campaign(connection, campaign_id=others[1]), "enough")
    control.end_run(stage.engine, others[2])
    control.cancel(stage.engine, others[3], actor="test")
    states = set()
    for one in (campaign, empty, *others):
        figures = report.report(stage.engine, one)
        (row,) = [
            dict(row._asdict()) for row in rows(stage.engine, f"SELECT * FROM otn.v_campaign WHERE campaign_id = {one}")
        ]
        assert figures.pop("waits_for") is None  # of the page's quota, not of the campaign
        for name in ("started_at", "finished_at"):
            row[name] = row[name].isoformat() if row[name] else None
        assert {name: row[name] for name in figures} == figures
        states.add(row["state"])
    assert states == {"sending", "scheduled", "paused", "halted", "finished", "cancelled"}
    assert report.report(stage.engine, campaign)["spent_elsewhere"] == 6


def test_a_list_of_campaigns_counts_nobody(database: Engine) -> None:
    plan = "\n".join(str(row) for row in rows(database, "EXPLAIN SELECT campaign, state FROM otn.v_campaign"))
    assert "recipient" not in plan
    assert "exclusion" not in plan
    assert "recipient" in "\n".join(str(row) for row in rows(database, "EXPLAIN SELECT sent FROM otn.v_campaign"))


def test_a_recipient_is_one_row_with_its_state_and_nothing_that_names_anybody(every_state: tuple[Stage, int]) -> None:
    stage, campaign = every_state
    found = {row.subscriber_id: row for row in rows(stage.engine, "SELECT * FROM otn.v_recipient")}
    exported = {row["subscriber_id"]: row for row in report.export_rows(stage.engine, campaign)}
    assert found.keys() == exported.keys()
    for person, row in found.items():
        for name in ("state", "evidence", "reason", "error_code", "error_subcode", "attempts", "sent_at", "read_at"):
            assert getattr(row, name) == exported[person][name]
    assert sum(row.token_spent for row in found.values()) == report.report(stage.engine, campaign)["tokens_spent"]
    assert not {"psid", "message_id", "first_name"} & set(next(iter(found.values()))._fields)


# ── roles


def test_for_every_column_somebody_decided_whether_a_reader_sees_it(ground: Any) -> None:
    ground.execute(
        "SELECT c.relname, a.attname, has_column_privilege('otn_reader', c.oid, a.attname, 'SELECT') FROM pg_class c"
        " JOIN pg_attribute a ON a.attrelid = c.oid"
        " WHERE c.relnamespace = 'otn'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition"
        " AND a.attnum > 0 AND NOT a.attisdropped"
    )
    hidden: dict[str, set[str]] = {}
    for table, column, seen in ground.fetchall():
        if not seen:
            hidden.setdefault(table, set()).add(column)
    assert hidden == HIDDEN


def test_a_reader_reads_the_views_and_finds_nobody(every_state: tuple[Stage, int], emptied_url: str) -> None:
    stage, _ = every_state
    secrets = {str(value) for row in stage.sql("SELECT psid, first_name || '.' FROM otn.subscriber") for value in row}
    stage.sql("UPDATE otn.subscriber SET first_name = first_name || '.', attributes = jsonb_build_object('a', psid)")
    stage.sql("UPDATE otn.recipient r SET variables = to_jsonb(s) FROM otn.subscriber s WHERE s.id = r.subscriber_id")
    tables = [
        name
        for (name,) in stage.sql(
            "SELECT relname FROM pg_class WHERE relnamespace = 'otn'::regnamespace AND relkind IN ('r', 'p', 'v')"
            " AND NOT relispartition"
        )
    ]
    with acting_as("otn_reader", emptied_url) as reader:
        read = []
        for table in tables:
            columns = [
                name
                for (name,) in stage.sql(
                    "SELECT quote_ident(attname) FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0"
                    " AND NOT attisdropped AND has_column_privilege('otn_reader', attrelid, attname, 'SELECT')",
                    f"otn.{table}",
                )
            ]
            read += rows(reader, f"SELECT {', '.join(columns)} FROM otn.{table}")
        text = "\n".join(map(str, read))
        assert len(read) > 60
        assert [secret for secret in secrets if secret in text] == []
        assert rows(reader, "SELECT count(*) FROM otn.v_consent WHERE state = 'silenced'") == [(2,)]
        for table, columns in HIDDEN.items():
            assert all(refused(reader, f"SELECT {column} FROM otn.{table}") for column in columns)
        for statement in (
            "INSERT INTO otn.audit (actor, action) VALUES ('me', 'was here')",
            "UPDATE otn.campaign SET state = 'cancelled'",
            "DELETE FROM otn.recipient",
            "SELECT psid FROM otn.subscriber LIMIT 0",
            "SELECT * FROM otn.subscriber",
            "SELECT * FROM otn.webhook_event_default",
        ):
            assert refused(reader, statement), statement


def test_a_receiver_stores_and_cannot_read_what_it_stored(database: Engine, emptied_url: str) -> None:
    rows(database, "INSERT INTO otn.page (page_id, connection_id) VALUES ('1', 'shop')")
    with acting_as("otn_receiver", emptied_url) as receiver:
        with transaction(receiver) as connection:
            ask = queries("receiver")
            assert [row.connection_id for row in ask.page_connections(connection)] == ["shop"]
            assert ask.can_store(connection) is True
            today = rows(database, "SELECT current_date")[0][0]
            for day in (today, today.replace(year=2001)):  # in a partition, and in the one for all other days
                for _ in range(2):
                    ask.store_webhooks(connection, days=[day], ids=[str(uuid.UUID(int=1))], ages=[0.0], bodies=[b"x"])
            for code in ("one", "two"):
                ask.ask_deletion(connection, id=str(uuid.uuid4()), code=code, user_id=b"x", user_hash=b"h" * 32)
            assert ask.open_deletion(connection, user_hash=b"h" * 32) == "one"
            assert ask.find_deletion(connection, code="one").state == "received"
        for statement in (
            "SELECT body FROM otn.webhook_event",
            "SELECT count(*) FROM otn.webhook_event",
            "SELECT user_id FROM otn.deletion_request",
            "SELECT halt_reason FROM otn.page",
            "SELECT psid FROM otn.subscriber",
            "SELECT token_encrypted FROM otn.token",
            "SELECT * FROM otn.v_campaign",
            "UPDATE otn.webhook_event SET body = 'y'",
            "DELETE FROM otn.webhook_event",
            "UPDATE otn.deletion_request SET state = 'done'",
            "INSERT INTO otn.page (page_id, connection_id) VALUES ('2', 'other')",
        ):
            assert refused(receiver, statement), statement
    assert rows(database, "SELECT count(*) FROM otn.webhook_event") == [(2,)]


def test_a_sender_takes_in_sends_and_reports_and_takes_nothing_away(stage: Stage, emptied_url: str) -> None:
    people = stage.opt_in(3)
    with acting_as("otn_sender", emptied_url) as sender:
        box = Inbox(stage.engine, stage.keyring)
        page = stage.settings.page_id
        box.put(
            body(
                optin("a-token", "restock", psid="77", page=page),
                message("stop", psid=people[2], page=page, at=datetime.now(UTC) + timedelta(seconds=1)),
                page=page,
            )
        )
        balance = ingest_pending(sender, stage.keyring)
        assert (balance.ingested, balance.optins_new) == (2, 1)
        mine = Stage(
            sender, stage.keyring, stage.sandbox, stage.settings, stage.client, stage.page_row, stage.topic_row
        )
        campaign = mine.planned(result_labels={"sent": ["told"]})
        stage.sandbox.block(page, [people[1]])
        figures = mine.run(campaign)
        assert (figures["sent"], figures["state"]) == (1, "finished"), figures
        assert figures["excluded"] == {"suppressed": 1}
        for statement in (
            "DELETE FROM otn.recipient",
            "DELETE FROM otn.token",
            "DELETE FROM otn.subscriber",
            "DELETE FROM otn.campaign",
            "DELETE FROM otn.attempt",
            "DELETE FROM otn.audit",
            "DELETE FROM otn.tombstone",
            "UPDATE otn.audit SET actor = 'somebody else'",
            "UPDATE otn.alembic_version SET version_num = '0001'",
            "INSERT INTO otn.campaign_transition VALUES ('finished', 'draft')",
            "DELETE FROM otn.calibration",
            "TRUNCATE otn.event",
            "ALTER TABLE otn.attempt DISABLE TRIGGER USER",
            "DROP TABLE otn.event",
            "CREATE TABLE otn.mine (id integer)",
        ):
            assert refused(sender, statement), statement


def test_who_may_make_no_roles_is_told_and_everything_else_is_made(make_database: Any) -> None:
    with closing(connect(make_database("otn_template"))) as connection, connection.cursor() as cursor:
        role = f"plain_{uuid.uuid4().hex[:8]}"
        cursor.execute(f"CREATE ROLE {role}")
        cursor.execute(f"GRANT USAGE ON SCHEMA otn TO {role}")
        cursor.execute(f"ALTER ROLE otn_reader RENAME TO {role}_reader")  # undone with everything else
        cursor.execute(f"SET ROLE {role}")
        # It owns nothing here, so that the grants which follow are refused it too.
        cursor.execute("DO $$ BEGIN PERFORM otn.make_roles(); EXCEPTION WHEN insufficient_privilege THEN END $$")
        assert any("otn_reader does not exist and cannot be made" in notice for notice in connection.notices)
        connection.rollback()
        cursor.execute("SELECT otn.make_roles(), otn.make_roles()")  # again, it changes nothing
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute("SET ROLE otn_receiver; SELECT * FROM otn.token")
