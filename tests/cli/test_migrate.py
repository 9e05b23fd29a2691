from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg2
import pytest
from sqlalchemy import create_engine, make_url, text

from otn.database.migrating import migrate, schema_version
from otn.database.schema import migrations

from .conftest import Inside

HEAD = migrations()[-1].version


@pytest.fixture
def at(inside: Inside, postgres: str) -> Iterator[Callable[[str | None], str]]:
    """Points the commands to a database at some version; gives its URL."""
    engine = create_engine(postgres, isolation_level="AUTOCOMMIT")
    made: list[str] = []

    def point(version: str | None) -> str:
        made.append(f"at_{version or 'none'}_{len(made)}")
        with engine.connect() as connection:
            connection.execute(text(f'CREATE DATABASE "{made[-1]}"'))
        url = make_url(postgres).set(database=made[-1]).render_as_string(hide_password=False)
        if version:
            migrate(url, upto=version)
        place = json.loads(inside.environ["AIRFLOW_CONN_OTN_DB"])
        inside.environ["AIRFLOW_CONN_OTN_DB"] = json.dumps(place | {"schema": made[-1]})
        return url

    yield point
    with engine.connect() as connection:
        for name in made:
            connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))
    engine.dispose()


def test_it_tells_from_where_to_where_and_what_each_step_is_about(inside: Inside, at: Callable[..., str]) -> None:
    url = at("0006")
    said = inside("migrate", "--dry-run").stdout
    assert said.splitlines()[0] == "0007  For SQL users: two more views, three roles"
    assert said.splitlines()[-1] == f"Would go from 0006 -> {HEAD}."
    assert schema_version(url)[0] == "0006"
    asked = inside.json("migrate", "--dry-run")
    assert (asked["from"], asked["to"]) == ("0006", HEAD)
    assert [one["version"] for one in asked["migrations"]] == [one.version for one in migrations()][6:]
    done = inside("migrate")
    assert done.stdout.splitlines()[-1] == f"Schema 0006 -> {HEAD}."
    assert f"{HEAD}: " in done.stderr  # progress
    assert schema_version(url)[0] == HEAD
    assert inside("migrate").stdout == f"Schema {HEAD}.\n"
    assert inside.json("migrate") == {"from": HEAD, "to": HEAD, "migrations": []}


def test_the_sql_is_printed_and_nothing_is_changed(inside: Inside, at: Callable[..., str]) -> None:
    url = at(None)
    printed = inside("migrate", "--sql").stdout
    assert schema_version(url)[0] is None
    with closing(psycopg2.connect(url.replace("+psycopg2", ""))) as connection:
        connection.autocommit = True
        connection.cursor().execute(printed)
    assert schema_version(url)[0] == HEAD
    assert inside("migrate", "--dry-run").stdout == f"Schema {HEAD}.\n"
    assert "--sql stands alone" in inside("migrate", "--sql", "--json", code=2).stderr


def test_a_newer_schema_is_left_as_it_is_or_refused(inside: Inside, at: Callable[..., str]) -> None:
    url = at(HEAD)
    migrate(url)
    with closing(psycopg2.connect(url.replace("+psycopg2", ""))) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE otn.alembic_version SET version_num = '9998'")
        connection.commit()
        assert inside("migrate").stdout.startswith(f"Schema 9998, newer than this code ({HEAD})")
        cursor.execute("CREATE OR REPLACE FUNCTION otn.oldest_code() RETURNS text LANGUAGE sql AS $$ SELECT '9998' $$")
        connection.commit()
        assert "too old" in inside("migrate", code=1).stderr
