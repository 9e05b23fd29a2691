"""New migrations only add, and hold no lock on a large table for long; where one must, it says why."""

from __future__ import annotations

import re

import pytest

from otn.database.schema import migrations

FIRST = "0008"  # those before were released without these rules
# Grow with people and messages: what reads or rewrites all of one holds its lock for minutes.
LARGE = (
    "webhook_event|event|token|subscriber|suppression|recipient|attempt|exclusion|window_message|window_attempt|audit"
)
ALTER = rf"\bALTER TABLE otn\.({LARGE})\b[^;]*"

# The code of the version before goes on running, and must find what it knows.
OLDER_CODE = {
    "takes something away": r"\bDROP (TABLE|VIEW|FUNCTION|TYPE|COLUMN|SCHEMA)\b",
    "renames": r"\bRENAME\b",
    "changes a type": r"\bALTER COLUMN \w+ (SET DATA )?TYPE\b",
    "wants what older code does not write": (
        r"\bSET NOT NULL\b|\bADD COLUMN [^,;]*\bNOT NULL\b(?![^,;]*(DEFAULT|GENERATED))"
    ),
}
LOCKS = {
    "checks all rows of a large table under its lock": rf"{ALTER}\bADD CONSTRAINT\b(?![^;]*NOT VALID)",
    "builds an index while nobody may write": rf"\bCREATE (UNIQUE )?INDEX [^;]*\bON otn\.({LARGE})\b",
    "rewrites a large table": rf"\bUPDATE otn\.({LARGE})\b|{ALTER}DEFAULT (clock_timestamp|gen_random_uuid)",
    "locks by hand": r"^\s*LOCK\b",
}
EXCUSES = {"older code": OLDER_CODE, "locks": LOCKS}


def broken(sql: str) -> list[str]:
    """The rules that a migration breaks without a line ``-- older code: …`` or ``-- locks: …`` that says why."""
    found = []
    made = "|".join(re.findall(r"\bCREATE TABLE otn\.(\w+)", sql)) or "nothing"
    for chunk in re.sub(r"\$(\w*)\$.*?\$\1\$", "''", sql, flags=re.DOTALL).split(";\n"):
        statement = re.sub(r"--.*", "", chunk)
        if re.search(rf"\b(TABLE|ON|UPDATE) otn\.({made})\b", statement):
            continue  # nobody has rows in it, and older code does not know it
        for excuse, rules in EXCUSES.items():
            if not re.search(rf"^-- {excuse}: \S.{{10,}}", chunk, flags=re.MULTILINE):
                found += [rule for rule, pattern in rules.items() if re.search(pattern, statement, flags=re.MULTILINE)]
    return found


@pytest.mark.parametrize(
    "migration", [one for one in migrations() if one.version >= FIRST], ids=lambda one: one.version
)
def test_a_new_migration_only_adds_and_locks_nobody_out(migration: object) -> None:
    assert broken(migration.sql) == []  # type: ignore[attr-defined]


BAD = {
    "DROP TABLE otn.alarm;\n": "takes something away",
    "DROP FUNCTION otn.audience(integer);\n": "takes something away",
    "ALTER TABLE otn.page\n    DROP COLUMN name;\n": "takes something away",
    "ALTER TABLE otn.page RENAME COLUMN name TO title;\n": "renames",
    "ALTER TABLE otn.page ALTER COLUMN name TYPE varchar(10);\n": "changes a type",
    "ALTER TABLE otn.page ALTER COLUMN name SET NOT NULL;\n": "wants what older code does not write",
    "ALTER TABLE otn.page ADD COLUMN more text NOT NULL;\n": "wants what older code does not write",
    "ALTER TABLE otn.token ADD CONSTRAINT t CHECK (id > 0);\n": "checks all rows of a large table under its lock",
    "CREATE INDEX token_new ON otn.token (id);\n": "builds an index while nobody may write",
    "UPDATE otn.recipient SET reason = NULL;\n": "rewrites a large table",
    "ALTER TABLE otn.event ADD COLUMN more uuid DEFAULT gen_random_uuid();\n": "rewrites a large table",
    "LOCK TABLE otn.page;\n": "locks by hand",
}


@pytest.mark.parametrize("sql", BAD, ids=[f"{rule}-{n}" for n, rule in enumerate(BAD.values())])
def test_what_older_code_or_a_large_table_cannot_bear_is_found(sql: str) -> None:
    assert broken(f"-- A migration.\n\n-- Says what, not why.\n{sql}") == [BAD[sql]]
    word = "older code" if BAD[sql] in OLDER_CODE else "locks"
    assert broken(f"-- {word}: nobody has used it since 0.1\n{sql}") == []


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE otn.page ADD COLUMN more text NOT NULL DEFAULT '', ADD COLUMN other integer;\n",
        "ALTER TABLE otn.token ADD CONSTRAINT token_is CHECK (id > 0) NOT VALID;\n",
        "CREATE TABLE otn.f (id integer);\nCREATE INDEX f_id ON otn.f (id);\nALTER TABLE otn.f RENAME id TO no;\n",
        "CREATE OR REPLACE FUNCTION otn.f() RETURNS int AS $$ BEGIN DROP TABLE x;\n DELETE FROM otn.page; $$;\n",
    ],
)
def test_what_harms_nobody_is_allowed(sql: str) -> None:
    assert broken(sql) == []


def test_numbers_follow_each_other_and_each_says_what_it_is_about() -> None:
    assert [int(one.version) for one in migrations()] == list(range(1, len(migrations()) + 1))
    assert all(len(one.subject) > 10 for one in migrations())
