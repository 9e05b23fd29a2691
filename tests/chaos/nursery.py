"""A warmed process that forks senders: a killed sender costs milliseconds in place of a second of imports.

Lines of JSON come in: ``{"number": 1, "job": {…}}`` begins a life, ``{"number": 1, "signal": 9}`` sends a signal. Lines
go out: ``{"number": 1, "pid": …}`` when a life began, ``{"number": 1, "state": "stopped", "code": 0}`` when it stands
still, ``ended`` with its exit code or ``killed`` with the signal when it is over.
Signals are sent here, where children are reaped: no number is ever used after its process is gone.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import logging
import os
import selectors
import signal
import traceback
from contextlib import suppress
from typing import Any

import structlog

from otn.crypto import Keyring, read_keyring
from otn.database import make_engine, queries, transaction
from otn.epoch.file import VARIABLE
from tests.chaos import mutants, sender, steps

WARM = "warm"


class Nursery:
    """Forks, and tells what becomes of each child.

    Args:
        keyring: opens tokens.
    """

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._numbers: dict[int, int] = {}  # of the children that are not reaped, by process id

    def obey(self, line: dict[str, Any]) -> None:
        """Do what a line says."""
        number = line["number"]
        if "job" in line:
            pid = os.fork()
            if not pid:
                self._live(sender.Job.from_dict(line["job"]), number)
            self._numbers[pid] = number
            say(number=number, pid=pid)
            return
        for pid, of in self._numbers.items():
            if of == number:
                os.kill(pid, line["signal"])

    def _live(self, job: sender.Job, number: int) -> None:
        code, told = sender.CRASHED, os.dup(2)
        faulthandler.register(signal.SIGUSR1, file=told)
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.close(0)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libpq writes there of connections that were cut
            os.environ[VARIABLE] = job.target.epoch_file
            mutants.apply(job.mutant)
            steps.arm(job.arms)
            engine = make_engine(job.target.database, pool_size=4, application_name=f"otn chaos {number}")
            code = sender.live(engine, self._keyring, job)
        except BaseException:  # noqa: BLE001 - told, and the process ends
            if not job.mutant:  # the mutilated may fail as they like: the checker judges them
                os.write(told, f"{job.act} of {job.key}: {traceback.format_exc()}\n".encode())
        finally:
            os._exit(code)

    def reap(self) -> None:
        """Tell what became of children."""
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
                if not pid:
                    return
                number = self._numbers[pid]
                if os.WIFSTOPPED(status):
                    say(number=number, state="stopped", code=0)
                    continue
                del self._numbers[pid]
                if os.WIFSIGNALED(status):
                    say(number=number, state="killed", code=os.WTERMSIG(status))
                else:
                    say(number=number, state="ended", code=os.WEXITSTATUS(status))

    def end(self) -> None:
        """Leave nobody behind."""
        for pid in self._numbers:
            os.kill(pid, signal.SIGKILL)


def say(**line: object) -> None:
    """One line out."""
    os.write(1, json.dumps(line).encode() + b"\n")


def warmed(config: dict[str, Any]) -> Keyring:
    """Read and connect once, as far as it can be done before anybody is born."""
    for subject in mutants.SUBJECTS:
        queries(subject)
    engine = make_engine(config["database"], pool_size=1)
    with transaction(engine) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    engine.dispose()
    logging.disable(logging.CRITICAL)  # what a sender says while things break under it is expected
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    gc.collect()
    gc.freeze()  # a child that only reads what was there copies no page of it
    gc.disable()
    return read_keyring(config["environ"])


def main() -> None:
    """Serve until the input ends."""
    buffer = b""
    while b"\n" not in buffer:
        buffer += os.read(0, 1 << 16)
    first, _, buffer = buffer.partition(b"\n")
    nursery = Nursery(warmed(json.loads(first)))
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    ready = selectors.DefaultSelector()
    ready.register(0, selectors.EVENT_READ)
    ready.register(woken, selectors.EVENT_READ)
    say(state=WARM)
    while True:
        found = [key.fd for key, _ in ready.select()]
        if woken in found:
            os.read(woken, 1 << 12)
            nursery.reap()
        if 0 in found:
            piece = os.read(0, 1 << 16)
            if not piece:
                nursery.end()
                return
            buffer += piece
            *lines, buffer = buffer.split(b"\n")
            for line in lines:
                nursery.obey(json.loads(line))


if __name__ == "__main__":
    main()
