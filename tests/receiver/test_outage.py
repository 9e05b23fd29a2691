from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import make_url

from otn.crypto import Keyring
from otn.database import Engine, transaction
from otn.web.receiver import app as app_module
from otn.web.receiver.group import Group
from otn.web.receiver.keeper import PATIENCE, SPOOL_PATIENCE, Keeper
from otn.web.receiver.line import Line
from otn.web.receiver.store import Store
from otn.web.spool import Receipt
from tests.awaiting import eventually

from .conftest import COMMAND, ENVIRON, Receiver, page_variable, signed
from .gate import Gate

PLATFORM_PATIENCE = 5.0  # seconds (Meta docs, Messenger webhooks)


@pytest.fixture
def gate(database_url: str) -> Iterator[Gate]:
    url = make_url(database_url)
    folder = url.query.get("host")
    door = Gate(f"{folder}/.s.PGSQL.{url.query.get('port') or 5432}" if folder else (url.host or "", url.port or 5432))
    yield door
    door.close()


@pytest.fixture
def through_gate(receiver_at: Callable[..., Receiver], gate: Gate, database_url: str) -> Receiver:
    url = make_url(database_url).set(host="127.0.0.1", port=gate.port, query={})
    return receiver_at(url.render_as_string(hide_password=False))


@pytest.fixture(autouse=True)
def _health_is_looked_at_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_module, "HEALTH_SECONDS", 0)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """One for each webhook that begins to wait for the database: whether that was known to be away."""
    found: list[bool] = []
    away = [False]
    write, lose, regain = Group.write, Keeper._lose, Keeper._regain

    async def noted(group: Group, receipt: Receipt, seconds: float) -> bool:
        if seconds == PATIENCE:
            found.append(away[0])
        return await write(group, receipt, seconds)

    def lost(keeper: Keeper) -> None:
        away[0] = True
        lose(keeper)

    def regained(keeper: Keeper) -> None:
        away[0] = False
        regain(keeper)

    monkeypatch.setattr(Group, "write", noted)
    monkeypatch.setattr(Keeper, "_lose", lost)
    monkeypatch.setattr(Keeper, "_regain", regained)
    return found


def test_both_patiences_fit_into_the_platform_s() -> None:
    assert PATIENCE + SPOOL_PATIENCE < PLATFORM_PATIENCE


def health(receiver: Receiver) -> dict[str, Any]:
    answer = requests.get(f"{receiver.url}/healthz", timeout=30)
    return {"code": answer.status_code} | answer.json()


def segments(receiver: Receiver) -> list[Path]:
    assert receiver.spool is not None
    return sorted(receiver.spool.glob("*.segment"))


def emptied(receiver: Receiver) -> bool:
    receiver.settle()
    return not segments(receiver)


def test_database_away_is_200_by_the_spool_and_drained_in_order_when_it_is_back(
    through_gate: Receiver, gate: Gate
) -> None:
    assert through_gate.post(b"before").status_code == 200
    sound = health(through_gate)
    assert (sound["code"], sound["status"], sound["database"]) == (200, "ok", "ok")
    assert sound["spool"] | {"room": 0} == {
        "events": 0, "bytes": 0, "oldest_age_s": 0.0, "set_aside": 0, "room": 0, "draining": False
    }  # fmt: skip
    gate.shut()
    bodies = [b"kept %d" % number for number in range(20)]
    assert {through_gate.post(body).status_code for body in bodies} == {200}
    away = health(through_gate)
    assert (away["code"], away["status"], away["database"]) == (200, "spooling", "does not answer")
    assert away["spool"]["events"] == 20
    assert away["spool"]["bytes"] == sum(path.stat().st_size for path in segments(through_gate))
    assert 0 <= away["spool"]["oldest_age_s"] < 60
    gate.reopen()
    assert through_gate.post(b"after").status_code == 200
    assert through_gate.stored_in_the_end(22) == [b"before", *bodies, b"after"]
    assert emptied(through_gate)
    eventually(lambda: health(through_gate)["status"] == "ok", "health without a spool")


def test_what_waits_on_the_disk_is_encrypted_and_ours_alone(through_gate: Receiver, gate: Gate) -> None:
    gate.shut()
    through_gate.post(b"a person's words")
    (segment,) = segments(through_gate)
    assert b"words" not in segment.read_bytes()
    assert (segment.stat().st_mode & 0o777, segment.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_a_connection_cut_meanwhile_is_not_noticed_outside(through_gate: Receiver, gate: Gate) -> None:
    assert through_gate.post(b"before").status_code == 200
    gate.shut()
    gate.reopen()
    assert through_gate.post(b"after").status_code == 200
    assert through_gate.stored_in_the_end(2) == [b"before", b"after"]


def test_a_silent_database_costs_the_first_requests_a_second_and_later_ones_nothing(
    through_gate: Receiver, gate: Gate, waits: list[bool]
) -> None:
    assert through_gate.post(b"before").status_code == 200
    gate.silence()
    waits.clear()
    for number in range(10):
        assert through_gate.post(b"late %d" % number).status_code == 200
    assert len(waits) <= 1, "whoever comes later does not wait for it"
    gate.shut()
    gate.reopen()
    assert through_gate.stored_in_the_end(11) == [b"before", *(b"late %d" % number for number in range(10))]


def test_a_stopped_server_that_goes_on_has_each_once(
    through_gate: Receiver, database: Engine, waits: list[bool]
) -> None:
    assert through_gate.post(b"before").status_code == 200
    with transaction(database) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'otn receiver'")
        pids = [row.pid for row in cursor.fetchall()]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(20) as clients:
            answers = list(clients.map(through_gate.post, [b"%d" % number for number in range(20)]))
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    assert {answer.status_code for answer in answers} == {200}
    assert not any(waits), "whoever comes later does not wait for it"
    stored = through_gate.stored_in_the_end(21)
    assert emptied(through_gate)
    assert sorted(stored) == sorted([b"before", *(b"%d" % number for number in range(20))])


def test_an_insert_that_timed_out_and_was_spooled_is_one_row(
    receiver: Receiver, database: Engine, waits: list[bool]
) -> None:
    with transaction(database) as connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLE otn.webhook_event IN ACCESS EXCLUSIVE MODE")
        with ThreadPoolExecutor(20) as clients:
            answers = list(clients.map(receiver.post, [b"%d" % number for number in range(20)]))
        assert {answer.status_code for answer in answers} == {200}
        assert not any(waits), "whoever comes later does not wait for it"
    assert sorted(receiver.stored_in_the_end(20)) == sorted(b"%d" % number for number in range(20))
    assert emptied(receiver)  # all were offered again, those too that were committed behind our back
    assert len(receiver.stored()) == 20


def test_offered_again_it_is_one_row_with_the_moment_of_its_receipt(
    receiver: Receiver, database: Engine, database_url: str
) -> None:
    line = Line(database_url)
    now = Receipt.of(b"once", receiver.keyring)
    old = replace(now, received_us=now.received_us - 3_600_000_000)
    try:
        assert [Store(line).keep([old]) for _ in range(2)] == [1, 1]
    finally:
        line.close()
    assert receiver.stored() == [b"once"]
    with transaction(database) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM clock_timestamp() - received_at) AS age FROM otn.webhook_event")
        assert 3_600 <= cursor.fetchone().age < 3_700


def test_the_same_rows_offered_at_once_in_another_order_lock_nobody_out(database_url: str, keyring: Keyring) -> None:
    receipts = [Receipt.of(b"%d" % number, keyring) for number in range(300)]
    lines = [Line(database_url) for _ in range(4)]
    orders = [receipts, receipts[::-1], receipts[150:] + receipts[:150], receipts]
    with ThreadPoolExecutor(4) as threads:
        kept = list(threads.map(lambda line, order: Store(line).keep(order), lines, orders))
    for line in lines:
        line.close()
    assert kept == [300] * 4


def test_beyond_the_bound_it_is_503_and_what_was_taken_is_not_lost(
    receiver_at: Callable[..., Receiver], gate: Gate, database_url: str
) -> None:
    url = make_url(database_url).set(host="127.0.0.1", port=gate.port, query={})
    receiver = receiver_at(url.render_as_string(hide_password=False), spool_bytes=16_000_000)
    gate.shut()
    answers = [receiver.post(b"%d" % number * 3_000_000) for number in range(7)]
    codes = [answer.status_code for answer in answers]
    assert codes == [200] * 5 + [503] * 2
    assert answers[-1].headers["retry-after"] == "5"
    full = health(receiver)
    assert (full["code"], full["status"], full["spool"]["events"], full["spool"]["room"]) == (503, "unavailable", 5, 0)
    assert receiver.post(b"small").status_code == 200  # it still fits
    gate.reopen()
    assert len(receiver.stored_in_the_end(6)) == 6


def test_a_folder_that_cannot_be_written_is_503_and_never_a_lie(through_gate: Receiver, gate: Gate) -> None:
    assert through_gate.spool is not None
    through_gate.spool.write_text("in the way")
    gate.shut()
    assert through_gate.post(b"lost").status_code == 503
    assert health(through_gate)["code"] == 503
    through_gate.spool.unlink()
    assert through_gate.post(b"kept").status_code == 200
    gate.reopen()
    assert through_gate.stored_in_the_end(1) == [b"kept"]


def test_two_receivers_share_a_spool_and_the_one_that_lives_empties_it(
    receiver_at: Callable[..., Receiver], gate: Gate, database_url: str
) -> None:
    url = make_url(database_url).set(host="127.0.0.1", port=gate.port, query={}).render_as_string(hide_password=False)
    both = [receiver_at(url), receiver_at(url)]
    gate.shut()
    bodies = [b"%d" % number for number in range(40)]
    assert {both[number % 2].post(body).status_code for number, body in enumerate(bodies)} == {200}
    assert len(segments(both[0])) >= 2
    gate.reopen()
    assert sorted(both[0].stored_in_the_end(40)) == sorted(bodies)
    assert emptied(both[0])
    assert len(both[0].stored()) == 40


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


def test_without_the_database_and_without_a_page_it_does_not_start(process_environ: dict[str, str]) -> None:
    environ = process_environ | {"AIRFLOW_CONN_OTN_DB": "postgresql://nobody@127.0.0.1:1/none"}
    ended = subprocess.run(COMMAND, env=environ, capture_output=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert b"The registered pages cannot be read" in ended.stderr


def test_started_while_the_database_is_away_it_takes_what_the_defined_pages_sign(
    receiver_at: Callable[..., Receiver], gate: Gate, database_url: str
) -> None:
    url = make_url(database_url).set(host="127.0.0.1", port=gate.port, query={}).render_as_string(hide_password=False)
    gate.shut()
    defined = ENVIRON | {"AIRFLOW_CONN_SECOND": page_variable(app_secret="second")}
    receiver = receiver_at(url, defined, refresh_seconds=0)
    assert receiver.post(b"first").status_code == 200
    assert receiver.post(b"second", signed(b"second", "second")).status_code == 200
    assert receiver.post(b"forged", signed(b"forged", "third")).status_code == 403
    gate.reopen()
    assert receiver.stored_in_the_end(2) == [b"first", b"second"]


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
    stored = receiver_process.stored()
    assert len(stored) == len(set(stored))
    assert len(acknowledged) > 100
    assert acknowledged <= {*stored, *receiver_process.spooled()}


def test_killed_while_it_spools_every_acknowledged_event_is_taken_over_by_the_next(
    receiver_process: Receiver, process_environ: dict[str, str]
) -> None:
    # The table is locked, so that everything goes to the disk; the kill falls between fsync and answer for some.
    assert receiver_process.process is not None
    with transaction(receiver_process.database) as connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLE otn.webhook_event IN ACCESS EXCLUSIVE MODE")
        load = Load(receiver_process)
        assert load.enough.wait(60)
        receiver_process.process.kill()
        receiver_process.process.wait(30)
        acknowledged = load.end()
        assert len(acknowledged) > 100
    receiver_process.process = subprocess.Popen(COMMAND, env=process_environ | ENVIRON, stderr=subprocess.DEVNULL)
    try:
        assert emptied(receiver_process)
    finally:
        receiver_process.process.terminate()
        receiver_process.process.wait(30)
    stored = receiver_process.stored()
    assert acknowledged <= set(stored)
    assert len(stored) == len(set(stored))
    assert len(stored) - len(acknowledged) <= 8  # written, but killed before the answer: one a client at most


def test_told_to_stop_it_finishes_what_is_in_flight(receiver_process: Receiver) -> None:
    assert receiver_process.process is not None
    with transaction(receiver_process.database) as connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLE otn.webhook_event IN ACCESS EXCLUSIVE MODE")
        with ThreadPoolExecutor(1) as client:
            answer = client.submit(receiver_process.post, b"in flight")
            eventually(lambda: waiting(cursor), "a webhook that waits for the lock")
            receiver_process.process.terminate()
            connection.commit()
            assert answer.result().status_code == 200
    receiver_process.process.wait(60)
    assert {*receiver_process.stored(), *receiver_process.spooled()} == {b"in flight"}


def waiting(cursor: object) -> bool:
    cursor.execute("SELECT count(*) AS n FROM pg_locks WHERE NOT granted")  # type: ignore[attr-defined]
    return bool(cursor.fetchone().n)  # type: ignore[attr-defined]
