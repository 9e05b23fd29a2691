"""What a benchmark runs on: a Postgres that can be stopped and killed, and programs of our own."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from otn.local import postgres
from otn.local.account import postgres_account
from otn.local.health import get
from otn.local.ports import HOST, free_port
from otn.local.postgres import Server
from otn.local.supervision import python_path

START_SECONDS = 60.0


class Cluster:
    """An embedded Postgres in a temporary folder; it ends with the block, and with our process."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="otn-bench-")).resolve()
        data = self.folder / "postgres" / "data"
        self.server = Server(data, free_port(), secrets.token_urlsafe(24), postgres_account())
        self._guard = subprocess.Popen(  # noqa: S603 - our own words and paths
            [sys.executable, "-m", "otn.local.guard", str(data), str(self.folder)],
            stdin=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": python_path()},
            start_new_session=True,
        )
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        postgres.prepare(self.server.data, self.server.account)
        postgres.initialise(self.server.data, self.server.password, self.server.account, sync=False)
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._guard.communicate()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        """Start it, and return when it answers."""
        postgres.remove_stale_lock(self.server.data)
        account = self.server.account
        with (self.server.data.parent / "log").open("ab") as log:
            self._process = process = subprocess.Popen(  # noqa: S603 - our own words and paths
                self.server.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.server.data.parent,
                env=postgres.environment(),
                start_new_session=True,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
            )
        postgres.wait_ready(self.server, gone=lambda: process.poll() is not None)

    def stop(self) -> None:
        """Shut it down, its clients cut off."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End it as a crash would; its children follow when they notice."""
        self._end(signal.SIGKILL)

    def _end(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait(60)


class Program:
    """A program of ours, started anew as often as one likes.

    Args:
        words: arguments of the Python that runs us.
        environment: variables of its own.
        port: where it listens.
        path: answers 200 or 404 or 405 when it is ready.
        log: what it prints.
    """

    def __init__(self, words: list[str], environment: dict[str, str], port: int, path: str, log: Path) -> None:
        self._command = [sys.executable, *words]
        self._environment = {"PATH": os.environ["PATH"], "PYTHONPATH": python_path()} | environment
        self.port = port
        self._path = path
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, and return when it answers.

        Raises:
            RuntimeError: it ended, or did not answer in time.
        """
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own words and paths
                self._command, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_SECONDS
        while get(self.port, self._path) is None:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self._command[-1]} did not start:\n{self._log.read_text()[-2_000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Ask it to end, and wait."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would."""
        self._end(signal.SIGKILL)

    def _end(self, number: int) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(30)
        self._process.kill()
        self._process.wait()


def postgres_variable(server: Server, database: str) -> str:
    """The connection ``otn_db`` of a database on the server, as JSON."""
    return json.dumps(
        {
            "conn_type": "postgres",
            "host": HOST,
            "port": server.port,
            "login": postgres.SUPERUSER,
            "password": server.password,
            "schema": database,
        }
    )
