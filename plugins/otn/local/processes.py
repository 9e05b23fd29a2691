"""The processes of one home, found whatever became of the supervisor, and ended."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import psutil

from otn.errors import OtnError

HOME_MARK = "OTN_HOME_ID"
PROGRAM_MARK = "OTN_PROGRAM"
SUPERVISOR = "supervisord"
POSTGRES = "postgres"

_POLL_S = 0.05
_ROUNDS = 5
_DELETED = " (deleted)"  # Linux adds it to a working folder that was removed


class UnendingError(OtnError):
    """A process of this home cannot be ended. Look at what holds it."""


def of_home(identity: str, pgdata: Path) -> list[psutil.Process]:
    """Every living process of a home but this one and those that started it.

    Postgres writes its title over its environment, so it is known by the folder that it works in.

    Args:
        identity: the home's mark.
        pgdata: the home's data directory.
    """
    spared = {os.getpid(), *(process.pid for process in psutil.Process().parents())}
    return [
        process
        for process in psutil.process_iter()
        if process.pid not in spared and (_mark(process, HOME_MARK) == identity or _serves(process, pgdata))
    ]


def of_program(identity: str, program: str) -> list[psutil.Process]:
    """What an earlier life of one program has left behind: workers of a killed scheduler, for example."""
    spared = {os.getpid(), *(process.pid for process in psutil.Process().parents())}
    return [
        process
        for process in psutil.process_iter()
        if process.pid not in spared
        and _mark(process, HOME_MARK) == identity
        and _mark(process, PROGRAM_MARK) == program
    ]


def serving(pgdata: Path) -> list[psutil.Process]:
    """The Postgres processes that work on a data directory."""
    return [process for process in psutil.process_iter() if _serves(process, pgdata)]


def program_of(process: psutil.Process) -> str | None:
    """The program that a process belongs to."""
    return _mark(process, PROGRAM_MARK)


def alive(process: psutil.Process) -> bool:
    """Whether a process still runs; one that only waits to be collected by its parent does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def wait_gone(processes: Iterable[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    """Wait until processes are gone and give back those that are not."""
    deadline = time.monotonic() + timeout_s
    left = [process for process in processes if alive(process)]
    while left and time.monotonic() < deadline:
        time.sleep(_POLL_S)
        left = [process for process in left if alive(process)]
    return left


def end(processes: Iterable[psutil.Process], grace_s: float) -> None:
    """Ask processes to end, and end those by force that have not after ``grace_s`` seconds."""
    asked = list(processes)
    _each(asked, psutil.Process.terminate)
    left = wait_gone(asked, grace_s)
    _each(left, psutil.Process.kill)
    wait_gone(left, 10)


def end_home(identity: str, pgdata: Path, grace_s: float = 5) -> int:
    """End every process of a home, in the order that loses least.

    The supervisor first, so that it starts nothing again; Postgres last, by a fast shutdown, so that the others can
    still write down how they ended.

    Args:
        identity: the home's mark.
        pgdata: the home's data directory.
        grace_s: seconds that a process is given to end by itself.

    Returns:
        How many processes were found.

    Raises:
        UnendingError: some are still there after several rounds.
    """
    found = 0
    for _ in range(_ROUNDS):  # a process may start another one while the list is made
        processes = of_home(identity, pgdata)
        if not processes:
            return found
        found += len(processes)
        supervisors = [process for process in processes if program_of(process) == SUPERVISOR]
        _each(supervisors, psutil.Process.kill)
        wait_gone(supervisors, 10)
        end([process for process in of_home(identity, pgdata) if not _serves(process, pgdata)], grace_s)
        end_servers(pgdata)
    left = ", ".join(str(process.pid) for process in of_home(identity, pgdata))
    if left:
        raise UnendingError(f"Processes of this home cannot be ended (pids {left}). Look at what holds them.")
    return found


def end_servers(pgdata: Path) -> None:
    """End the Postgres on a data directory: by a fast shutdown, at once, by force; each when the one before failed."""
    for number, patience_s in ((signal.SIGINT, 60), (signal.SIGQUIT, 10), (signal.SIGKILL, 10)):  # fast, at once, force
        servers = serving(pgdata)
        heads = _heads(servers) if number != signal.SIGKILL else servers
        _each(heads or servers, partial(_signal, number=number))
        if not wait_gone(servers, patience_s):
            return


def _heads(servers: list[psutil.Process]) -> list[psutil.Process]:
    """The postmaster: it ends its children by itself."""
    return [process for process in servers if not _parent_among(process, servers)]


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    process.send_signal(number)


def _parent_among(process: psutil.Process, others: list[psutil.Process]) -> bool:
    try:
        return process.ppid() in {other.pid for other in others}
    except psutil.Error:
        return True


def _each(processes: Iterable[psutil.Process], act: Callable[[psutil.Process], object]) -> None:
    for process in processes:
        try:
            act(process)
        except psutil.Error:  # gone meanwhile
            continue


def _mark(process: psutil.Process, name: str) -> str | None:
    try:
        return process.environ().get(name)
    except (psutil.Error, OSError):  # another account's, or gone
        return None


def _serves(process: psutil.Process, pgdata: Path) -> bool:
    try:
        return process.name() == POSTGRES and process.cwd().removesuffix(_DELETED) == str(pgdata)
    except (psutil.Error, OSError):
        return False
