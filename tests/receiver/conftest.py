"""A real receiver: in a thread of this process, or as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import uvicorn
from sqlalchemy import make_url

from otn.crypto import Keyring, new_key, read_keyring
from otn.database import Engine, transaction
from otn.local.logins import RECEIVER
from otn.messenger.signature import sign
from otn.settings import ROOT
from otn.web.receiver import Registry, create_app
from otn.web.receiver.deletion import Deletions
from otn.web.receiver.keeper import Keeper
from otn.web.receiver.line import Line
from otn.web.receiver.server import _listen, server_config
from otn.web.spool import Spool
from tests.logins import url_of

APP_SECRET = "the secret of the app"
VERIFY_TOKEN = "the token of the handshake"


def page_variable(**extra: Any) -> str:
    """AIRFLOW_CONN_… of a page."""
    return json.dumps({"conn_type": "messenger", "login": "1001", "password": "page token", "extra": extra})


ENVIRON = {"AIRFLOW_CONN_MESSENGER_DEFAULT": page_variable(app_secret=APP_SECRET, verify_token=VERIFY_TOKEN)}


def signed(body: bytes, secret: str = APP_SECRET) -> dict[str, str]:
    return {"X-Hub-Signature-256": sign(body, secret)}


@dataclass
class Receiver:
    """Where a receiver listens, and what it stored."""

    port: int
    database: Engine
    keyring: Keyring
    process: subprocess.Popen[bytes] | None = None
    log: Path | None = None
    spool: Path | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def post(self, body: bytes, headers: dict[str, str] | None = None) -> requests.Response:
        headers = signed(body) if headers is None else headers
        return requests.post(f"{self.url}/webhook", data=body, headers=headers, timeout=30)

    def settle(self) -> None:
        """Wait until nothing is on the disk any more: on a busy machine a write may have taken that way."""
        deadline = time.monotonic() + 60
        while self.spool and list(self.spool.glob("*.segment")) and time.monotonic() < deadline:
            time.sleep(0.02)

    def stored(self) -> list[bytes]:
        with transaction(self.database) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT body FROM otn.webhook_event ORDER BY received_at")
            return [self.keyring.decrypt(row.body, "webhook") for row in cursor.fetchall()]

    def stored_in_the_end(self, count: int) -> list[bytes]:
        """The same, once there are so many: one that Postgres is slow to take goes by the disk."""
        deadline = time.monotonic() + 60
        while len(stored := self.stored()) < count and time.monotonic() < deadline:
            time.sleep(0.05)
        return stored

    def spooled(self) -> list[bytes]:
        """What a receiver that is dead has left on the disk."""
        assert self.spool is not None
        left = Spool(self.spool, 1 << 30, self.keyring)
        found: list[bytes] = []
        while (segment := left.oldest()) is not None:
            found += [self.keyring.decrypt(one.body, "webhook") for one in segment.take(1 << 30, 1 << 40)]
            segment.remove()
        return found


@pytest.fixture
def receiver_at(database: Engine, keyring: Keyring, tmp_path: Path) -> Iterator[Callable[..., Receiver]]:
    """Starts receivers in threads: ``receiver_at(url, environ)``. They share a spool."""
    running: list[tuple[uvicorn.Server, threading.Thread, list[Line]]] = []
    folder = tmp_path / "spool"

    def start(
        url: str,
        environ: dict[str, str] | None = None,
        refresh_seconds: float = 10,
        spool_bytes: int = 1 << 30,
        public_url: str | None = None,
    ) -> Receiver:
        keeper = Keeper(url, keyring, Spool(folder, spool_bytes, keyring))
        registry = Registry(Line(url), environ or ENVIRON, refresh_seconds)
        deletions = Deletions(Line(url), keyring, public_url)
        app = create_app(keeper, registry, deletions)
        server = uvicorn.Server(server_config(app))
        listener = _listen("127.0.0.1", 0)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        running.append((server, thread, [*keeper._all_lines, registry.line, deletions._line]))
        thread.start()
        return Receiver(listener.getsockname()[1], database, keyring, spool=folder)

    yield start
    for server, thread, lines in running:
        server.should_exit = True
        thread.join(30)
        for line in lines:
            line.close()


@pytest.fixture
def receiver(receiver_at: Callable[..., Receiver], database_url: str) -> Receiver:
    """By a login that may store, and read nothing of it."""
    return receiver_at(url_of(RECEIVER, database_url))


def connection_variable(database_url: str) -> str:
    url = make_url(database_url)
    host = url.query.get("host") or url.host
    port = url.query.get("port") or url.port
    return json.dumps(
        {
            "conn_type": "postgres",
            "host": host,
            "port": int(str(port)) if port else None,
            "login": url.username,
            "password": url.password,
            "schema": url.database,
        }
    )


@pytest.fixture
def process_environ(database_url: str, tmp_path: Path) -> dict[str, str]:
    """Environment of a receiver's process, without any page."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{ROOT / 'plugins'}{os.pathsep}{ROOT}",
        "AIRFLOW_CONN_OTN_DB": connection_variable(url_of(RECEIVER, database_url)),
        "OTN_ENCRYPTION_KEYS": new_key(),
        "OTN_HASH_KEY": new_key(),
        "OTN_HOME": str(tmp_path / "home"),  # not the one at the root, where somebody's demo may lie
        "OTN_SPOOL_DIR": str(tmp_path / "spool"),
    }


COMMAND = [sys.executable, "-c", "from otn.web.receiver import serve; serve('127.0.0.1', 0)"]


@pytest.fixture
def receiver_process(database: Engine, process_environ: dict[str, str], tmp_path: Path) -> Iterator[Receiver]:
    """A receiver in a process of its own."""
    with started(COMMAND, process_environ | ENVIRON, database, tmp_path) as receiver:
        yield receiver


@contextmanager
def started(command: list[str], environ: dict[str, str], database: Engine, folder: Path) -> Iterator[Receiver]:
    """A receiver's process.

    Args:
        command: what starts it, on a free port.
        environ: all that it is given.
        database: where it stores, to look there.
        folder: of its log; its spool is there too.
    """
    log = folder / "receiver.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(command, env=environ, stderr=sink, cwd=folder)
    try:
        yield Receiver(_port(process, log), database, read_keyring(environ), process, log, folder / "spool")
    finally:
        process.kill()
        process.wait(30)


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    while process.poll() is None:
        with suppress(ValueError):
            return int(log.read_text().partition("port=")[2].partition("\n")[0])
        time.sleep(0.02)
    raise AssertionError(log.read_text())
