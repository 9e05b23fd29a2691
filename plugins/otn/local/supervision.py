"""The supervisor of one home: starts programs, starts them again, tells how they are."""

from __future__ import annotations

import http.client
import json
import os
import shlex
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from otn.errors import OtnError
from otn.local.account import Account
from otn.local.files import private_folder, write_private
from otn.local.home import Home
from otn.local.processes import HOME_MARK, PROGRAM_MARK, SUPERVISOR
from otn.settings import ROOT

RUNNING = "RUNNING"
_ENDED = {"STOPPED", "EXITED", "FATAL", "UNKNOWN"}

# A unix socket's path has about 107 bytes at most, and the supervisor binds a longer name first.
_SOCKET_PATH_LIMIT = 88
_ANSWER_S = 10
_START_S = 20
_POLL_S = 0.1

_CONFIG = """\
[unix_http_server]
file = {socket}
chmod = 0600

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[supervisord]
logfile = logs/supervisord.log
logfile_maxbytes = 5MB
logfile_backups = 2
pidfile = run/supervisord.pid
childlogdir = logs
umask = 077
minfds = 256
minprocs = 32
{user}
"""
# Many retries: a program that cannot start because the database restarts must not be given up for the night.
_PROGRAM = """
[program:{name}]
command = {launcher} run/{name}.json
autostart = false
autorestart = true
startsecs = 2
startretries = 100
stopsignal = {signal}
stopwaitsecs = {stop_s}
stopasgroup = {group}
killasgroup = true
redirect_stderr = true
stdout_logfile = logs/{name}.log
stdout_logfile_maxbytes = 10MB
stdout_logfile_backups = 3
"""


class SupervisorError(OtnError):
    """The supervisor of this home does not work. Read logs/supervisord.log in the home."""


@dataclass(frozen=True)
class Program:
    """A process to be kept running.

    Args:
        name: unique in the home; its log is ``logs/<name>.log``.
        command: words; the first one is an absolute path.
        environment: the whole environment but the home's marks.
        account: whom it runs as; None: as the supervisor.
        folder: working directory; None: the home.
        stop_signal: what ends it in an orderly way: ``TERM``, ``INT``, ``QUIT``.
        stop_group: send that signal to its children too.
        stop_s: seconds to wait for it before force is used.
        health: port and path of a GET that answers 200 when it works; None: running is enough.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    account: Account | None = None
    folder: Path | None = None
    stop_signal: str = "TERM"
    stop_group: bool = True
    stop_s: int = 20
    health: tuple[int, str] | None = None


@dataclass(frozen=True)
class ProgramState:
    """How a program is.

    Args:
        name: which.
        state: the supervisor's word: ``RUNNING``, ``STARTING``, ``BACKOFF``, ``STOPPED``, ``EXITED``, ``FATAL``.
        pid: its process; None where there is none.
        started_at: seconds since the epoch; None where it never was started.
    """

    name: str
    state: str
    pid: int | None
    started_at: int | None


class Supervisor:
    """The supervisor of one home, whether it runs or not.

    Args:
        home: whose.
    """

    def __init__(self, home: Home) -> None:
        self._home = home

    def start(self, programs: Iterable[Program]) -> None:
        """Start the supervisor with these programs, none of them running yet.

        It belongs to nobody's session and keeps none of the caller's files.

        Raises:
            SupervisorError: it does not come up.
        """
        user = "user = root" if os.geteuid() == 0 else ""  # said plainly, or it warns at each start
        text = _CONFIG.format(socket=self._make_socket_path(), user=user)
        for program in programs:
            self._write(program)
            text += _PROGRAM.format(
                name=program.name,
                launcher=f"{_quoted(sys.executable)} -m otn.local.launch",
                signal=program.stop_signal,
                stop_s=program.stop_s,
                group=str(program.stop_group).lower(),
            )
        write_private(self._home.run / "supervisord.conf", text)
        marks = {HOME_MARK: self._home.identity, PROGRAM_MARK: SUPERVISOR}
        with (self._home.logs / "supervisord.out").open("wb") as output:
            done = subprocess.run(  # it forks, and this returns
                [sys.executable, "-m", "supervisor.supervisord", "-c", "run/supervisord.conf"],
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._home.path,
                env=_own_environment() | marks,
                start_new_session=True,
                timeout=_START_S,
            )
        deadline = time.monotonic() + _START_S
        while not self.running():
            if done.returncode != 0 or time.monotonic() > deadline:
                raise SupervisorError(
                    f"The supervisor does not start. Read {self._home.logs}/supervisord.log and supervisord.out."
                )
            time.sleep(_POLL_S)

    def running(self) -> bool:
        """Whether it answers."""
        try:
            self._call("getState")
        except SupervisorError:
            return False
        return True

    def programs(self) -> dict[str, ProgramState]:
        """All programs by name; empty where the supervisor does not run."""
        try:
            answer = self._call("getAllProcessInfo")
        except SupervisorError:
            return {}
        return {
            info["name"]: ProgramState(info["name"], info["statename"], info["pid"] or None, info["start"] or None)
            for info in answer
        }

    def start_program(self, name: str) -> None:
        """Start one program and return at once; nothing happens where it runs already."""
        state = self.programs().get(name)
        if state is None or state.state in _ENDED:
            self._call("startProcess", name, False)  # noqa: FBT003 - the far side's argument: do not wait

    def stop_programs(self, names: Iterable[str]) -> None:
        """Stop programs, all at the same time, and wait until they have ended."""
        wanted = {name for name, state in self.programs().items() if state.state not in _ENDED} & set(names)
        for name in wanted:
            with suppress(SupervisorError):  # ended by itself meanwhile
                self._call("stopProcess", name, False)  # noqa: FBT003 - the far side's argument: do not wait
        while any(state.name in wanted and state.state not in _ENDED for state in self.programs().values()):
            time.sleep(_POLL_S)  # the supervisor uses force by itself when a program takes too long

    def shut_down(self) -> None:
        """End the supervisor and whatever it still runs; returns at once."""
        self._call("shutdown")

    def clear(self) -> None:
        """Remove what is of use to a running supervisor only: sockets, and the files with the environments."""
        if folder := self._home.state().get("socket_folder"):
            shutil.rmtree(folder, ignore_errors=True)
            self._home.save_state(socket_folder=None)
        shutil.rmtree(self._short_folder(), ignore_errors=True)  # the state may have been removed with the home
        shutil.rmtree(self._home.run, ignore_errors=True)

    def _write(self, program: Program) -> None:
        marks = {HOME_MARK: self._home.identity, PROGRAM_MARK: program.name}
        what = {
            "command": program.command,
            "environment": dict(program.environment) | marks,
            "folder": str(program.folder or self._home.path),
            "uid": program.account.uid if program.account else None,
            "gid": program.account.gid if program.account else None,
        }
        write_private(self._home.run / f"{program.name}.json", json.dumps(what))

    def _make_socket_path(self) -> Path:
        private_folder(self._home.run)
        path = self._home.run / "control"
        if len(os.fsencode(path)) > _SOCKET_PATH_LIMIT or _quoted(str(path)) != str(path):
            folder = self._short_folder()
            private_folder(folder)
            found = folder.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
                raise SupervisorError(f"{folder} is not a private folder of ours. Remove it, or set TMPDIR.")
            self._home.save_state(socket_folder=str(folder))
            path = folder / "control"
        return path

    def _short_folder(self) -> Path:
        """Where the socket goes when the home's own path is too long; the same each time, so that it is found again."""
        return Path(tempfile.gettempdir()) / f"otn-{self._home.identity}"

    def _socket_path(self) -> Path:
        folder = self._home.state().get("socket_folder")
        return (Path(folder) if folder else self._home.run) / "control"

    def _call(self, method: str, *arguments: object) -> Any:
        path = self._socket_path()
        with xmlrpc.client.ServerProxy("http://localhost", transport=_UnixTransport(path)) as proxy:
            try:
                return getattr(proxy.supervisor, method)(*arguments)
            except (OSError, http.client.HTTPException, xmlrpc.client.Error) as error:
                kind = getattr(error, "faultString", type(error).__name__)
                raise SupervisorError(
                    f"The supervisor did not {method} ({kind}). Read {self._home.logs}/supervisord.log."
                ) from None


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_ANSWER_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_ANSWER_S)
        self.sock.connect(str(self._path))


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = _UnixConnection(self._path)
        self._connection = host, connection  # what close() looks for
        return connection


def _own_environment() -> dict[str, str]:
    """What supervisor and launcher need to run; they get no key."""
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "LC_ALL", "TMPDIR", "TZ") if name in os.environ}
    return kept | {"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": python_path()}


def python_path() -> str:
    """``PYTHONPATH`` of every Python program of a home."""
    return os.pathsep.join([str(ROOT / "plugins"), str(ROOT)])


def _quoted(word: str) -> str:
    # The supervisor's configuration reads % as a placeholder, and a blank before # or ; as the start of a comment.
    return shlex.quote(word).replace("#", "''#").replace(";", "'';").replace("%", "%%")
