"""What each role may do, table by table: a new table needs a decision here and in ``otn.make_roles``."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import psycopg2
import pytest
from sqlalchemy import make_url

from otn.local.logins import RECEIVER, SENDER
from tests.logins import url_of
from tests.named_queries import NAMED, explainable, look_at, sql_of
from tests.schema.conftest import connect

# What the receiver and a sender may: S(elect), I(nsert), U(pdate), D(elete); small letters: some columns only. What a
# reader sees stands in test_views, column by column.
GRANTS = {
    "alarm": ("", "SIUD"),
    "alembic_version": ("", "S"),
    "ask": ("", "SIU"),
    "attempt": ("", "SIU"),  # a trigger bounds the update: an erasure forgets a message id
    "attachment": ("", "SIU"),
    "audit": ("", "SI"),
    "calibration": ("", "S"),
    "call_count": ("", "SIUD"),
    "campaign": ("", "SIU"),
    "campaign_run": ("", "SIU"),
    "campaign_transition": ("", "S"),
    "deletion_request": ("si", "SU"),
    "endpoint": ("", "Su"),  # where results go is the owner's to say
    "epoch": ("", "SU"),
    "erasure_mark": ("", "SIU"),
    "event": ("", "SID"),
    "exclusion": ("", "SI"),
    "landing": ("", "SIU"),
    "landing_file": ("", "SIU"),
    "landing_refusal": ("", "SIUD"),
    "notice": ("", "SIUD"),
    "outcome": ("", "SID"),
    "outgoing_event": ("", "SID"),
    "pace": ("", "SIU"),
    "page": ("s", "SU"),
    "quarantine": ("", "SIUD"),
    "recipient": ("", "SIU"),
    "rule": ("", "Su"),  # to lock it
    "silence": ("", "SIUD"),
    "silence_mark": ("", "SU"),
    "subscriber": ("", "SIU"),
    "suppression": ("", "SIUD"),
    "test_message": ("", "SI"),
    "token": ("", "SIU"),
    "tombstone": ("", "SI"),
    "topic": ("", "SI"),
    "traffic": ("", "SIUD"),
    "v_campaign": ("", "S"),
    "v_consent": ("", "S"),
    "v_recipient": ("", "S"),
    "webhook_event": ("I", "SIU"),
    "window_attempt": ("", "SIU"),
    "window_message": ("", "SIU"),
    "window_transition": ("", "S"),
}
# Queries of commands and of otn_purge, which run as the owner; and the receiver's.
NOT_A_SENDERS = {
    "calibration": {"forget", "learn"},
    "doctor": {"default_partition"},
    "outgoing": {"add_endpoint", "remove_endpoint", "rotate_secret"},
    "page": {"insert_page"},
    "purge": {"delete_events", "delete_people", "delete_proofs", "delete_raw_of_default", "delete_requests"},
    "receiver": {"ask_deletion"},
    "rule": {"park_rules", "remove_rule", "write_rule"},
    "topic": {"adopt_topic", "edit_topic", "register_topic", "topics_to_adopt"},
}
RELATIONS = (
    "SELECT oid, relname FROM pg_class WHERE relnamespace = 'otn'::regnamespace AND relkind IN ('r', 'p', 'v')"
    " AND relispartition = %s"
)


def rights(cursor: Any, relation: int, role: str) -> str:
    found = ""
    for right in ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"):
        cursor.execute("SELECT has_table_privilege(%s, %s::oid, %s)", (role, relation, right))
        if cursor.fetchone()[0]:
            found += right[0]
        elif right in {"SELECT", "INSERT", "UPDATE"}:
            cursor.execute("SELECT has_any_column_privilege(%s, %s::oid, %s)", (role, relation, right))
            found += right[0].lower() if cursor.fetchone()[0] else ""
    return found


def test_for_every_table_somebody_decided_what_receiver_and_sender_may(ground: Any) -> None:
    ground.execute(RELATIONS, (False,))
    found = {
        name: (rights(ground, relation, RECEIVER.role), rights(ground, relation, SENDER.role))
        for relation, name in ground.fetchall()
    }
    assert found == GRANTS


def test_no_role_has_a_right_to_a_partition_by_itself(ground: Any) -> None:
    ground.execute(RELATIONS, (True,))
    partitions = ground.fetchall()
    assert len(partitions) > 3
    for role in ("otn_reader", RECEIVER.role, SENDER.role):
        assert {rights(ground, relation, role) for relation, _ in partitions} == {""}


def test_what_somebody_granted_by_hand_goes_with_the_next_migration(ground: Any) -> None:
    ground.execute("GRANT ALL ON otn.token TO otn_receiver; GRANT DELETE ON otn.token TO otn_sender")
    ground.execute("SELECT otn.make_roles(), otn.make_roles()")
    test_for_every_table_somebody_decided_what_receiver_and_sender_may(ground)


def test_a_sender_may_run_every_query_but_those_of_the_owner(ground: Any) -> None:
    ground.execute("SET LOCAL ROLE otn_sender")
    ground.execute(sql_of("ingest", "make_stage"))
    refused: dict[str, set[str]] = {}
    asked = [(subject, name) for subject, name in NAMED if explainable(sql_of(subject, name))]
    for subject, name in asked:
        ground.execute("SAVEPOINT before")
        try:
            look_at(ground, sql_of(subject, name))
        except psycopg2.errors.InsufficientPrivilege:
            refused.setdefault(subject, set()).add(name)
        ground.execute("ROLLBACK TO before")
    assert len(asked) > 150
    assert refused == NOT_A_SENDERS


@pytest.mark.parametrize("kind", [SENDER, RECEIVER], ids=["sender", "receiver"])
def test_a_login_owns_nothing_and_cannot_become_somebody_else(make_database: Any, kind: Any) -> None:
    url = url_of(kind, make_database("otn_template"))
    with closing(connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_class WHERE pg_has_role(relowner, 'MEMBER') AND relname !~ '^pg_'")
        assert cursor.fetchone() == (0,)
        for statement in (
            "SET ROLE postgres",
            "CREATE TABLE otn.mine (id integer)",
            "ALTER TABLE otn.attempt DISABLE TRIGGER USER",
            "DROP SCHEMA otn CASCADE",
            "TRUNCATE otn.event",
            "GRANT otn_reader TO CURRENT_USER",
            f"ALTER ROLE {kind.login} SUPERUSER",
            "CREATE ROLE another",
            "SET session_replication_role = replica",
            "COPY otn.page TO PROGRAM 'cat'",
            "SELECT pg_read_file('postgresql.conf')",
            "SELECT token_encrypted FROM otn.token" if kind == RECEIVER else "DELETE FROM otn.token",
        ):
            with pytest.raises(psycopg2.Error) as refusal:
                cursor.execute(statement)
            assert refusal.value.pgcode == "42501", statement
            connection.rollback()
    assert make_url(url).username == kind.login
