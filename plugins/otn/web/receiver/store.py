"""Receipts go into Postgres: many in one statement, each in one row however often it is offered."""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from sqlalchemy.exc import SQLAlchemyError

from otn.database import DatabaseError, queries
from otn.web.receiver.line import Line
from otn.web.spool import Receipt

_log = structlog.get_logger("otn.receiver")


class Store:
    """Where webhooks are kept until ingest reads them.

    Args:
        line: to the database.
    """

    def __init__(self, line: Line) -> None:
        self.line = line

    def keep(self, receipts: Sequence[Receipt]) -> int:
        """Store receipts; how many: all of them, and their transaction is committed, or none.

        Those that are stored already stay as they are.
        """
        try:
            self.line.run(
                lambda connection: queries("receiver").store_webhooks(
                    connection,
                    days=[receipt.day for receipt in receipts],
                    ids=[str(receipt.id) for receipt in receipts],
                    ages=[receipt.age_s for receipt in receipts],
                    bodies=[receipt.body for receipt in receipts],
                )
            )
        except (DatabaseError, SQLAlchemyError) as error:
            _log.error("not stored", receipts=len(receipts), **_named(error))
            return 0
        _log.info("stored", receipts=len(receipts), bytes=sum(len(receipt.body) for receipt in receipts))
        return len(receipts)

    def ready(self) -> bool:
        """Whether the database answers and would take a webhook."""
        try:
            return bool(self.line.run(lambda connection: queries("receiver").can_store(connection)))
        except (DatabaseError, SQLAlchemyError) as error:
            _log.warning("not ready", **_named(error))
            return False


def _named(error: Exception) -> dict[str, str | None]:
    return {"error": type(error).__name__, "sqlstate": getattr(error, "sqlstate", None)}
