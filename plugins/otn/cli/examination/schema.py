"""Our tables: their version, and the days ahead."""

from __future__ import annotations

from collections.abc import Iterator

from otn.cli.examination import database
from otn.cli.examination.case import Case, Question
from otn.cli.examination.check import Check
from otn.cli.place import database_of
from otn.database import queries
from otn.database.migrating import schema_version
from otn.database.schema import SchemaAheadError, check_schema


def version(case: Case) -> Iterator[Check]:
    """Whether tables and code are of one version; what stands in the tables waits for this."""
    have, newest = schema_version(database_of(case.environment, case.home.path))
    if have == newest:
        case.migrated = True
        yield Check("database.schema", "green", f"The schema is at version {have}.")
    elif have is not None and have > newest:
        yield _newer(case, have, newest)
    else:
        text = f"The schema is at version {have or 'none'}; this code needs {newest}. Nothing in it was looked at."
        yield Check("database.schema", "red", text, "Run `./otn migrate`.")


def _newer(case: Case, have: str, newest: str) -> Check:
    """Senders go on while a new version is rolled out, as long as the schema says so."""
    assert case.engine is not None  # noqa: S101 - it is asked only when it is there
    text = f"The schema is at version {have}, which is newer than this code ({newest})"
    advice = "Run the newer version of the code, here and on all machines."
    try:
        check_schema(case.engine)
    except SchemaAheadError:
        return Check("database.schema", "red", f"{text} and too new for it: nothing in it was looked at.", advice)
    case.migrated = True
    return Check("database.schema", "yellow", f"{text} and serves it meanwhile.", advice)


def default_partition(case: Case) -> Iterator[Check]:
    """Whether webhooks lie where none should."""
    with case.asking() as conn:
        row = queries("doctor").default_partition(conn)
    if row.webhooks:
        text = f"{row.webhooks:,} webhooks lie in the default partition, the first of {row.first_day}."
        advice = (
            "Nothing is lost: otn_purge empties it row by row. See that otn_purge runs, which makes the days ahead."
        )
        yield Check("database.default_partition", "yellow", text, advice)
    else:
        yield Check("database.default_partition", "green", "Each webhook lies in the partition of its day.")


QUESTIONS = (
    Question(("database.schema",), version, needs="database"),
    Question(("database.default_partition",), default_partition, needs="schema"),
    database.OF_THE_SCHEMA,
)
