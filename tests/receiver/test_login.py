"""The receiver's process as a deployment starts it: with a login of its own, and nothing of the owner's."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import pytest
import requests
from sqlalchemy import make_url

from otn.database import Engine, transaction
from otn.local.environment import environment_of
from otn.local.logins import RECEIVER, SENDER
from otn.settings import database_url as as_url
from otn.settings import read_connection
from tests.awaiting import eventually
from tests.logins import url_of

from .conftest import ENVIRON, Receiver, connection_variable, started
from .test_deletion import ask, finish, rows

COMMAND = [sys.executable, "-m", "otn", "receiver", "--port", "0"]


@pytest.fixture
def environ(database_url: str, process_environ: dict[str, str]) -> dict[str, str]:
    """What the supervisor would hand to all programs, cut down to what is the receiver's."""
    everybody = process_environ | {
        "AIRFLOW_CONN_OTN_DB": connection_variable(database_url),
        "AIRFLOW_CONN_AIRFLOW_DB": connection_variable(database_url),
        SENDER.variable: connection_variable(url_of(SENDER, database_url)),
        RECEIVER.variable: connection_variable(url_of(RECEIVER, database_url)),
        "AIRFLOW__API__SECRET_KEY": "of Airflow",
    }
    return environment_of(RECEIVER, everybody | ENVIRON)


@pytest.fixture
def receiver(environ: dict[str, str], database: Engine, tmp_path: Path) -> Iterator[Receiver]:
    with started(COMMAND, environ, database, tmp_path) as found:
        yield found


def health(receiver: Receiver) -> dict[str, object]:
    found: dict[str, object] = requests.get(f"{receiver.url}/healthz", timeout=30).json()
    return found


def test_it_does_all_its_work_and_can_read_nothing_that_it_stored(
    receiver: Receiver, environ: dict[str, str], database_url: str
) -> None:
    assert "AIRFLOW_CONN_OTN_DB" not in environ
    assert receiver.post(b'{"one": 1}').status_code == 200
    assert receiver.stored_in_the_end(1) == [b'{"one": 1}']
    answer = ask(receiver)
    assert answer.status_code == 200
    finish(receiver.database, 1)
    assert "were erased" in requests.get(answer.json()["url"], timeout=30).text
    assert [row.state for row in rows(receiver.database)] == ["done"]
    eventually(lambda: health(receiver)["status"] == "ok", "health without a spool")

    # Whoever holds everything that this process was given is refused.
    given = Path(f"/proc/{receiver.process.pid}/environ").read_text() if receiver.process else ""
    assert RECEIVER.variable in given
    for password in (str(make_url(database_url).password), "of Airflow"):
        assert password not in given
    mine = as_url(read_connection(RECEIVER.connection_id, environ)).replace("+psycopg2", "")
    for statement in (
        "SELECT token_encrypted FROM otn.token",
        "SELECT psid FROM otn.subscriber",
        "SELECT body FROM otn.webhook_event",
        "SELECT user_id FROM otn.deletion_request",
        "SELECT * FROM otn.audit",
        "UPDATE otn.page SET halted_at = NULL",
        "DELETE FROM otn.webhook_event",
        "SELECT otn.make_webhook_partitions('2040-01-01', 1)",
    ):
        with psycopg2.connect(mine) as connection, connection.cursor() as cursor:
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute(statement)
            connection.rollback()
        connection.close()


def test_what_waited_on_the_disk_is_stored_by_the_same_login(receiver: Receiver) -> None:
    """A table that is locked for longer than a second, as by a migration that does not behave."""
    with transaction(receiver.database) as blocking:
        blocking.cursor().execute("LOCK TABLE otn.webhook_event IN ACCESS EXCLUSIVE MODE")
        assert receiver.post(b'{"waits": 1}').status_code == 200
        assert health(receiver)["status"] == "spooling"
    eventually(lambda: receiver.stored() == [b'{"waits": 1}'], "what waited on the disk")
    eventually(lambda: health(receiver)["status"] == "ok", "health without a spool")


def test_a_login_that_may_not_store_leaves_webhooks_on_the_disk_and_says_so(
    receiver_at: Callable[..., Receiver], database_url: str, database: Engine
) -> None:
    with transaction(database) as connection:
        connection.cursor().execute(
            "CREATE ROLE otn_nobody LOGIN PASSWORD 'x'; GRANT USAGE ON SCHEMA otn TO otn_nobody;"
        )
        connection.cursor().execute("GRANT SELECT ON otn.page TO otn_nobody")
    url = make_url(database_url).set(username="otn_nobody", password="x").render_as_string(hide_password=False)
    try:
        receiver = receiver_at(url)
        assert receiver.post(b"{}").status_code == 200
        found = health(receiver)
        assert (found["status"], receiver.stored()) == ("spooling", [])
    finally:
        with transaction(database) as connection:
            connection.cursor().execute("DROP OWNED BY otn_nobody; DROP ROLE otn_nobody")
