"""What the environment says: connections, keys and folders, read in one place."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from otn.errors import ConfigurationError

ROOT = Path(__file__).resolve().parents[2]
DATABASE_CONNECTION = "otn_db"  # the owner of the tables: migrate, otn_purge, the commands
SENDER_CONNECTION = "otn_db_sender"  # tasks and responder
RECEIVER_CONNECTION = "otn_db_receiver"
DEFAULT_PAGE_CONNECTION = "messenger_default"
DEFAULT_GRAPH_URL = "https://graph.facebook.com"
DEFAULT_API_VERSION = "v25.0"
DEFAULT_MESSAGES_PER_SECOND = 30.0
DEFAULT_MEDIA_PER_SECOND = 10.0  # Meta docs, Messenger rate limiting: audio and video
DEFAULT_ANSWERS_SHARE = 0.1
MOST_ANSWERS_SHARE = 0.5
DEFAULT_CALLS_PER_PERSON = 200.0  # Meta docs, Messenger rate limiting: in 24 hours
DEFAULT_SPOOL_BYTES = 1 << 30
SMALLEST_SPOOL_BYTES = 16_000_000


class ConnectionMissingError(ConfigurationError):
    """A connection is not defined. Set AIRFLOW_CONN_<ID> to its JSON or create it in Airflow."""


@dataclass(frozen=True)
class Connection:
    """One Airflow connection, whichever way it was written down.

    Args:
        connection_id: its id, such as ``messenger_default``.
        conn_type: ``postgres`` or ``messenger``.
        host: host, or the Graph base URL of a page.
        port: port, if any.
        login: user, or the page id.
        password: secret; never shown.
        schema: database name.
        extra: further settings; may hold secrets and is never shown.
    """

    connection_id: str
    conn_type: str = ""
    host: str | None = None
    port: int | None = None
    login: str | None = None
    password: str | None = field(default=None, repr=False)
    schema: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class PageSettings:
    """What a page's connection says.

    Args:
        connection_id: the Airflow connection.
        base_url: Graph base URL, without a trailing slash.
        page_id: Facebook's id of the page.
        access_token: page access token.
        app_secret: signs webhooks and proves calls; None when not given.
        verify_token: answers the webhook handshake; None when not given.
        api_version: such as ``v25.0``.
        messages_per_second: the page's pace; None switches the pace off.
        media_per_second: of messages with audio or video; None: as for any other.
        calls_per_person: calls that the platform allows in 24 hours for each person whom the page can message; None:
            not counted.
        answers_share: part of the page's pace that campaigns leave to answers, 0 to 0.5.
        batch_size: messages in one Graph call at most; None lets the pace decide.
    """

    connection_id: str
    base_url: str
    page_id: str
    access_token: str = field(repr=False)
    app_secret: str | None = field(default=None, repr=False)
    verify_token: str | None = field(default=None, repr=False)
    api_version: str = DEFAULT_API_VERSION
    messages_per_second: float | None = DEFAULT_MESSAGES_PER_SECOND
    media_per_second: float | None = DEFAULT_MEDIA_PER_SECOND
    calls_per_person: float | None = None
    answers_share: float = DEFAULT_ANSWERS_SHARE
    batch_size: int | None = None


def read_connection(connection_id: str, environ: Mapping[str, str] | None = None) -> Connection:
    """Read a connection from ``AIRFLOW_CONN_<ID>``, as JSON or as a URI.

    Args:
        connection_id: the id; its upper-case form names the variable.
        environ: the environment; the process's own by default.

    Raises:
        ConnectionMissingError: the variable is not set.
        ConfigurationError: it is set to something that cannot be read.
    """
    values = os.environ if environ is None else environ
    name = f"AIRFLOW_CONN_{connection_id.upper()}"
    text = values.get(name, "").strip()
    if not text:
        raise ConnectionMissingError(
            f"The connection {connection_id!r} is not defined. Set {name} to its JSON, or create it in Airflow."
        )
    try:
        return _from_json(connection_id, text) if text.startswith("{") else _from_uri(connection_id, text)
    except (ValueError, TypeError, AttributeError) as error:
        # The text holds secrets: neither it nor the parser's message (which quotes it) may be shown.
        raise ConfigurationError(
            f"{name} cannot be read as JSON or as a URI ({type(error).__name__}). Correct the variable."
        ) from None


def read_database_connection(connection_id: str, environ: Mapping[str, str] | None = None) -> Connection:
    """Read the database's connection for one kind of work; ``otn_db`` where that kind has none of its own.

    Args:
        connection_id: ``otn_db_sender`` or ``otn_db_receiver``.
        environ: the environment; the process's own by default.

    Raises:
        ConnectionMissingError: neither is set.
        ConfigurationError: it is set to something that cannot be read.
    """
    try:
        return read_connection(connection_id, environ)
    except ConnectionMissingError:
        return read_connection(DATABASE_CONNECTION, environ)


def _from_json(connection_id: str, text: str) -> Connection:
    data = json.loads(text)
    extra = data.get("extra") or {}
    if isinstance(extra, str):
        extra = json.loads(extra)
    port = data.get("port")
    return Connection(
        connection_id=connection_id,
        conn_type=str(data.get("conn_type") or ""),
        host=data.get("host"),
        port=int(port) if port not in (None, "") else None,
        login=data.get("login"),
        password=data.get("password"),
        schema=data.get("schema"),
        extra=dict(extra),
    )


def _from_uri(connection_id: str, text: str) -> Connection:
    parts = urlsplit(text)
    extra = dict(parse_qsl(parts.query))
    return Connection(
        connection_id=connection_id,
        conn_type=parts.scheme,
        host=unquote(parts.hostname) if parts.hostname else None,
        port=parts.port,
        login=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        schema=unquote(parts.path.lstrip("/")) or None,
        extra=extra,
    )


def page_settings(connection: Connection) -> PageSettings:
    """Turn a ``messenger`` connection into what the client and the receiver need.

    Raises:
        ConfigurationError: the page id or the access token is missing, or a figure cannot be read.
    """
    name = connection.connection_id
    if not connection.login or not connection.password:
        missing = "login (the page id)" if not connection.login else "password (the page access token)"
        raise ConfigurationError(f"The connection {name!r} has no {missing}. Add it to the connection.")
    extra = connection.extra
    return PageSettings(
        connection_id=name,
        base_url=_base_url(connection),
        page_id=str(connection.login),
        access_token=str(connection.password),
        app_secret=extra.get("app_secret") or None,
        verify_token=extra.get("verify_token") or None,
        api_version=str(extra.get("api_version") or DEFAULT_API_VERSION),
        messages_per_second=_pace(name, extra, "messages_per_second", DEFAULT_MESSAGES_PER_SECOND),
        media_per_second=_pace(name, extra, "media_per_second", DEFAULT_MEDIA_PER_SECOND),
        calls_per_person=_pace(name, extra, "calls_per_person", _calls_per_person(connection)),
        answers_share=_answers_share(name, extra.get("answers_share")),
        batch_size=_batch_size(name, extra.get("batch_size")),
    )


def _base_url(connection: Connection) -> str:
    host = connection.host or DEFAULT_GRAPH_URL
    url = host if "://" in host else f"https://{host}"
    if connection.port:
        url = f"{url.rstrip('/')}:{connection.port}"
    return url.rstrip("/")


def _calls_per_person(connection: Connection) -> float | None:
    """A stand-in has no quota of Meta's."""
    return DEFAULT_CALLS_PER_PERSON if _base_url(connection) == DEFAULT_GRAPH_URL else None


def _pace(name: str, extra: Mapping[str, object], key: str, default: float | None) -> float | None:
    value = extra.get(key)
    if value in (None, "", "auto"):
        return default
    try:
        pace = float(str(value))
    except ValueError:
        pace = -1.0
    if not 0 <= pace <= 1_000_000:  # also false for NaN
        raise ConfigurationError(f"{key} of the connection {name!r} is {value!r}. Give a number; 0 switches it off.")
    return pace or None


def _answers_share(name: str, value: object) -> float:
    if value in (None, "", "auto"):
        return DEFAULT_ANSWERS_SHARE
    try:
        share = float(str(value))
    except ValueError:
        share = -1.0
    if not 0 <= share <= MOST_ANSWERS_SHARE:  # also false for NaN
        raise ConfigurationError(
            f"answers_share of the connection {name!r} is {value!r}. Give a part of 1 from 0 to {MOST_ANSWERS_SHARE}; "
            "with 0 answers wait behind a campaign."
        )
    return share


def _batch_size(name: str, value: object) -> int | None:
    if value in (None, "", "auto"):
        return None
    text = str(value)
    if not text.isdecimal() or not 1 <= int(text) <= 50:
        raise ConfigurationError(
            f"batch_size of the connection {name!r} is {value!r}. Give 1 to 50 (Graph's limit), or 'auto'."
        )
    return int(text)


def database_url(connection: Connection) -> str:
    """SQLAlchemy URL of a Postgres connection, the driver always named.

    A host that is a folder is taken as a unix socket.
    """
    from sqlalchemy import URL  # heavy, and most that read settings never open a database

    host = connection.host or "localhost"
    options = {k: str(v) for k, v in connection.extra.items() if k in {"sslmode", "sslrootcert", "application_name"}}
    folder = host.startswith("/")
    if folder:
        options |= {"host": host} | ({"port": str(connection.port)} if connection.port else {})
    return URL.create(
        "postgresql+psycopg2",
        username=connection.login or "postgres",
        password=connection.password,
        host=None if folder else host,
        port=None if folder else connection.port or 5432,
        database=connection.schema or "otn",
        query=options,
    ).render_as_string(hide_password=False)


def sql_folder() -> Path:
    """Folder of migrations and queries: ``OTN_SQL_DIR``, or ``sql/`` beside ``plugins/``."""
    return Path(os.environ.get("OTN_SQL_DIR") or ROOT / "sql")


def campaigns_folder(environ: Mapping[str, str] | None = None) -> Path:
    """Folder of the campaign files: ``OTN_CAMPAIGNS_DIR``, below the root unless absolute, or ``campaigns/``."""
    values = os.environ if environ is None else environ
    return ROOT / Path(values.get("OTN_CAMPAIGNS_DIR") or "campaigns").expanduser()


def choices_file(environ: Mapping[str, str] | None = None) -> Path | None:
    """File of what the trigger forms propose, in ``OTN_CHOICES_DIR`` (default: ``choices`` in the home).

    Returns:
        None where neither is known: then nothing is proposed.
    """
    values = os.environ if environ is None else environ
    home = values.get("OTN_HOME")
    folder = values.get("OTN_CHOICES_DIR") or (Path(home) / "choices" if home else None)
    return Path(folder).expanduser() / "choices.json" if folder else None


@dataclass(frozen=True)
class SpoolSettings:
    """Where webhooks wait while Postgres is away.

    Args:
        folder: shared by the receivers of one installation, and by nobody else.
        bytes: bound of all that waits in it.
    """

    folder: Path
    bytes: int


def read_spool_settings(environ: Mapping[str, str] | None = None) -> SpoolSettings:
    """Read ``OTN_SPOOL_DIR`` (default: ``spool`` in the home) and ``OTN_SPOOL_BYTES`` (default: 1 GiB).

    Raises:
        ConfigurationError: the bound is no number, or too small for a few large webhooks.
    """
    values = os.environ if environ is None else environ
    home = Path(values.get("OTN_HOME") or ROOT / ".otn").expanduser()
    text = values.get("OTN_SPOOL_BYTES", "").strip() or str(DEFAULT_SPOOL_BYTES)
    if not (text.isascii() and text.isdecimal()) or int(text) < SMALLEST_SPOOL_BYTES:
        raise ConfigurationError(f"OTN_SPOOL_BYTES is {text!r}. Give at least {SMALLEST_SPOOL_BYTES} (bytes).")
    return SpoolSettings(Path(values.get("OTN_SPOOL_DIR") or home / "spool").expanduser(), int(text))


def read_public_url(environ: Mapping[str, str] | None = None) -> str | None:
    """Read ``OTN_PUBLIC_URL``: the address under which the world reaches the receiver; None where it is not set.

    Raises:
        ConfigurationError: it is no http(s) address.
    """
    values = os.environ if environ is None else environ
    text = values.get("OTN_PUBLIC_URL", "").strip().rstrip("/")
    if not text:
        return None
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.query or parts.fragment:
        raise ConfigurationError(f"OTN_PUBLIC_URL is {text!r}. Give an address such as https://example.org.")
    return text
