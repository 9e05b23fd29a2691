"""A real receiver: in a thread of this process, or as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import uvicorn
from sqlalchemy import make_url

from otn.crypto import Keyring, new_key, read_keyring
from otn.database import Engine, transaction
from otn.messenger.signature import sign
from otn.settings import ROOT
from otn.web.receiver import Registry, create_app
from otn.web.receiver.server import _listen
from otn.web.receiver.store import Store, receiver_engine

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

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def post(self, body: bytes, headers: dict[str, str] | None = None) -> requests.Response:
        headers = signed(body) if headers is None else headers
        return requests.post(f"{self.url}/webhook", data=body, headers=headers, timeout=30)

    def stored(self) -> list[bytes]:
        with transaction(self.database) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT body FROM otn.webhook_event ORDER BY received_at")
            return [self.keyring.decrypt(row.body, "webhook") for row in cursor.fetchall()]


@pytest.fixture
def receiver_at(database: Engine, keyring: Keyring) -> Iterator[Callable[..., Receiver]]:
    """Starts receivers in threads: ``receiver_at(url, environ)``."""
    running: list[tuple[uvicorn.Server, threading.Thread, Engine]] = []

    def start(url: str, environ: dict[str, str] | None = None, refresh_seconds: float = 10) -> Receiver:
        engine = receiver_engine(url)
        app = create_app(Store(engine, keyring), Registry(engine, environ or ENVIRON, refresh_seconds))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, log_level="warning"))
        listener = _listen("127.0.0.1", 0)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        running.append((server, thread, engine))
        thread.start()
        return Receiver(listener.getsockname()[1], database, keyring)

    yield start
    for server, thread, engine in running:
        server.should_exit = True
        thread.join(30)
        engine.dispose()


@pytest.fixture
def receiver(receiver_at: Callable[..., Receiver], database_url: str) -> Receiver:
    return receiver_at(database_url)


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
def process_environ(database_url: str) -> dict[str, str]:
    """Environment of a receiver's process, without any page."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{ROOT / 'plugins'}{os.pathsep}{ROOT}",
        "AIRFLOW_CONN_OTN_DB": connection_variable(database_url),
        "OTN_ENCRYPTION_KEYS": new_key(),
        "OTN_HASH_KEY": new_key(),
    }


COMMAND = [sys.executable, "-c", "from otn.web.receiver import serve; serve('127.0.0.1', 0)"]


@pytest.fixture
def receiver_process(database: Engine, process_environ: dict[str, str], tmp_path: Path) -> Iterator[Receiver]:
    """A receiver in a process of its own."""
    environ = process_environ | ENVIRON
    log = tmp_path / "receiver.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(COMMAND, env=environ, stderr=sink)
    try:
        port = _port(process, log)
        yield Receiver(port, database, read_keyring(process_environ), process, log)
    finally:
        process.kill()
        process.wait(30)


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    while process.poll() is None:
        with suppress(ValueError):
            return int(log.read_text().partition("port=")[2].partition("\n")[0])
        time.sleep(0.02)
    raise AssertionError(log.read_text())
