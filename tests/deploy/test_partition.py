"""A machine that vanishes without a word, in the middle of a transaction or of a question."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import make_url

from otn import database as module
from otn.database import DatabaseAwayError, Engine, make_engine, transaction
from otn.pace import Pace
from tests.awaiting import eventually
from tests.deploy.passage import Passage

HOLD = "SELECT 1 FROM otn.pace FOR UPDATE"
BACKENDS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'otn vanishing'"
ENOUGH_S = 60


@pytest.fixture
def way(database_url: str) -> Iterator[Passage]:
    with Passage(make_url(database_url).port or 0) as way:
        yield way


@pytest.fixture
def vanishing(database_url: str, way: Passage) -> Iterator[Engine]:
    """A sender's engine, on a machine whose network may go; its transactions alone are soon taken for abandoned."""
    url = make_url(database_url).set(port=way.port).render_as_string(hide_password=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ABANDONED_S", 1)
        engine = make_engine(url, pool_size=1, application_name="otn vanishing")
    yield engine
    engine.dispose()


@pytest.fixture
def pace(database: Engine) -> Pace:
    with transaction(database) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO otn.page (page_id, connection_id) VALUES ('1', 'x') RETURNING id")
        pace = Pace(database, cursor.fetchone()[0], messages_per_second=30)
    pace.take(1)
    return pace


def ask(engine: Engine, statement: str) -> Any:
    with transaction(engine) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone()[0]


def hold_while(engine: Engine, meanwhile: Callable[[], object]) -> None:
    """A transaction on the page's schedule, in the middle of which something else happens."""
    with transaction(engine) as connection:
        connection.cursor().execute(HOLD)
        meanwhile()
        connection.cursor().execute(HOLD)


def test_a_sender_that_vanished_in_mid_transaction_does_not_hold_up_the_page(
    vanishing: Engine, way: Passage, pace: Pace
) -> None:
    taken = []

    def vanish() -> None:
        assert way.cut() == 1
        with ThreadPoolExecutor(1) as other:
            try:
                taken.append(other.submit(pace.take, 1).result(ENOUGH_S))
            finally:
                way.mend()

    with pytest.raises(DatabaseAwayError):
        hold_while(vanishing, vanish)
    assert [permit.messages for permit in taken] == [1]
    assert ask(vanishing, "SELECT 1") == 1


def test_one_that_was_stopped_for_too_long_hears_that_its_connection_is_gone(
    vanishing: Engine, database: Engine, pace: Pace
) -> None:
    def wait_for_its_end() -> None:
        eventually(lambda: not ask(database, BACKENDS), "the end of its connection", ENOUGH_S)

    with pytest.raises(DatabaseAwayError) as told:
        hold_while(vanishing, wait_for_its_end)
    assert told.value.passing


def test_a_question_that_does_not_arrive_is_given_up(vanishing: Engine) -> None:
    with transaction(vanishing) as connection, socket.socket(fileno=connection.fileno()) as wire:
        limit_ms = wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        wire.detach()
    assert limit_ms == module.VANISHED_S * 1_000
