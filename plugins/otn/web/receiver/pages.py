"""Secrets of the pages whose events are taken."""

from __future__ import annotations

import hmac
import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog
from sqlalchemy.exc import SQLAlchemyError

from otn.database import DatabaseError, queries
from otn.errors import ConfigurationError
from otn.settings import DEFAULT_PAGE_CONNECTION, Connection, ConnectionMissingError, read_connection
from otn.web.receiver.line import Line

REFRESH_SECONDS = 10.0
_CONNECTION = "AIRFLOW_CONN_"
_log = structlog.get_logger("otn.receiver")


class NoSecretError(ConfigurationError):
    """No page has an app secret, so a forged webhook could not be told from a real one. Put app_secret into the extra
    of AIRFLOW_CONN_MESSENGER_DEFAULT (or of a page registered by `./otn pages add`) and start the receiver again.
    """  # noqa: D205 - the docstring is the message

    def __init__(self) -> None:
        super().__init__(" ".join(str(type(self).__doc__).split()))


class PagesUnreadableError(ConfigurationError):
    """The registered pages cannot be read. Start the database, run `./otn migrate`, then start the receiver again."""


class DatabaseGoneError(PagesUnreadableError):
    """The registered pages cannot be read, and no page is defined here. Start the database, or set
    AIRFLOW_CONN_MESSENGER_DEFAULT with its app_secret, then start the receiver again.
    """  # noqa: D205 - the docstring is the message

    def __init__(self) -> None:
        super().__init__(" ".join(str(type(self).__doc__).split()))


@dataclass(frozen=True)
class PageSecrets:
    """What tells the platform from everybody else.

    Args:
        app_secrets: distinct; each may have signed a webhook.
        verify_tokens: distinct; each may open the handshake.
    """

    app_secrets: tuple[str, ...] = field(repr=False)
    verify_tokens: tuple[str, ...] = field(default=(), repr=False)

    def knows_token(self, token: str) -> bool:
        """Whether a handshake's token is one of ours, in a time that tells nothing about which."""
        given = token.encode("utf-8", "surrogatepass")
        matches = [hmac.compare_digest(given, known.encode("utf-8", "surrogatepass")) for known in self.verify_tokens]
        return any(matches)


def read_page_secrets(line: Line, environ: Mapping[str, str] | None = None) -> PageSecrets:
    """Collect the secrets of the registered pages, and of ``messenger_default`` where it is defined.

    A page whose connection is missing or unreadable is left out with a warning: it must not silence the others.

    Args:
        line: to the project's database.
        environ: where connections are defined; the process's own by default.

    Raises:
        NoSecretError: none has an app secret.
        DatabaseGoneError: the database is away.
        PagesUnreadableError: the database does not say which pages there are.
    """
    try:
        rows = line.run(lambda connection: list(queries("receiver").page_connections(connection)))
    except DatabaseError as error:
        raise (DatabaseGoneError if error.passing else PagesUnreadableError) from error
    except SQLAlchemyError as error:
        raise DatabaseGoneError from error
    return _secrets_of([str(row.connection_id) for row in rows], environ)


def defined_page_secrets(environ: Mapping[str, str] | None = None) -> PageSecrets:
    """Collect the secrets of every ``messenger`` connection that is defined, registered or not.

    For a start while the database is away: what a page signs that nobody has registered, ingest puts into quarantine.

    Args:
        environ: where connections are defined; the process's own by default.

    Raises:
        NoSecretError: none has an app secret.
    """
    values = os.environ if environ is None else environ
    defined = [name.removeprefix(_CONNECTION).lower() for name in values if name.startswith(_CONNECTION)]
    return _secrets_of([name for name in defined if _is_page(name, environ)], environ)


def _is_page(connection_id: str, environ: Mapping[str, str] | None) -> bool:
    try:
        return read_connection(connection_id, environ).conn_type == "messenger"
    except ConfigurationError:
        return False


def _secrets_of(connection_ids: Iterable[str], environ: Mapping[str, str] | None) -> PageSecrets:
    connections = list(_connections(list(connection_ids), environ))
    app_secrets = _distinct(connections, "app_secret")
    if not app_secrets:
        raise NoSecretError
    return PageSecrets(app_secrets, _distinct(connections, "verify_token"))


def _connections(registered: Sequence[str], environ: Mapping[str, str] | None) -> Iterable[Connection]:
    for connection_id in dict.fromkeys([*registered, DEFAULT_PAGE_CONNECTION]):
        try:
            connection = read_connection(connection_id, environ)
        except ConnectionMissingError:
            if connection_id in registered:
                _log.warning("page without connection", connection=connection_id)
            continue
        except ConfigurationError:
            _log.warning("connection cannot be read", connection=connection_id)
            continue
        if not connection.extra.get("app_secret"):
            _log.warning("connection without app_secret", connection=connection_id)
        yield connection


def _distinct(connections: Iterable[Connection], name: str) -> tuple[str, ...]:
    values = (connection.extra.get(name) for connection in connections)
    return tuple(dict.fromkeys(str(value) for value in values if value))


class Registry:
    """The secrets in use; read again, at most every few seconds, when a sender is not recognised.

    So a page registered while the receiver runs is taken without a restart, and a flood of forgeries costs
    one small query now and then.

    Args:
        line: to the project's database; used by one thread at a time.
        environ: where connections are defined; the process's own by default.
        refresh_seconds: pause between two readings.

    Raises:
        NoSecretError: no page has an app secret.
        PagesUnreadableError: the database does not say which pages there are.
    """

    def __init__(
        self, line: Line, environ: Mapping[str, str] | None = None, refresh_seconds: float = REFRESH_SECONDS
    ) -> None:
        self.line = line
        self._environ = environ
        self._refresh_seconds = refresh_seconds
        self._lock = threading.Lock()
        self.secrets = self._first()
        self._read_at = time.monotonic()

    def _first(self) -> PageSecrets:
        try:
            return read_page_secrets(self.line, self._environ)
        except DatabaseGoneError as gone:
            try:
                secrets = defined_page_secrets(self._environ)
            except NoSecretError:
                raise gone from None
            _log.error("the registered pages cannot be read; every page that is defined here may sign meanwhile")
            return secrets

    @property
    def due(self) -> bool:
        """Whether enough time has passed to look at the pages again."""
        return time.monotonic() - self._read_at >= self._refresh_seconds

    def refresh(self) -> bool:
        """Read the pages again if that is due; whether anything changed."""
        with self._lock:
            if not self.due:
                return False
            self._read_at = time.monotonic()
            try:
                secrets = read_page_secrets(self.line, self._environ)
            except ConfigurationError:
                return False  # what was known stays known
            changed = secrets != self.secrets
            self.secrets = secrets
            return changed
