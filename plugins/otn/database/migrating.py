"""Apply the plain SQL of ``sql/migrations`` by Alembic, one transaction each."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine, NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError

from otn.database.schema import Migration, SchemaAheadError, migrations
from otn.errors import OtnError

SCHEMA = "otn"
PATIENCE_S = 300.0
_SCRIPTS = Path(__file__).parent / "migrations"
_LOCK = 7_065_874  # any number that nobody else locks: two migrating processes wait for each other
# Whoever writes queues behind a migration that waits for a lock: the receiver goes to its disk after a second.
_LOCK_WAIT_MS = 900
_PAUSE_S = 1.0
_BUSY = ("55P03", "40P01")  # Postgres docs, error codes: lock not available, deadlock detected
_MAKE_SCHEMA = f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"
_LIMITS = f"SET LOCAL lock_timeout = {_LOCK_WAIT_MS}; SET LOCAL statement_timeout = 0"
_FINISH = (
    "SELECT otn.make_roles()",  # again each time: somebody may have made the roles since
    "SELECT otn.make_webhook_partitions((clock_timestamp() AT TIME ZONE 'UTC')::date - 1, 10)",
)
# As Alembic makes it.
_VERSION_TABLE = (
    "CREATE TABLE otn.alembic_version (version_num VARCHAR(32) NOT NULL,"
    " CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
)
_FIRST_VERSION = "INSERT INTO otn.alembic_version VALUES ('{}')"
_NEXT_VERSION = "UPDATE otn.alembic_version SET version_num = '{}' WHERE version_num = '{}'"
# psql goes on after an error, unless it is told otherwise: what needs the step before would fail, and the rest be done.
_EXPECT = """DO $$
DECLARE
    have text;
BEGIN
    IF to_regclass('otn.alembic_version') IS NOT NULL THEN
        SELECT version_num INTO have FROM otn.alembic_version;
    END IF;
    IF have IS DISTINCT FROM {before} THEN
        RAISE EXCEPTION 'Nothing of {what} was done: it goes on from version {from_}, and the schema is at %.',
            coalesce(have, 'none') USING HINT = 'Correct what the first error says, then run `./otn migrate`.';
    END IF;
END $$"""


class BusyError(OtnError):
    """A migration needs a lock that other sessions have held for minutes. Nothing of it was done. Look for long
    transactions in pg_stat_activity, pause the campaigns that are being planned, then run `./otn migrate` again.
    """  # noqa: D205 - the docstring is the message

    def __init__(self) -> None:
        super().__init__(" ".join(str(type(self).__doc__).split()))


@dataclass(frozen=True)
class Plan:
    """What a migration would do.

    Args:
        have: version of the database; None where it has none.
        newest: version of this code.
        pending: what would run, in this order; empty also where the database is newer than the code.
    """

    have: str | None
    newest: str
    pending: tuple[Migration, ...]


def migrate(
    url: str,
    *,
    upto: str | None = None,
    progress: Callable[[str], None] | None = None,
    patience_s: float = PATIENCE_S,
) -> None:
    """Bring the schema to the newest version; safe twice, from two processes at once, and beside senders at work.

    Each migration is a transaction of its own: one that fails leaves the version before it, whole. None waits longer
    than a second for a lock at a time, so that nobody else waits longer for it.

    Args:
        url: ``postgresql+psycopg2://…`` of the project's database, as the owner of its tables.
        upto: stop at this version; the newest by default.
        progress: told what begins.
        patience_s: how long locks that others hold are tried for, in seconds.

    Raises:
        BusyError: others held a lock all that time.
        SchemaAheadError: the database is too new for this code.
    """
    engine = create_engine(url, poolclass=NullPool, connect_args={"options": "-c timezone=UTC"}, hide_parameters=True)
    tell = progress or _silent
    deadline = time.monotonic() + patience_s
    try:
        while True:
            try:
                if not _step(engine, upto, tell):
                    return
            except DBAPIError as error:
                if getattr(error.orig, "pgcode", None) not in _BUSY:
                    raise
                if time.monotonic() > deadline:
                    raise BusyError from None
                tell("waiting for sessions that hold a lock")
                time.sleep(_PAUSE_S)
    finally:
        engine.dispose()


def _silent(_what: str) -> None:
    pass


def _step(engine: Engine, upto: str | None, tell: Callable[[str], None]) -> bool:
    """The next migration; False when there was none, and what comes after all of them was done."""
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        connection.exec_driver_sql(_LIMITS)
        pending = _plan(connection).pending
        if upto is not None:
            pending = tuple(one for one in pending if one.version <= upto)
        if not pending:
            for statement in _FINISH if upto is None else ():
                connection.exec_driver_sql(statement)
            return False
        tell(f"{pending[0].version}: {pending[0].subject}")
        connection.exec_driver_sql(_MAKE_SCHEMA)
        _upgrade(connection, pending[0].version)
        return True


def _upgrade(connection: Connection, version: str) -> None:
    from alembic import command  # a quarter of what every command would pay for its imports
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, version)


def _plan(connection: Connection) -> Plan:
    have, known = _version(connection), migrations()
    newest = known[-1].version
    if have is not None and have > newest and _oldest_code(connection) > newest:
        raise SchemaAheadError
    return Plan(have, newest, tuple(one for one in known if have is None or one.version > have))


def _version(connection: Connection) -> str | None:
    from alembic.runtime.migration import MigrationContext

    return MigrationContext.configure(connection, opts={"version_table_schema": SCHEMA}).get_current_revision()


def _oldest_code(connection: Connection) -> str:
    return str(connection.execute(text("SELECT otn.oldest_code()")).scalar_one())


def plan(url: str) -> Plan:
    """What ``migrate`` would do; changes nothing.

    Raises:
        SchemaAheadError: the database is too new for this code.
    """
    engine = create_engine(url, poolclass=NullPool, hide_parameters=True)
    try:
        with engine.connect() as connection:
            return _plan(connection)
    finally:
        engine.dispose()


def script(planned: Plan) -> str:
    """The SQL that ``migrate`` would run, for a person who reads it first, or runs it by psql instead.

    Each step does nothing unless the one before it was done.
    """
    parts = []
    before = planned.have
    for one in planned.pending:
        make = [_MAKE_SCHEMA, _VERSION_TABLE] if before is None else []
        begin = _begin(before, one.version, *make)
        mark = (_FIRST_VERSION if before is None else _NEXT_VERSION).format(one.version, before)
        parts += [begin, one.sql, _lines(mark, "COMMIT")]
        before = one.version
    return "\n".join([*parts, _begin(before, "the rest"), _lines(*_FINISH, "COMMIT")])


def _begin(before: str | None, what: str, *more: str) -> str:
    literal = "NULL" if before is None else f"'{before}'"
    expect = _EXPECT.format(before=literal, from_=before or "none", what=what)
    return _lines("BEGIN", f"SELECT pg_advisory_xact_lock({_LOCK})", _LIMITS, expect, *more)


def _lines(*statements: str) -> str:
    return "".join(f"{statement};\n" for statement in statements)


def schema_version(url: str) -> tuple[str | None, str]:
    """The version that the database has, and the newest that the code knows."""
    engine = create_engine(url, poolclass=NullPool, hide_parameters=True)
    try:
        with engine.connect() as connection:
            return _version(connection), migrations()[-1].version
    finally:
        engine.dispose()
