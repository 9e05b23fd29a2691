"""Postgres: one engine, transactions, named queries, migrations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
import psycopg2.extensions
from psycopg2.extras import NamedTupleCursor
from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from otn.database.queries import Queries, queries
from otn.errors import OtnError

__all__ = [
    "DatabaseAwayError",
    "DatabaseError",
    "Engine",
    "PsycopgConnection",
    "Queries",
    "make_engine",
    "migrate",
    "queries",
    "transaction",
]


# Postgres docs, error codes: transaction rollback, insufficient resources, operator intervention.
_PASSING_CLASSES = frozenset({"40", "53", "57"})
_PASSING_STATES = frozenset({"55P03"})  # lock not available
_IDLE_IN_TRANSACTION = "25P03"

VANISHED_S = 30  # a connection whose other end says nothing for so long is given up by us
ABANDONED_S = 60  # a transaction that we leave alone for so long is ended by Postgres

PsycopgConnection = psycopg2.extensions.connection


class DatabaseError(OtnError):
    """Postgres refused a statement.

    The driver's own text is not shown: it quotes rows, and rows hold tokens and ids.

    Args:
        error: what the driver raised.
    """

    def __init__(self, error: psycopg2.Error) -> None:
        self.sqlstate: str | None = getattr(error, "pgcode", None)
        self.constraint: str | None = error.diag.constraint_name if error.diag else None
        broken = f", rule {self.constraint}" if self.constraint else ""
        super().__init__(
            f"Postgres refused a statement (SQLSTATE {self.sqlstate or 'unknown'}{broken}). "
            "Look at the Postgres log of this moment."
        )

    @property
    def passing(self) -> bool:
        """Whether the same may succeed a moment later: a conflict with others, or a server short of something."""
        return (self.sqlstate or "")[:2] in _PASSING_CLASSES or self.sqlstate in _PASSING_STATES


class DatabaseAwayError(DatabaseError):
    """Postgres cannot be reached."""

    passing = True

    def __init__(self, error: psycopg2.Error) -> None:
        super().__init__(error)
        self.args = (
            "Postgres cannot be reached, or it ended the connection. Start it, or check the connection otn_db.",
        )


def _sanitised(error: psycopg2.Error) -> DatabaseError:
    # Class 57P is a server that shuts down or starts; without any state the connection itself broke.
    away = isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
    state = getattr(error, "pgcode", None) or ""
    if state == _IDLE_IN_TRANSACTION or (away and (not state or state.startswith(("08", "57P")))):
        return DatabaseAwayError(error)
    return DatabaseError(error)


def migrate(url: str) -> None:
    """Bring the schema to the newest version; safe twice, and from two processes at once.

    Args:
        url: ``postgresql+psycopg2://…`` of the project's database.
    """
    from otn.database import migrating  # Alembic takes 0.2 s to import, and each Airflow task would pay for it

    migrating.migrate(url)


def make_engine(url: str, *, pool_size: int | None = None, application_name: str = "otn") -> Engine:
    """Engine for one process.

    Args:
        url: ``postgresql+psycopg2://…``; the driver is named, because SQLAlchemy 2.1 changes what is meant without it.
        pool_size: connections kept, for a program that works by itself: a transaction it leaves alone for a minute is
            ended. None keeps none.
        application_name: shown in ``pg_stat_activity``.
    """
    arguments: dict[str, Any] = {
        "cursor_factory": NamedTupleCursor,
        "application_name": application_name,
        "connect_timeout": 10,
        # A year is counted in UTC everywhere. Keepalives find a server that went away without a word while we wait for
        # its answer, the other limit one that never got the question.
        "options": "-c timezone=UTC",
        "tcp_user_timeout": VANISHED_S * 1_000,
        "keepalives_idle": 15,
        "keepalives_interval": 5,
        "keepalives_count": 3,
    }
    if pool_size is None:
        return create_engine(url, poolclass=NullPool, connect_args=arguments, hide_parameters=True)
    # A machine that vanished in mid-transaction keeps its locks until TCP finds out, after hours: on the schedule of a
    # page, for one. A command that keeps none may wait for whoever reads its output.
    arguments["options"] += f" -c idle_in_transaction_session_timeout={ABANDONED_S}s"
    return create_engine(
        url, pool_size=pool_size, max_overflow=0, pool_pre_ping=True, connect_args=arguments, hide_parameters=True
    )


@contextmanager
def transaction(engine: Engine) -> Iterator[PsycopgConnection]:
    """One transaction on a psycopg2 connection: committed at the end, rolled back on any error.

    Raises:
        DatabaseAwayError: Postgres cannot be reached. After a failed commit nobody knows whether it took place.
        DatabaseError: it refused a statement; ``constraint`` names the rule.
    """
    try:
        with engine.begin() as connection:
            driver = connection.connection.driver_connection
            assert isinstance(driver, PsycopgConnection)  # noqa: S101 - tells the type checker what the URL promises
            yield driver
    except psycopg2.Error as error:
        raise _sanitised(error) from None
    except DBAPIError as error:
        if isinstance(error.orig, psycopg2.Error):
            raise _sanitised(error.orig) from None
        raise
