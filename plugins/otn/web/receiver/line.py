"""One connection to Postgres that can be cut from outside: nobody waits for a server that hangs."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import psycopg2.extensions
from sqlalchemy import event

from otn.database import PsycopgConnection, make_engine, transaction

STATEMENT_SECONDS = 3  # the platform waits 5 s for its 200 (Meta docs, Messenger webhooks)
Result = TypeVar("Result")


class Line:
    """A connection that is opened when needed, kept, and opened anew when it broke. For one thread.

    Args:
        url: ``postgresql+psycopg2://…``.
    """

    def __init__(self, url: str) -> None:
        self.engine = make_engine(url, pool_size=1, application_name="otn receiver")
        self._socket: socket.socket | None = None
        event.listen(self.engine, "do_connect", _limit_waits)
        event.listen(self.engine, "connect", self._connected)

    def _connected(self, driver: psycopg2.extensions.connection, _record: object) -> None:
        # A descriptor of our own: that of the driver may be another file by the time we cut.
        before, self._socket = self._socket, socket.socket(fileno=os.dup(driver.fileno()))
        if before is not None:
            before.close()

    def run(self, work: Callable[[PsycopgConnection], Result]) -> Result:
        """Carry out work in a transaction.

        Raises:
            DatabaseError: Postgres refused it.
            DatabaseAwayError: it cannot be reached, or the line was cut; what was committed, nobody knows.
        """
        with transaction(self.engine) as connection:
            return work(connection)

    def cut(self) -> None:
        """End the work that hangs on this line, from any thread; it fails at once."""
        line = self._socket
        if line is not None:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close it, when no work hangs on it."""
        self.engine.dispose()
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _limit_waits(_dialect: object, _record: object, _arguments: object, parameters: dict[str, Any]) -> None:
    milliseconds = STATEMENT_SECONDS * 1000
    parameters["connect_timeout"] = STATEMENT_SECONDS
    parameters["tcp_user_timeout"] = milliseconds  # a server that vanished without a word
    # A 200 promises that the event survives a power cut, whatever the server's default is.
    parameters["options"] = f"-c timezone=UTC -c synchronous_commit=on -c statement_timeout={milliseconds}"
