"""Somebody tries to break each rule of the schema by SQL, and is refused in that rule's name."""

from __future__ import annotations

from typing import Any

import psycopg2
import pytest

from tests.schema import consent_rules, rules
from tests.schema.rules import GIVING_BACK, HOLDING, recipient

ACCEPTED = rules.ACCEPTED | consent_rules.ACCEPTED
CASES = rules.CASES + consent_rules.CASES

NAMED = """
SELECT conname FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid
WHERE t.relnamespace = 'otn'::regnamespace AND NOT t.relispartition AND contype IN ('c', 'u', 'x')
UNION
SELECT i.relname FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
WHERE t.relnamespace = 'otn'::regnamespace AND NOT t.relispartition AND x.indisunique AND NOT x.indisprimary
UNION
SELECT tgname FROM pg_trigger g JOIN pg_class t ON t.oid = g.tgrelid
WHERE t.relnamespace = 'otn'::regnamespace AND NOT t.relispartition AND NOT tgisinternal
  AND tgtype & 2 <> 0 -- those before a row refuse; those after it write something down
"""

# Alembic's own table; its columns are Alembic's business.
TABLES = """
SELECT oid::regclass::text FROM pg_class
WHERE relnamespace = 'otn'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
  AND relname <> 'alembic_version'
ORDER BY 1
"""


def refused_by(cursor: Any, statement: str) -> str | None:
    """The rule in whose name Postgres refuses."""
    with pytest.raises(psycopg2.IntegrityError) as refusal:
        cursor.execute(statement)
    return refusal.value.diag.constraint_name


@pytest.mark.parametrize(("rule", "statement"), CASES, ids=[f"{rule}-{n}" for n, (rule, _) in enumerate(CASES)])
def test_breaking_a_rule_is_refused_in_its_name(ground: Any, rule: str, statement: str) -> None:
    assert refused_by(ground, statement) == rule


@pytest.mark.parametrize("what", ACCEPTED)
def test_a_row_that_breaks_nothing_is_accepted(ground: Any, what: str) -> None:
    ground.execute(ACCEPTED[what])
    assert ground.rowcount == 1


def test_every_rule_of_the_schema_has_a_case(ground: Any) -> None:
    ground.execute(NAMED)
    rules = {name for (name,) in ground.fetchall()}
    assert len(rules) > 50
    assert rules == {rule for rule, _ in CASES}


def tables(cursor: Any) -> list[str]:
    cursor.execute(TABLES)
    return [name for (name,) in cursor.fetchall()]


def test_every_primary_key_refuses_the_same_row_twice(ground: Any) -> None:
    ground.connection.cursor().execute("SAVEPOINT before")
    for table in tables(ground):
        ground.execute(
            "SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute"
            " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''",
            (table,),
        )
        columns = ground.fetchone()[0]
        ground.execute("SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'p'", (table,))
        key = ground.fetchone()[0]
        refusal = refused_by(
            ground,
            f"INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {table} LIMIT 1",
        )
        # A partition refuses in the name of its own index.
        assert refusal in {key, "webhook_event_default_pkey"}, table
        ground.execute("ROLLBACK TO before")


def test_every_reference_must_lead_somewhere(ground: Any) -> None:
    ground.execute(
        "SELECT c.conrelid::regclass::text, c.conname, a.attname"
        " FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid"
        " JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]"
        " WHERE c.connamespace = 'otn'::regnamespace AND c.contype = 'f' AND NOT t.relispartition"
    )
    references = ground.fetchall()
    assert len(references) > 15
    for table, name, column in references:
        ground.execute("SAVEPOINT before")
        ground.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        if table == "otn.recipient":
            ground.execute("DELETE FROM otn.attempt")  # or the attempt's own reference speaks first
        one = f"(SELECT ctid FROM {table} ORDER BY {column} IS NULL, ctid LIMIT 1)"
        assert refused_by(ground, f"UPDATE {table} SET {column} = 32000 WHERE ctid = {one}") == name
        ground.execute("ROLLBACK TO before")


def test_no_column_that_must_be_set_takes_null(ground: Any) -> None:
    ground.execute(
        "SELECT t.oid::regclass::text, a.attname FROM pg_attribute a JOIN pg_class t ON t.oid = a.attrelid"
        " WHERE t.relnamespace = 'otn'::regnamespace AND t.relkind IN ('r', 'p') AND NOT t.relispartition"
        " AND a.attnum > 0 AND a.attnotnull AND a.attidentity = '' AND a.attgenerated = ''"
        " AND t.relname <> 'alembic_version'"
    )
    columns = ground.fetchall()
    assert len(columns) > 60
    for table, column in columns:
        ground.execute("SAVEPOINT before")
        ground.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        with pytest.raises(psycopg2.errors.NotNullViolation) as refusal:
            ground.execute(f"UPDATE {table} SET {column} = NULL")
        assert refusal.value.diag.column_name == column
        ground.execute("ROLLBACK TO before")


@pytest.mark.parametrize("first", HOLDING)
def test_a_token_that_somebody_holds_goes_to_nobody_else(ground: Any, first: str) -> None:
    ground.execute(recipient(**HOLDING[first], person=2, token=2))
    for second in HOLDING.values():
        ground.execute("SAVEPOINT before")
        assert refused_by(ground, recipient(**second, campaign=2, person=2, token=2)) == "recipient_token_once"
        ground.execute("ROLLBACK TO before")


@pytest.mark.parametrize("first", GIVING_BACK)
def test_a_token_that_was_given_back_may_be_used_by_another_campaign(ground: Any, first: str) -> None:
    ground.execute(recipient(**GIVING_BACK[first], person=2, token=2))
    ground.execute(recipient(campaign=2, person=2, token=2))
    assert refused_by(ground, recipient(campaign=2, person=3, token=2)) == "recipient_token_once"


def test_a_token_cannot_be_taken_back_while_another_campaign_holds_it(ground: Any) -> None:
    ground.execute(recipient("refused", person=2, token=2))
    ground.execute(recipient(campaign=2, person=2, token=2))
    again = "UPDATE otn.recipient SET state = 'waiting' WHERE campaign_id = 1 AND subscriber_id = 2"
    assert refused_by(ground, again) == "recipient_token_once"


def test_what_is_not_content_may_change(ground: Any) -> None:
    ground.execute(
        "UPDATE otn.campaign SET send_at = now(), canary = 5, max_refused = 1, if_late = 'send', late_after = '0',"
        " message = message, include_labels = include_labels"
    )
    assert ground.rowcount == 2
