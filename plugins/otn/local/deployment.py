"""What has to be done once before the parts of a deployment start: databases, tables, pools, the first user."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2

from otn import database
from otn.database import DatabaseAwayError, make_engine, queries, transaction
from otn.errors import ConfigurationError, OtnError
from otn.local import logins, postgres
from otn.local.environment import AIRFLOW_DB, OTN_DB
from otn.local.home import ADMIN
from otn.local.logins import SENDER, Kind
from otn.local.pools import missing_pools
from otn.local.programs import airflow_command
from otn.local.progress import Progress
from otn.settings import (
    DATABASE_CONNECTION,
    Connection,
    database_url,
    read_connection,
    read_database_connection,
)

SUPERUSER_PASSWORD = "OTN_POSTGRES_PASSWORD"  # noqa: S105 - a variable's name
ADMIN_NAME, ADMIN_PASSWORD = "OTN_ADMIN", "OTN_ADMIN_PASSWORD"
QUIET_S = 60  # a responder that has asked nothing for so long is not well
_AIRFLOW_S = 600


class PreparationError(OtnError):
    """A step before the start failed. Read what stands above."""


@dataclass(frozen=True)
class Superuser:
    """The superuser of the deployment's Postgres.

    Args:
        host: of the server.
        port: of the server.
        password: the superuser's.
    """

    host: str
    port: int
    password: str = field(repr=False)

    def connect(self) -> psycopg2.extensions.connection:
        """Connect, committing each statement."""
        connection = psycopg2.connect(
            host=self.host,
            port=self.port,
            user=postgres.SUPERUSER,
            password=self.password,
            dbname="postgres",
            connect_timeout=10,
        )
        connection.autocommit = True
        return connection


class Deployment:
    """One deployment, as its environment describes it. Every step may be repeated.

    Args:
        environment: connections, Airflow's settings, and passwords of whom to make.
        progress: told what is done.

    Raises:
        ConfigurationError: a connection is missing or cannot be read.
    """

    def __init__(self, environment: Mapping[str, str], progress: Progress) -> None:
        self._environment = dict(environment)
        self._progress = progress
        self._otn = _complete(read_connection(DATABASE_CONNECTION, environment), OTN_DB)
        self._airflow = _complete(read_connection("airflow_db", environment), AIRFLOW_DB)
        self._logins = tuple(self._given_logins())

    def _given_logins(self) -> Iterator[tuple[Kind, Connection]]:
        """Those that are no owner under another name."""
        for kind in logins.KINDS:
            if self._environment.get(kind.variable):
                one = _complete(read_connection(kind.connection_id, self._environment), kind.variable)
                if one.login != self._otn.login:
                    yield kind, one

    def prepare(self) -> None:
        """Make databases, tables, pools and the first user, each where missing.

        Raises:
            PreparationError: a step failed.
        """
        self._make_databases()
        self._progress.stage("migrating Airflow's database")
        self._run("db", "migrate")
        self._progress.stage("migrating the project's database")
        database.migrate(database_url(self._otn))
        self._check_logins()
        self._make_pools()
        self._make_user()

    def _make_databases(self) -> None:
        password = self._environment.get(SUPERUSER_PASSWORD, "")
        if not password:
            self._progress.note(f"{SUPERUSER_PASSWORD} is empty: the databases are taken as they are.")
            return
        self._progress.stage("making databases and roles where they are missing")
        for one in (self._otn, self._airflow):
            server = Superuser(str(one.host), one.port or 5432, password)
            try:
                logins.ensure_database(server, str(one.schema), str(one.login), str(one.password))
                for kind, login in self._logins if one is self._otn else ():
                    logins.ensure_login(server, str(login.login), str(login.password), kind.role)
            except psycopg2.OperationalError as error:
                raise PreparationError(
                    f"The superuser cannot connect to {one.host} ({_reason(error)}). Start Postgres and correct "
                    f"{SUPERUSER_PASSWORD}; leave it empty where somebody else makes the databases."
                ) from None

    def _check_logins(self) -> None:
        for kind, one in self._logins:
            engine = make_engine(database_url(one))
            try:
                with transaction(engine) as connection:
                    may = bool(queries("deployment").has_role(connection, role=kind.role))
            except DatabaseAwayError:
                may = False
            finally:
                engine.dispose()
            if not may:
                raise PreparationError(
                    f"The login {one.login} of {kind.variable} cannot connect, or has not the role {kind.role}. "
                    f"Make it as docs/sql.md says (Roles), or leave the variable empty: then the owner's login is used."
                )

    def _make_pools(self) -> None:
        self._progress.stage("making pools where they are missing")
        engine = make_engine(database_url(self._airflow))
        try:
            with transaction(engine) as connection:
                missing = missing_pools(connection)
        finally:
            engine.dispose()
        if missing:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "pools.json"
                path.write_text(json.dumps(missing), encoding="utf-8")
                self._run("pools", "import", str(path))

    def _make_user(self) -> None:
        password = self._environment.get(ADMIN_PASSWORD, "")
        if not password:
            return
        name = self._environment.get(ADMIN_NAME) or ADMIN
        self._progress.stage(f"making the user {name} if there is none")
        words = ("--username", name, "--role", "Admin", "--email", f"{name}@localhost")
        # The password goes by standard input, asked for twice: everybody may read the words of a command.
        self._run("users", "create", *words, "--firstname", name, "--lastname", "OTN", said=f"{password}\n{password}\n")

    def _run(self, *words: str, said: str = "") -> None:
        try:
            code = subprocess.run(  # noqa: S603 - our own words
                airflow_command(*words),
                check=False,
                input=said.encode(),
                env=self._environment,
                timeout=_AIRFLOW_S,
                start_new_session=True,  # without a terminal Airflow reads a password from standard input
            ).returncode
        except subprocess.TimeoutExpired:
            code = None
        if code != 0:
            ended = f"took longer than {_AIRFLOW_S} s" if code is None else "failed"
            raise PreparationError(f"airflow {words[0]} {words[1]} {ended}. Its reason stands above; then start again.")


def responder_speaks(environment: Mapping[str, str]) -> bool:
    """Whether a responder of this machine has spoken with the database within a minute.

    Raises:
        ConfigurationError: the database's connection is missing.
    """
    url = database_url(read_database_connection(SENDER.connection_id, environment))
    engine = make_engine(url, application_name="otn health")
    try:
        with transaction(engine) as connection:
            return bool(queries("deployment").responder_speaks(connection, seconds=QUIET_S))
    except DatabaseAwayError:
        return False
    finally:
        engine.dispose()


def _complete(connection: Connection, name: str) -> Connection:
    if not (connection.host and connection.login and connection.schema):
        raise ConfigurationError(f"{name} lacks a host, a login or a database. Correct the variable.")
    return connection


def _reason(error: psycopg2.OperationalError) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
