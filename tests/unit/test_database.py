from __future__ import annotations

import traceback
from collections.abc import Callable

import pytest
from sqlalchemy import make_url, text

from otn.database import DatabaseAwayError, DatabaseError, Engine, make_engine, transaction
from otn.errors import OtnError

SECRET = "psid-9007199254740993"
PAGE = f"INSERT INTO otn.page (page_id, connection_id) VALUES ('{SECRET}', 'x')"


def run(engine: Engine, *statements: str) -> None:
    with transaction(engine) as connection:
        for statement in statements:
            connection.cursor().execute(statement)


def failure(engine: Engine, *statements: str) -> DatabaseError:
    with pytest.raises(DatabaseError) as caught:
        run(engine, *statements)
    return caught.value


def pages(engine: Engine) -> int:
    with transaction(engine) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM otn.page")
        return int(cursor.fetchone()[0])


@pytest.mark.parametrize(
    ("statements", "state", "rule"),
    [
        ((PAGE, PAGE), "23505", "page_page_id_key"),  # the driver's detail quotes the row
        ((f"INSERT INTO otn.page (page_id) VALUES ('{SECRET}')",), "23502", None),
        ((f"SELECT '{SECRET}'::integer",), "22P02", None),
        ((f"SELECT {SECRET.replace('-', '_')}",), "42703", None),
    ],
)
def test_a_refusal_names_state_and_rule_and_nothing_of_the_row(
    database: Engine, statements: tuple[str, ...], state: str, rule: str | None
) -> None:
    error = failure(database, *statements)
    assert (error.sqlstate, error.constraint) == (state, rule)
    assert state in str(error)
    shown = "".join(traceback.format_exception(error))
    # The statement stands in this file, not in the error.
    assert SECRET not in str(error) + repr(error) + repr(vars(error))
    assert "DETAIL" not in shown
    assert error.__suppress_context__


def test_a_refusal_through_sqlalchemy_is_the_same(database: Engine) -> None:
    with pytest.raises(DatabaseError) as caught, transaction(database), database.connect() as connection:
        connection.execute(text("SELECT 1 / 0"))
    assert caught.value.sqlstate == "22012"
    assert not isinstance(caught.value, DatabaseAwayError)


def test_what_failed_is_rolled_back_and_the_connection_is_clean_again(database: Engine) -> None:
    failure(database, PAGE, PAGE)
    assert pages(database) == 0


def test_any_error_in_the_block_rolls_back_and_passes_through(database: Engine) -> None:
    def fail() -> None:
        with transaction(database) as connection:
            connection.cursor().execute(PAGE)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert pages(database) == 0


def test_a_connection_that_postgres_ended_is_away_and_the_next_one_works(database: Engine) -> None:
    with pytest.raises(DatabaseAwayError, match="cannot be reached"):
        run(database, "SELECT pg_terminate_backend(pg_backend_pid())", "SELECT 1")
    assert pages(database) == 0


@pytest.mark.parametrize("pool_size", [None, 2])
def test_an_idle_connection_that_was_ended_is_replaced(emptied_url: str, pool_size: int | None) -> None:
    engine = make_engine(emptied_url, pool_size=pool_size)
    try:
        with transaction(engine) as connection:
            first = connection.info.backend_pid
        killer = make_engine(emptied_url)
        with transaction(killer) as connection:
            connection.cursor().execute("SELECT pg_terminate_backend(%s, 5000)", (first,))
        with transaction(engine) as connection:
            connection.cursor().execute("SELECT 1")
    finally:
        engine.dispose()


@pytest.mark.parametrize(
    "change",
    [
        lambda url: url.set(port=1),
        lambda url: url.set(database="no_such_database"),
        lambda url: url.set(password="wrong-" + SECRET),
    ],
)
def test_a_server_that_lets_nobody_in_is_away_and_no_password_shows(postgres: str, change: Callable) -> None:
    url = change(make_url(postgres))
    engine = make_engine(url.render_as_string(hide_password=False))
    with (
        pytest.raises(DatabaseAwayError, match="Start it, or check the connection otn_db") as caught,
        transaction(engine),
    ):
        pass
    assert isinstance(caught.value, OtnError)
    assert SECRET not in str(caught.value) + repr(caught.value)
    assert url.password not in repr(engine)


def test_every_session_counts_in_utc_and_says_who_it_is(database: Engine) -> None:
    with transaction(database) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('timezone') AS zone, current_setting('application_name') AS name")
        row = cursor.fetchone()
    assert (row.zone, row.name) == ("UTC", "otn")
