"""The caller's side of the nursery: lives that begin, stop, go on and end."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Self

from otn.settings import ROOT
from tests.chaos.sender import CRASHED, Job

BIRTH_S = 60.0
PATIENCE_S = 330.0  # an answer in hand is offered to a database that is away for 300 s


class LifeError(Exception):
    """A sender did what no sender should do."""


@dataclass
class Life:
    """One sender.

    Args:
        number: in the nursery.
        job: what it is for.
    """

    number: int
    job: Job
    _lives: Lives = field(repr=False)
    pid: int = 0
    state: str = "unborn"
    code: int = 0
    stopped_at: float = 0.0
    stopped_s: float = 0.0

    @property
    def name(self) -> str:
        """What the attempt log calls it."""
        return f"{socket.gethostname()}/{self.pid}"

    @property
    def over(self) -> bool:
        """Whether it has ended, by whatever means."""
        return self.state in {"ended", "killed"}

    def wait(self, *states: str, seconds: float = PATIENCE_S) -> bool:
        """Wait until it ended, or came to one of ``states``; False: it did not in time."""
        with self._lives.news:
            return self._lives.news.wait_for(lambda: self.over or self.state in states, seconds)

    def kill(self) -> None:
        """End it as a crash would."""
        self._lives.signal(self.number, signal.SIGKILL)

    def stop(self) -> None:
        """Hold it."""
        self._lives.signal(self.number, signal.SIGSTOP)

    def wake(self) -> None:
        """Let it go on."""
        with self._lives.news:
            if self.state == "stopped":
                self.state, self.stopped_s = "running", time.monotonic() - self.stopped_at
        self._lives.signal(self.number, signal.SIGCONT)

    def finish(self) -> Self:
        """Wait for its end.

        Raises:
            LifeError: it does not end, or crashed.
        """
        if not self.wait():
            self._lives.signal(self.number, signal.SIGUSR1)  # it tells where it is
            self.wait(seconds=1)
            self.kill()
            raise LifeError(f"A sender that should {self.job.act} did not end within {PATIENCE_S:.0f} s.")
        if self.state == "ended" and self.code == CRASHED and not self.job.mutant:
            raise LifeError(f"A sender that should {self.job.act} crashed; its traceback is on standard error.")
        return self


class Lives:
    """A nursery, and everybody in it.

    Args:
        database: URL of any database; the nursery connects to it once.
        environ: keys.
    """

    def __init__(self, database: str, environ: dict[str, str]) -> None:
        self.news = threading.Condition()
        self._count = itertools.count(1)
        self._all: dict[int, Life] = {}
        self._warm = False
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT}"},
            cwd=ROOT,
            start_new_session=True,  # Ctrl-C ends the caller, and the caller ends it
        )
        self._listener = threading.Thread(target=self._listen, name="nursery", daemon=True)
        self._listener.start()
        self._say({"database": database, "environ": environ})

    def __enter__(self) -> Self:
        with self.news:
            if (
                not self.news.wait_for(lambda: self._warm or self._process.poll() is not None, BIRTH_S)
                or not self._warm
            ):
                raise LifeError("The nursery of the senders did not start; why stands on standard error.")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(PATIENCE_S)
        self._listener.join()
        self._process.stdout.close()

    def begin(self, job: Job) -> Life:
        """Let a sender live; it is born when this returns."""
        life = Life(next(self._count), job, self)
        with self.news:
            self._all[life.number] = life
        self._say({"number": life.number, "job": job.to_dict()})
        with self.news:
            if not self.news.wait_for(lambda: life.pid, BIRTH_S):
                raise LifeError("The nursery bears nobody any more; why stands on standard error.")
        return life

    def signal(self, number: int, what: int) -> None:
        """Send a signal to one that may have ended."""
        self._say({"number": number, "signal": int(what)})

    def _say(self, line: dict[str, Any]) -> None:
        assert self._process.stdin
        with self.news:  # lines of many threads, one after the other
            self._process.stdin.write(json.dumps(line).encode() + b"\n")
            self._process.stdin.flush()

    def _listen(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            said = json.loads(line)
            with self.news:
                self._hear(said)
                self.news.notify_all()
        with self.news:
            self.news.notify_all()

    def _hear(self, said: dict[str, Any]) -> None:
        if "number" not in said:
            self._warm = True
            return
        life = self._all[said["number"]]
        if "pid" in said:
            life.pid, life.state = said["pid"], "running"
            return
        life.state, life.code = said["state"], said["code"]
        if life.state == "stopped":
            life.stopped_at = time.monotonic()
