"""The consent ledger: who agreed to what, when, asked by which card, and what became of it (``otn.v_consent``)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from otn.database import Engine, queries, transaction
from otn.errors import UsageError

STATES = ("unspent", "reserved", "spent", "expired", "silenced", "erased")
LIST_ROWS = 100
CURSOR_ROWS = 5_000


@dataclass(frozen=True)
class Wanted:
    """Which consents.

    Args:
        page: connection of the page.
        topic: its key.
        subscriber_id: ``otn.subscriber.id``.
        state: one of ``STATES``.
    """

    page: str | None = None
    topic: str | None = None
    subscriber_id: int | None = None
    state: str | None = None

    def __post_init__(self) -> None:
        if self.state is not None and self.state not in STATES:
            raise UsageError(f"There is no state {self.state!r}. Choose one of: {', '.join(STATES)}.")


def listing(engine: Engine, wanted: Wanted, *, after: int = 0, most: int = LIST_ROWS) -> list[dict[str, Any]]:
    """One page of the ledger, in the order in which consents came to us.

    Args:
        engine: the project's database.
        wanted: which of them.
        after: the last number of the page before.
        most: consents.
    """
    with transaction(engine) as connection:
        rows = queries("consent").list_consents(connection, after=after, most=most, **asdict(wanted))
        return [row._asdict() for row in rows]


def count(engine: Engine, wanted: Wanted) -> int:
    """How many an export has; with a state, at most."""
    values = {name: value for name, value in asdict(wanted).items() if name != "state"}
    with transaction(engine) as connection:
        return int(queries("consent").count_consents(connection, **values))


def export(engine: Engine, wanted: Wanted) -> Iterator[dict[str, Any]]:
    """Every consent that is wanted, all from one moment, read in slices so that a million need no memory.

    Args:
        engine: the project's database.
        wanted: which of them.
    """
    statement = queries("consent").export_consents.sql
    with transaction(engine) as connection, connection.cursor("consents") as cursor:
        cursor.itersize = CURSOR_ROWS
        cursor.execute(statement, asdict(wanted))
        rows: Iterator[Any] = iter(cursor)
        for row in rows:
            yield row._asdict()
