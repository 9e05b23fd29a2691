"""The receiver under load: what is left of it while things break, and how fast it is beside bare routes."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from os import cpu_count
from statistics import median
from typing import Any, Self

from benchmarks import bare
from benchmarks.load import Orders, Result
from benchmarks.stage import Cluster, Program, postgres_variable
from benchmarks.wire import PAGE, event_of
from otn.crypto import new_key, read_keyring
from otn.database import migrate
from otn.local.health import get
from otn.local.ports import HOST, free_port
from otn.local.progress import Progress, Silence
from otn.local.supervision import python_path
from otn.web.spool import PURPOSE

DATABASE = "otn"
RATE = 300.0  # requests a second while things break: ten times what a page is sent at
CONNECTIONS = 32
ROUND_SECONDS = 3.0
ROUNDS = 5
SETTLE_SECONDS = 60.0
FLASK = "benchmarks.peer_flask:app"
RECEIVER = ["-c", "from otn.web.receiver import serve; import os; serve('127.0.0.1', int(os.environ['PORT']))"]


def run(seconds: float = 60.0, progress: Progress | None = None, rounds: int = ROUNDS) -> dict[str, Any]:
    """Measure everything; answers the figures of ``outage`` and ``throughput``.

    Args:
        seconds: of load while things break.
        progress: told what happens.
        rounds: of throughput, each all sides in turns.
    """
    with Bench(progress or Silence()) as bench:
        return {"outage": bench.outage(seconds), "throughput": bench.throughput(rounds, ROUND_SECONDS)}


class Bench:
    """A Postgres and a receiver, both as in real use.

    Args:
        progress: told what happens.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._secret = secrets.token_hex(16)
        self._keys = {"OTN_ENCRYPTION_KEYS": new_key(), "OTN_HASH_KEY": new_key()}
        self._cluster = Cluster()

    def __enter__(self) -> Self:
        self._progress.stage("starting Postgres and the receiver")
        self._cluster.__enter__()
        try:
            with closing(self._cluster.server.connect()) as connection, connection.cursor() as cursor:
                cursor.execute(f"CREATE DATABASE {DATABASE}")
            migrate(self._cluster.server.url(DATABASE))
            self._query(bare.TABLE)
            self._receiver = self._receiver_program()
            self._receiver.start()
        except BaseException:
            self._cluster.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._receiver.stop()
        self._cluster.__exit__(None, None, None)

    def _receiver_program(self) -> Program:
        page = {"app_secret": self._secret, "verify_token": "none"}
        port = free_port()
        environment = self._keys | {
            "PORT": str(port),
            "AIRFLOW_CONN_OTN_DB": postgres_variable(self._cluster.server, DATABASE),
            "AIRFLOW_CONN_MESSENGER_DEFAULT": json.dumps(
                {"conn_type": "messenger", "login": PAGE, "password": "none", "extra": page}
            ),
            "OTN_SPOOL_DIR": str(self._cluster.folder / "spool"),
        }
        return Program(RECEIVER, environment, port, "/healthz", self._cluster.folder / "receiver.log")

    def _query(self, statement: str) -> list[Any]:
        with closing(self._cluster.server.connect(DATABASE)) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def outage(self, seconds: float) -> dict[str, Any]:
        """Load while Postgres is stopped for a third of the time and killed once, and the receiver killed once.

        The receiver is killed, and started again, while Postgres is away: so the next one has to take over what the
        dead one left, without a database to tell it whose signatures count.

        Args:
            seconds: of load.
        """
        name = "outage"
        with self._loaded(Orders(self._receiver.port, self._secret, name, seconds, CONNECTIONS, RATE)) as load:
            began = time.monotonic()
            for share, text, act in (
                (1 / 6, "stopping Postgres", self._cluster.stop),
                (1 / 3, "killing the receiver", self._kill_receiver),
                (1 / 2, "starting Postgres", self._cluster.start),
                (3 / 4, "killing Postgres", self._kill_postgres),
            ):
                time.sleep(max(0.0, began + seconds * share - time.monotonic()))
                self._progress.stage(text)
                act()
            self._progress.stage("waiting for the rest of the load")
        self._progress.stage("waiting until the spool is empty")
        drained_s = self._wait_drained()
        found = self._found(name)
        acknowledged = set(load.acknowledged)
        return {
            "seconds": seconds,
            "requests": sum(load.answers.values()) + sum(load.errors.values()),
            "answers": dict(load.answers),
            "errors": dict(load.errors),
            "acknowledged": len(acknowledged),
            "stored": len(found),
            "lost": len(acknowledged - found.keys()),
            "twice": sum(1 for times in found.values() if times > 1),
            "drained_s": drained_s,
            **_times(load.seconds),
        }

    def _kill_receiver(self) -> None:
        self._receiver.kill()
        self._receiver.start()

    def _kill_postgres(self) -> None:
        self._cluster.kill()
        self._cluster.start()

    def _wait_drained(self) -> float:
        started = time.monotonic()
        while time.monotonic() < started + SETTLE_SECONDS:
            answer = get(self._receiver.port, "/healthz")
            if answer is not None and json.loads(answer[1])["spool"]["bytes"] == 0:
                break
            time.sleep(0.1)
        return round(time.monotonic() - started, 1)

    def _found(self, name: str) -> Counter[str]:
        keyring = read_keyring(self._keys)
        rows = self._query("SELECT body FROM otn.webhook_event")
        events = (event_of(keyring.decrypt(bytes(body), PURPOSE)) for (body,) in rows)
        return Counter(event for event in events if event.startswith(f"{name}-"))

    def throughput(self, rounds: int, seconds: float) -> dict[str, Any]:
        """Requests a second, as many as go, in turns: a route that does nothing, a bare one, Flask's, the receiver.

        Args:
            rounds: how often each.
            seconds: of each.
        """
        server, folder = self._cluster.server, self._cluster.folder
        port, flask_port = free_port(), free_port()
        dsn = server.url(DATABASE).replace("postgresql+psycopg2:", "postgresql:")
        bound = {"BARE_PORT": str(port), "BARE_DSN": dsn}
        words = [
            "-m",
            "gunicorn",
            "--workers",
            str(2 * (cpu_count() or 1) + 1),
            "--bind",
            f"{HOST}:{flask_port}",
            FLASK,
        ]
        sides = {
            "nothing": (port, "/nothing"),
            "bare": (port, "/webhook"),
            "flask": (flask_port, "/webhook"),
            "receiver": (self._receiver.port, "/webhook"),
        }
        loads: dict[str, list[Result]] = {name: [] for name in sides}
        with (
            Program(["-m", "benchmarks.bare"], bound, port, "/", folder / "bare.log"),
            Program(words, bound, flask_port, "/", folder / "flask.log"),
        ):
            for name, place in sides.items():
                self._measure(name, place, "warm", 1.0)  # none pays for its first imports and connections
            for number in range(rounds):
                for name, place in sides.items():
                    self._progress.stage(f"throughput, round {number + 1} of {rounds}, {name}")
                    loads[name].append(self._measure(name, place, str(number), seconds))
        return {"rounds": rounds, "connections": CONNECTIONS, "ratio": _ratio(loads, "bare")} | {
            "to_nothing": _ratio(loads, "nothing"),
            "to_flask": _ratio(loads, "flask"),
            **{f"{name}_per_s": round(median(map(_per_s, some))) for name, some in loads.items()},
            **{name: _times([one for load in some for one in load.seconds]) for name, some in loads.items()},
        }

    def _measure(self, name: str, place: tuple[int, str], number: str, seconds: float) -> Result:
        port, path = place
        with self._loaded(Orders(port, self._secret, f"{name}{number}", seconds, CONNECTIONS, path=path)) as load:
            pass
        return load

    @contextmanager
    def _loaded(self, orders: Orders) -> Iterator[Result]:
        """Load by another process during the block; the result is filled in behind it."""
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.load"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"PYTHONPATH": python_path()},
        )
        result = Result()
        try:
            if process.stdin is None:
                raise RuntimeError("the load has no orders")
            process.stdin.write(json.dumps(asdict(orders)).encode())
            process.stdin.close()
            process.stdin = None
            yield result
            said, _ = process.communicate(timeout=orders.seconds + 60)
        finally:
            process.kill()
            process.wait()
        read = json.loads(said)
        result.answers.update(read["answers"])
        result.errors.update(read["errors"])
        result.seconds += read["seconds"]
        result.acknowledged += read["acknowledged"]
        result.lasted = read["lasted"]


def _per_s(load: Result) -> float:
    return load.answers["200"] / load.lasted


def _ratio(loads: dict[str, list[Result]], beside: str) -> float:
    """Of the receiver to another side; the median of the rounds."""
    pairs = zip(loads["receiver"], loads[beside], strict=True)
    return round(median(_per_s(ours) / _per_s(theirs) for ours, theirs in pairs), 2)


def _times(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds) or [0.0]

    def at(share: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 1)

    return {"p50_ms": at(0.5), "p99_ms": at(0.99), "p999_ms": at(0.999), "max_ms": round(ordered[-1] * 1000, 1)}
