"""What the programs of a home, and commands that work on it, find in their environment."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from otn.errors import ConfigurationError
from otn.local import logins, postgres
from otn.local.airflow_settings import TUNABLE, airflow_settings
from otn.local.dotenv import read_dotenv
from otn.local.home import Home
from otn.local.logins import Kind
from otn.local.ports import HOST
from otn.local.processes import HOME_MARK, PROGRAM_MARK
from otn.local.supervision import python_path
from otn.local.users import read_users
from otn.settings import DATABASE_CONNECTION, DEFAULT_PAGE_CONNECTION, ROOT, Connection, read_connection

OTN_DB = f"AIRFLOW_CONN_{DATABASE_CONNECTION.upper()}"
AIRFLOW_DB = "AIRFLOW_CONN_AIRFLOW_DB"
HIDDEN = "***"

_CONNECTION = "AIRFLOW_CONN_"
_DROPPED = ("AIRFLOW_HOME", "AIRFLOW_CONFIG", "PYTHON", "PYTEST_", "VIRTUAL_ENV", "SUPERVISOR_", "__PYVENV", "COV_")
_OF_AIRFLOW = ("AIRFLOW__", "AIRFLOW_HOME")
_KEPT_BY_HOME = ("OTN_POSTGRES_",)  # passwords of roles: the programs get URLs instead
_LOOPBACK = f"localhost,{HOST},::1"
_SHORTEST_SECRET = 5
_SECRET_WORDS = ("SECRET", "PASSWORD", "TOKEN", "KEY", "CONN")


def caller_environment(environ: Mapping[str, str] | None = None, dotenv: Path | None = None) -> dict[str, str]:
    """The environment over ``.env`` at the project's root: connections and settings as the operator gave them.

    Args:
        environ: the environment; the process's own by default.
        dotenv: another file than ``.env``.
    """
    return read_dotenv(dotenv or ROOT / ".env") | dict(os.environ if environ is None else environ)


def program_environment(home: Home, caller: Mapping[str, str], ports: Mapping[str, int]) -> dict[str, str]:
    """The environment of Airflow's and our own programs.

    The caller's connections, keys and settings go before what the home has; what makes the home itself (folders,
    databases, ports) does not.

    Args:
        home: whose.
        caller: from ``caller_environment``.
        ports: ``postgres``, ``api`` and ``receiver``.
    """
    # What the home was made with goes before what the caller has: a demo must never meet a real page or database.
    asked = dict(caller) | home.settings()
    given = {name: value for name, value in asked.items() if value and not name.startswith(_DROPPED)}
    secrets = home.secrets()
    keys = {name: value for name, value in secrets.items() if not name.startswith(_KEPT_BY_HOME)}
    airflow_keys = {name: keys.pop(name) for name in list(keys) if name.startswith("AIRFLOW__")}
    databases = {
        **_otn_connections(ports["postgres"], secrets, given),
        # otn_purge cleans Airflow's own tables by it: a task process is not told Airflow's address otherwise.
        AIRFLOW_DB: _connection(
            ports["postgres"],
            postgres.AIRFLOW_DATABASE,
            postgres.AIRFLOW_ROLE,
            secrets["OTN_POSTGRES_AIRFLOW_PASSWORD"],
        ),
    }
    airflow_url = postgres.database_url(
        ports["postgres"],
        postgres.AIRFLOW_DATABASE,
        postgres.AIRFLOW_ROLE,
        secrets["OTN_POSTGRES_AIRFLOW_PASSWORD"],
    )
    fixed = airflow_settings(home, api_port=ports["api"], database_url=airflow_url, users=read_users(asked))
    own = {
        "OTN_HOME": str(home.path),
        "OTN_RECEIVER_HOST": HOST,
        "OTN_RECEIVER_PORT": str(ports["receiver"]),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), caller.get("PATH", os.defpath)]),
        "PYTHONPATH": python_path(),
        "PYTHONUNBUFFERED": "1",
        # Airflow's processes write their titles over their environment, and would lose the home's mark.
        "SPT_NOENV": "1",
        # Airflow's parts talk to each other over HTTP: never by a proxy.
        "NO_PROXY": _with_loopback(caller.get("NO_PROXY", "")),
        "no_proxy": _with_loopback(caller.get("no_proxy", "")),
    }
    # An operator may give these another disk; each installation needs its own.
    files = {"OTN_SPOOL_DIR": str(home.path / "spool"), "OTN_ERASURE_JOURNAL": str(home.path / "erasures.jsonl")}
    result = TUNABLE | databases | keys | files | given | airflow_keys | fixed | own
    result.pop(HOME_MARK, None)
    result.pop(PROGRAM_MARK, None)
    return result


def _otn_connections(port: int, secrets: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Connections to the project's database: the owner's, and that of each login. Of another database: none of ours."""
    if given.get(OTN_DB):
        return {}
    who = {OTN_DB: (postgres.OTN_ROLE, "OTN_POSTGRES_OTN_PASSWORD")}
    # A home that an older version has made gets its logins when it is started.
    who |= {kind.variable: (kind.login, kind.secret) for kind in logins.KINDS if secrets.get(kind.secret)}
    return {
        variable: _connection(port, postgres.OTN_DATABASE, login, secrets[secret])
        for variable, (login, secret) in who.items()
    }


def environment_of(kind: Kind, environment: Mapping[str, str]) -> dict[str, str]:
    """What a program that faces strangers finds: its own way into the database, and nothing of Airflow's.

    Args:
        kind: of the program.
        environment: of all.
    """
    hidden = {AIRFLOW_DB, *(one.variable for one in logins.KINDS if one != kind)}
    if environment.get(kind.variable):
        hidden.add(OTN_DB)
    return {
        name: value for name, value in environment.items() if name not in hidden and not name.startswith(_OF_AIRFLOW)
    }


def home_environment(home: Home, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment in which a command works on a home that was started before.

    Args:
        home: whose.
        environ: the caller's environment; the process's own by default.

    Raises:
        ConfigurationError: the home was never started.
    """
    ports = home.state().get("ports")
    if not home.exists or not ports:
        raise ConfigurationError(f"There is no system at {home.path}. Start it with ./otn up, or give --home.")
    return program_environment(home, caller_environment(environ), ports)


def can_receive(environment: Mapping[str, str]) -> bool:
    """Whether some page has the secrets that its webhooks are checked with: without, the receiver does not start."""
    return any(
        all(page.extra.get(key) for key in ("app_secret", "verify_token")) for page in _page_connections(environment)
    )


def can_send(environment: Mapping[str, str]) -> bool:
    """Whether some page has what a message is sent with: without, the responder has nobody to speak for."""
    return any(page.login and page.password for page in _page_connections(environment))


def _page_connections(environment: Mapping[str, str]) -> Iterator[Connection]:
    names = [name.removeprefix(_CONNECTION).lower() for name in environment if name.startswith(_CONNECTION)]
    for name in names:
        try:
            connection = read_connection(name, environment)
        except ConfigurationError:
            if name == DEFAULT_PAGE_CONNECTION:
                raise
            continue  # somebody else's connection, written in a way that only Airflow knows
        if connection.conn_type == "messenger" or name == DEFAULT_PAGE_CONNECTION:
            yield connection


def without_secrets(text: str, environment: Mapping[str, str], more: Iterable[str] = ()) -> str:
    """The same text with every secret of the environment made unreadable."""
    found = {*more}
    for name, value in environment.items():
        if name.startswith(_CONNECTION):
            found |= _connection_secrets(name, environment)
        if any(word in name for word in _SECRET_WORDS):
            found |= {value, *value.split(",")}
    for secret in sorted(found, key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, HIDDEN)
    return text


def _connection_secrets(name: str, environment: Mapping[str, str]) -> set[str]:
    try:
        connection = read_connection(name.removeprefix(_CONNECTION), environment)
    except ConfigurationError:
        return set()
    texts = [connection.password, *connection.extra.values()]
    return {text for text in texts if isinstance(text, str) and not text.startswith(("http:", "https:"))}


def _connection(port: int, database: str, role: str, password: str) -> str:
    return json.dumps(
        {
            "conn_type": "postgres",
            "host": HOST,
            "port": port,
            "login": role,
            "password": password,
            "schema": database,
        }
    )


def _with_loopback(hosts: str) -> str:
    return ",".join(filter(None, [hosts, _LOOPBACK]))
