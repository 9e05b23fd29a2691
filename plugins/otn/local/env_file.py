"""The ``.env`` of ``docker-compose.yaml``: fresh secrets, a place for the pages; what is there is never changed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from otn.errors import ConfigurationError
from otn.local.dotenv import read_dotenv
from otn.local.files import write_private
from otn.local.home import Home, new_secrets

# The names differ from those that our programs read: `./otn up` reads this file too, and a home keeps its own keys.
_NAMES = {
    "DEPLOY_ENCRYPTION_KEYS": "OTN_ENCRYPTION_KEYS",
    "DEPLOY_HASH_KEY": "OTN_HASH_KEY",
    "DEPLOY_FERNET_KEY": "AIRFLOW__CORE__FERNET_KEY",
    "DEPLOY_JWT_SECRET": "AIRFLOW__API_AUTH__JWT_SECRET",
    "DEPLOY_API_SECRET_KEY": "AIRFLOW__API__SECRET_KEY",
    "DEPLOY_POSTGRES_PASSWORD": "OTN_POSTGRES_PASSWORD",
    "DEPLOY_OTN_DB_PASSWORD": "OTN_POSTGRES_OTN_PASSWORD",
    "DEPLOY_SENDER_DB_PASSWORD": "OTN_POSTGRES_SENDER_PASSWORD",
    "DEPLOY_RECEIVER_DB_PASSWORD": "OTN_POSTGRES_RECEIVER_PASSWORD",
    "DEPLOY_AIRFLOW_DB_PASSWORD": "OTN_POSTGRES_AIRFLOW_PASSWORD",
}
_OF_THE_DATA = ("DEPLOY_ENCRYPTION_KEYS", "DEPLOY_HASH_KEY")
_HEAD = """\
# Secrets and connections of one deployment, read by docker-compose.yaml. Made by `./otn deploy env`, which adds
# what is missing and changes nothing.
"""
_KEYS = """\
# BACK THESE TWO UP, apart from the database: without them the stored opt-ins cannot be read any more. To rotate, put a
# new key in front: 'new,old'. Never change the hash key.
"""
_PASSWORDS = """\
# Shared by all parts of Airflow, and passwords. Those of databases and Redis are set when `init` runs.
"""
_PAGES = """\
# One line a page. `init` registers messenger_default; others by `docker compose run --rm cli pages add CONN`.
# AIRFLOW_CONN_MESSENGER_DEFAULT='{"conn_type": "messenger", "login": "<page id>", "password": "<page access token>", \
"extra": {"app_secret": "<app secret>", "verify_token": "<your word>"}}'
"""
_CHOICES = """\
# Choices, with what holds without them. Any other OTN_… setting may stand here too.
# OTN_PUBLIC_URL='https://otn.example.com'
# DEPLOY_AIRFLOW_URL='http://localhost:8080'
# DEPLOY_AIRFLOW_ADDRESS='127.0.0.1'
# DEPLOY_AIRFLOW_PORT='8080'
# DEPLOY_RECEIVER_ADDRESS='127.0.0.1'
# DEPLOY_RECEIVER_PORT='8081'
# DEPLOY_ADMIN='admin'
# DEPLOY_IMAGE='otn:0.1.0'
# DEPLOY_BASE_IMAGE='apache/airflow:slim-3.3.2-python3.12'
# A Postgres of your own (docs/deployment.md): empty COMPOSE_PROFILES and DEPLOY_POSTGRES_PASSWORD, and set these.
# DEPLOY_OTN_DB='postgres://otn:<password>@<host>:5432/otn?sslmode=require'
# DEPLOY_SENDER_DB='postgres://otn_login_sender:<password>@<host>:5432/otn?sslmode=require'
# DEPLOY_RECEIVER_DB='postgres://otn_login_receiver:<password>@<host>:5432/otn?sslmode=require'
# DEPLOY_AIRFLOW_DB='postgres://airflow:<password>@<host>:5432/airflow?sslmode=require'
# DEPLOY_AIRFLOW_DB_URL='postgresql+psycopg2://airflow:<password>@<host>:5432/airflow?sslmode=require'
"""


@dataclass(frozen=True)
class Written:
    """What became of the file.

    Args:
        added: names of variables that were added.
        kept_aside: where the file lies that stood there before; None where there was none, or it was added to.
    """

    added: tuple[str, ...]
    kept_aside: Path | None = None


def write_env(path: Path, *, anew: bool = False, keys_of: Home | None = None) -> Written:
    """Make the file, or add to it what is missing. Its mode is 0600 afterwards.

    Args:
        path: the file.
        anew: begin with fresh secrets; the old file is kept beside it.
        keys_of: a home whose data will be moved here: its two keys are taken over.

    Raises:
        ConfigurationError: it cannot be read or written, the home has no keys, or the file has others.
    """
    path = path.resolve()
    try:
        aside = _put_aside(path) if anew and path.exists() else None
        given, wanted = read_dotenv(path), _values(keys_of)
        if keys_of is not None and any(given.get(name, wanted[name]) != wanted[name] for name in _OF_THE_DATA):
            raise ConfigurationError(f"{path} has other keys than {keys_of.path}. Name another --file, or add --force.")
        values = {name: value for name, value in wanted.items() if name not in given}
        old = path.read_text(encoding="utf-8-sig") if given or path.exists() else ""
        if values:
            write_private(path, _text(values, old))
        elif path.exists():
            path.chmod(0o600)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written ({error.strerror}). Give another file by --file.") from None
    return Written(tuple(values), aside)


def _values(keys_of: Home | None) -> dict[str, str]:
    fresh = new_secrets()
    values = {
        "COMPOSE_PROFILES": "database",
        **{name: fresh[source] for name, source in _NAMES.items()},
        "DEPLOY_REDIS_PASSWORD": new_secrets()["OTN_POSTGRES_PASSWORD"],
        "DEPLOY_ADMIN_PASSWORD": new_secrets()["OTN_POSTGRES_PASSWORD"],
    }
    if keys_of is not None:
        values |= _keys(keys_of.secrets(), keys_of)
    return values


def _keys(found: Mapping[str, str], home: Home) -> dict[str, str]:
    keys = {name: found.get(_NAMES[name], "") for name in _OF_THE_DATA}
    if not all(keys.values()):
        raise ConfigurationError(f"{home.secrets_file} holds no keys. Name the home that has them.")
    return keys


def _text(values: Mapping[str, str], old: str) -> str:
    lines = {name: f"{name}='{value}'\n" for name, value in values.items()}  # single quotes: Compose replaces nothing
    profile = lines.pop("COMPOSE_PROFILES", "")
    keys = "".join(lines.pop(name) for name in _OF_THE_DATA if name in lines)
    parts = [
        *((old.rstrip("\n") + "\n",) if old.strip() else ()),
        _HEAD + profile,
        _KEYS + keys if keys else "",
        _PASSWORDS + "".join(lines.values()) if lines else "",
        _PAGES if "AIRFLOW_CONN_MESSENGER" not in old else "",
        _CHOICES if "DEPLOY_AIRFLOW_PORT" not in old else "",
    ]
    return "\n".join(part for part in parts if part)


def _put_aside(path: Path) -> Path:
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    aside = path.with_name(f"{path.name}.{moment}.old")
    os.link(path, aside)  # refuses what is there; the old file never lacks a name
    path.unlink()
    aside.chmod(0o600)
    return aside
