"""One database for many tests, emptied between them: a tenth of the time of a fresh one each.

A test module takes part by ``from tests.clean import database``. Identities go on counting, so no test may count on
an id.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest
from sqlalchemy import make_url

from otn.database import Engine, make_engine, transaction

__all__ = ["database", "emptied_url"]

KEPT = ("alembic_version", "campaign_transition", "window_transition")


@pytest.fixture(scope="session")
def emptied_url(postgres: str) -> str:
    """URL of a database of its own; it ends with the server."""
    name = f"emptied_{uuid.uuid4().hex}"
    plain = make_url(postgres).set(drivername="postgresql").render_as_string(hide_password=False)
    with closing(psycopg2.connect(plain)) as connection:
        connection.autocommit = True
        connection.cursor().execute(f'CREATE DATABASE "{name}" TEMPLATE otn_template')
    return make_url(postgres).set(database=name).render_as_string(hide_password=False)


@pytest.fixture
def database(emptied_url: str) -> Iterator[Engine]:
    engine = make_engine(emptied_url, pool_size=10)
    yield engine
    with transaction(engine) as connection, connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")  # neither triggers nor references
        cursor.execute(
            "SELECT oid::regclass::text AS name FROM pg_class WHERE relnamespace = 'otn'::regnamespace"
            " AND relkind IN ('r', 'p') AND NOT relispartition AND relname <> ALL (%s)",
            (list(KEPT),),
        )
        for row in cursor.fetchall():
            cursor.execute(f"DELETE FROM {row.name}")
        cursor.execute("INSERT INTO otn.epoch DEFAULT VALUES")
        cursor.execute("INSERT INTO otn.silence_mark DEFAULT VALUES")
        cursor.execute("INSERT INTO otn.erasure_mark (bytes, tail, walked) VALUES (0, sha256(''), true)")
    engine.dispose()
