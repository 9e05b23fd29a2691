from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from psycopg2 import OperationalError
from sqlalchemy import make_url

from otn.database import DatabaseAwayError, Engine, transaction
from otn.web.receiver.store import Store

from .conftest import COMMAND, ENVIRON, Receiver, page_variable
from .gate import Gate

PATIENCE = 5.0  # seconds the platform waits


@pytest.fixture
def gate(database_url: str) -> Iterator[Gate]:
    url = make_url(database_url)
    folder = url.query.get("host")
    door = Gate(f"{folder}/.s.PGSQL.{url.query.get('port') or 5432}" if folder else (url.host or "", url.port or 5432))
    yield door
    door.shut()


@pytest.fixture
def through_gate(receiver_at: Callable[..., Receiver], gate: Gate, database_url: str) -> Receiver:
    url = make_url(database_url).set(host="127.0.0.1", port=gate.port, query={})
    return receiver_at(url.render_as_string(hide_password=False))


def health(receiver: Receiver) -> tuple[int, str]:
    answer = requests.get(f"{receiver.url}/healthz", timeout=30)
    return answer.status_code, answer.json()["status"]


def test_database_away_is_503_and_back_is_200(through_gate: Receiver, gate: Gate) -> None:
    assert through_gate.post(b"before").status_code == 200
    assert health(through_gate) == (200, "ok")
    gate.shut()
    answer = through_gate.post(b"lost")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    time.sleep(1.1)  # health is remembered for a second
    assert health(through_gate) == (503, "unavailable")
    gate.reopen()
    assert through_gate.post(b"after").status_code == 200
    assert through_gate.stored() == [b"before", b"after"]


def test_a_connection_cut_meanwhile_is_not_noticed_outside(through_gate: Receiver, gate: Gate) -> None:
    assert through_gate.post(b"before").status_code == 200
    gate.shut()
    gate.reopen()
    assert through_gate.post(b"after").status_code == 200
    assert through_gate.stored() == [b"before", b"after"]


def test_a_silent_database_is_503_before_the_platform_gives_up(through_gate: Receiver, gate: Gate) -> None:
    assert through_gate.post(b"before").status_code == 200
    gate.silence()
    started = time.monotonic()
    answer = through_gate.post(b"late")
    assert answer.status_code == 503
    assert time.monotonic() - started < PATIENCE


def test_a_locked_table_is_503_before_the_platform_gives_up(receiver: Receiver, database: Engine) -> None:
    with transaction(database) as connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLE otn.webhook_event IN ACCESS EXCLUSIVE MODE")
        started = time.monotonic()
        with ThreadPoolExecutor(20) as clients:  # more than there are connections: the rest waits in the queue
            answers = list(clients.map(receiver.post, [b"%d" % number for number in range(20)]))
        assert {answer.status_code for answer in answers} == {503}
        assert time.monotonic() - started < PATIENCE
    assert receiver.post(b"after").status_code == 200
    assert b"after" in receiver.stored()


def test_an_insert_repeated_after_a_lost_answer_is_one_row(receiver: Receiver, database: Engine) -> None:
    class LostAnswer(Store):
        lost = 0

        def _insert(self, *arguments: object) -> None:
            super()._insert(*arguments)  # type: ignore[arg-type]
            if not self.lost:
                self.lost = 1
                raise DatabaseAwayError(OperationalError("server closed the connection unexpectedly"))

    assert LostAnswer(database, receiver.keyring).keep(b"once")
    assert receiver.stored() == [b"once"]


@pytest.mark.parametrize(
    "pages",
    [{}, {"AIRFLOW_CONN_MESSENGER_DEFAULT": page_variable(verify_token="only this")}],
    ids=["no page", "no app secret"],
)
def test_without_a_secret_it_does_not_start(process_environ: dict[str, str], pages: dict[str, str]) -> None:
    ended = subprocess.run(COMMAND, env=process_environ | pages, capture_output=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert b"No page has an app secret" in ended.stderr
    assert b"listening" not in ended.stderr


def test_without_the_database_it_does_not_start(process_environ: dict[str, str]) -> None:
    environ = process_environ | ENVIRON | {"AIRFLOW_CONN_OTN_DB": "postgresql://nobody@127.0.0.1:1/none"}
    ended = subprocess.run(COMMAND, env=environ, capture_output=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert b"The registered pages cannot be read" in ended.stderr


class Load:
    """Clients that post as fast as they can and remember what was acknowledged."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.acknowledged: set[bytes] = set()
        self.enough = threading.Event()
        self._stop = threading.Event()
        self._clients = ThreadPoolExecutor(8)
        self._futures = [self._clients.submit(self._post, name) for name in range(8)]

    def _post(self, name: int) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            body = b"client %d number %d" % (name, number)
            try:
                answer = self.receiver.post(body)
            except requests.RequestException:
                return
            if answer.status_code == 200:
                self.acknowledged.add(body)
            if len(self.acknowledged) > 100:
                self.enough.set()

    def end(self) -> set[bytes]:
        self._stop.set()
        self._clients.shutdown()
        return self.acknowledged


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_ended_in_mid_load_every_acknowledged_event_is_stored(receiver_process: Receiver, number: int) -> None:
    assert receiver_process.process is not None
    load = Load(receiver_process)
    assert load.enough.wait(60)
    os.kill(receiver_process.process.pid, number)
    receiver_process.process.wait(30)
    acknowledged = load.end()
    assert len(acknowledged) > 100
    assert acknowledged <= set(receiver_process.stored())


def test_told_to_stop_it_finishes_what_is_in_flight(receiver_process: Receiver) -> None:
    assert receiver_process.process is not None
    with transaction(receiver_process.database) as connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLE otn.webhook_event IN ACCESS EXCLUSIVE MODE")
        with ThreadPoolExecutor(1) as client:
            answer = client.submit(receiver_process.post, b"in flight")
            while not waiting(cursor):
                time.sleep(0.02)
            receiver_process.process.terminate()
            connection.commit()
            assert answer.result().status_code == 200
    receiver_process.process.wait(30)
    assert receiver_process.stored() == [b"in flight"]


def waiting(cursor: object) -> bool:
    cursor.execute("SELECT count(*) AS n FROM pg_locks WHERE NOT granted")  # type: ignore[attr-defined]
    return bool(cursor.fetchone().n)  # type: ignore[attr-defined]
