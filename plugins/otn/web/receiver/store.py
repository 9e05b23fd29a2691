"""One INSERT per webhook, inside the time that the platform waits for an answer."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, date, datetime
from typing import Any

import structlog
from sqlalchemy import event
from sqlalchemy.exc import SQLAlchemyError

from otn.crypto import Keyring
from otn.database import DatabaseAwayError, DatabaseError, Engine, make_engine, queries, transaction

WRITERS = 8  # database connections that store, and the threads that use them
STATEMENT_SECONDS = 3  # the platform waits 5 s for its 200 (Meta docs, Messenger webhooks)
_log = structlog.get_logger("otn.receiver")


def receiver_engine(url: str) -> Engine:
    """An engine whose every wait ends before the platform's patience does.

    Args:
        url: ``postgresql+psycopg2://…``.
    """
    engine = make_engine(url, pool_size=WRITERS + 1, application_name="otn receiver")
    event.listen(engine, "do_connect", _limit_waits)
    return engine


def _limit_waits(_dialect: object, _record: object, _arguments: object, parameters: dict[str, Any]) -> None:
    milliseconds = STATEMENT_SECONDS * 1000
    parameters["connect_timeout"] = STATEMENT_SECONDS
    parameters["tcp_user_timeout"] = milliseconds  # a server that vanished without a word
    # A 200 promises that the event survives a power cut, whatever the server's default is.
    parameters["options"] = f"-c timezone=UTC -c synchronous_commit=on -c statement_timeout={milliseconds}"


class Store:
    """Where webhooks are kept until ingest reads them.

    Args:
        engine: made by ``receiver_engine``.
        keyring: encrypts the bodies.
    """

    def __init__(self, engine: Engine, keyring: Keyring) -> None:
        self._engine = engine
        self._keyring = keyring

    def keep(self, body: bytes) -> bool:
        """Store a body; True only after its transaction was committed.

        Day and id are given once. Where the connection broke before the answer came, the same row is offered
        again: if it had been committed, the second INSERT finds it.
        """
        started = time.monotonic()
        day, receipt = datetime.now(UTC).date(), uuid.uuid4()
        sealed = self._keyring.encrypt(body, "webhook")
        try:
            try:
                self._insert(day, receipt, sealed)
            except DatabaseAwayError:
                if time.monotonic() - started > STATEMENT_SECONDS / 3:
                    raise
                self._insert(day, receipt, sealed)
        except (DatabaseError, SQLAlchemyError) as error:
            _log.error("not stored", error=type(error).__name__, sqlstate=getattr(error, "sqlstate", None))
            return False
        return True

    def _insert(self, day: date, receipt: uuid.UUID, sealed: bytes) -> None:
        with transaction(self._engine) as connection:
            queries("receiver").store_webhook(connection, received_day=day, id=str(receipt), body=sealed)

    def ready(self) -> bool:
        """Whether the database answers and would take a webhook."""
        try:
            with transaction(self._engine) as connection:
                return bool(queries("receiver").can_store(connection))
        except (DatabaseError, SQLAlchemyError) as error:
            _log.warning("not ready", error=type(error).__name__, sqlstate=getattr(error, "sqlstate", None))
            return False
