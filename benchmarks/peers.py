"""What the engine is measured beside: ways to send to many people that are at hand, each as its own docs advise.

Each keeps a row for every person, in the same Postgres, and commits it when the platform has answered; a message is one
call, as none of them groups them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg2
from celery import Celery
from procrastinate import App, SyncPsycopgConnector
from psycopg2.extras import execute_values

from benchmarks.shop import Shop
from benchmarks.stage import Cluster
from otn.local.ports import HOST, free_port
from otn.local.supervision import python_path

WORKERS = 2  # processes; as many as there are cores
THREADS = 8  # of each, where it has any
LOOK_S = 0.01
PATIENCE_S = 120.0
TABLE = "CREATE TABLE IF NOT EXISTS peer (id bigint PRIMARY KEY, token text NOT NULL, message_id text)"
WAITING = "SELECT id FROM peer WHERE message_id IS NULL LIMIT 1"


class PeerAbsentError(Exception):
    """What the peer needs is not on this machine."""


@dataclass
class Ground:
    """What every peer works on.

    Args:
        cluster: the Postgres.
        shop: the page, its people and their tokens.
    """

    cluster: Cluster
    shop: Shop

    @property
    def dsn(self) -> str:
        """The database, as libpq reads it."""
        return self.shop.url.replace("postgresql+psycopg2:", "postgresql:")

    @property
    def log(self) -> Path:
        """What workers say."""
        return self.cluster.folder / "peers.log"

    @property
    def environment(self) -> dict[str, str]:
        """Of a worker: where database and page are."""
        settings = self.shop.settings
        address = f"{settings.base_url}/{settings.api_version}/{settings.page_id}/messages"
        path = {"PATH": os.environ["PATH"], "PYTHONPATH": python_path(), "HOME": str(self.cluster.folder)}
        return path | {"PEER_DSN": self.dsn, "PEER_ADDRESS": address, "PEER_TOKEN": settings.access_token}

    def fill(self, people: int) -> list[int]:
        """Put people who have just opted in into the peer's table; answers their numbers."""
        _, pairs = self.shop.tokens(people)
        with closing(psycopg2.connect(self.dsn)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(TABLE)
            cursor.execute("TRUNCATE peer")
            execute_values(
                cursor, "INSERT INTO peer (id, token) VALUES %s", [(n, token) for n, (_, token) in enumerate(pairs, 1)]
            )
        return list(range(1, people + 1))

    def wait(self) -> None:
        """Wait until everybody's row says that the message was sent.

        Raises:
            RuntimeError: that takes too long.
        """
        deadline = time.monotonic() + PATIENCE_S
        with closing(psycopg2.connect(self.dsn)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            cursor.execute(WAITING)
            while cursor.fetchone() is not None:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"A peer does not come to its end:\n{self.log.read_text()[-2_000:]}")
                time.sleep(LOOK_S)
                cursor.execute(WAITING)


Run = Callable[[int], float]


@contextmanager
def loop(ground: Ground) -> Iterator[Run]:
    """One process that sends to one after the other, and commits after each."""

    def run(people: int) -> float:
        numbers = ground.fill(people)
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.peer_calls"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=ground.environment,
        )
        said, _ = process.communicate(json.dumps(numbers), timeout=PATIENCE_S)
        return float(said)

    yield run


@contextmanager
def celery(ground: Ground) -> Iterator[Run]:
    """A Celery task for each person, on Redis; results are not kept twice, as its docs advise."""
    program = shutil.which("redis-server")
    if program is None:
        raise PeerAbsentError("redis-server is not installed.")
    port = free_port()
    broker = f"redis://{HOST}:{port}/0"
    words = [program, "--port", str(port), "--bind", HOST, "--save", "", "--dir", str(ground.cluster.folder)]
    work = [sys.executable, "-m", "celery", "-A", "benchmarks.peer_celery", "worker", "--concurrency", str(WORKERS)]
    quiet = ["--without-gossip", "--without-mingle", "--loglevel", "WARNING"]
    with _running(words, ground), _running([*work, *quiet], ground, PEER_BROKER=broker):
        app = Celery(broker=broker)

        def run(people: int) -> float:
            numbers = ground.fill(people)
            began = time.monotonic()
            for number in numbers:
                app.send_task("benchmarks.peer_celery.send", [number], ignore_result=True)
            ground.wait()
            return time.monotonic() - began

        yield run
        app.close()


@contextmanager
def procrastinate(ground: Ground) -> Iterator[Run]:
    """A procrastinate job for each person: deferred as a batch, worked on by threads, done jobs deleted."""
    work = [sys.executable, "-m", "procrastinate", "--app", "benchmarks.peer_procrastinate.app", "worker"]
    words = [*work, "--concurrency", str(THREADS), "--delete-jobs", "successful"]
    with App(connector=SyncPsycopgConnector(conninfo=ground.dsn)).open() as app:
        app.schema_manager.apply_schema()
        send = app.configure_task("benchmarks.peer_procrastinate.send")
        with _running(words, ground), _running(words, ground):

            def run(people: int) -> float:
                numbers = ground.fill(people)
                began = time.monotonic()
                send.batch_defer(*({"number": number} for number in numbers))
                ground.wait()
                return time.monotonic() - began

            yield run


def of(name: str, ground: Ground) -> AbstractContextManager[Run]:
    """A peer, ready: what it yields sends to so many people and answers how long that took."""
    return PEERS[name](ground)


@contextmanager
def _running(words: list[str], ground: Ground, **environment: str) -> Iterator[None]:
    with ground.log.open("ab") as file:
        process = subprocess.Popen(  # noqa: S603 - our own words and paths
            words, env=ground.environment | environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file
        )
    try:
        yield
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()
        process.wait()


PEERS: dict[str, Callable[[Ground], AbstractContextManager[Run]]] = {
    "loop": loop,
    "celery": celery,
    "procrastinate": procrastinate,
}
