"""What is looked at: one installation, as far as it can be reached from here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from otn.cli.examination.check import Check
from otn.cli.examination.facts import Facts
from otn.consent.pages import Page
from otn.database import Engine, PsycopgConnection, transaction
from otn.local.home import Home
from otn.settings import PageSettings

STATEMENT_S = 8


@dataclass
class Case:
    """One installation.

    Args:
        home: its folder on this machine; there need not be one.
        environment: connections, keys and settings.
        stage: told what is looked at.
        engine: its database; None until one is known that answers.
        migrated: whether the database has the tables of this version.
        airflow: what Airflow told; None where none is known from here.
        pages: those that are registered.
        asked: what their connections say, by ``otn.page.id``.
    """

    home: Home
    environment: dict[str, str] = field(repr=False)
    stage: Callable[[str], None]
    engine: Engine | None = None
    migrated: bool = False
    airflow: Facts | None = None
    pages: tuple[Page, ...] = ()
    asked: dict[int, PageSettings] = field(default_factory=dict, repr=False)

    @property
    def local(self) -> bool:
        """Whether `./otn up` has ever run this installation here."""
        return self.home.exists and bool(self.home.state().get("ports"))

    @contextmanager
    def asking(self) -> Iterator[PsycopgConnection]:
        """A transaction in which no statement takes for ever.

        Raises:
            DatabaseError: the database refused, or took too long.
        """
        assert self.engine is not None  # noqa: S101 - whoever needs it is asked only when it is there
        with transaction(self.engine) as connection:
            with connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL statement_timeout = '{STATEMENT_S}s'; SET LOCAL lock_timeout = '3s'")
            yield connection


Look = Callable[[Case], Iterator[Check]]


@dataclass(frozen=True)
class Question:
    """Something to look at.

    Args:
        ids: of the checks that the answer may hold.
        look: answers it.
        needs: ``database``: one that answers; ``schema``: one with the tables of this version. Empty: nothing.
        limit_s: seconds that it may take.
    """

    ids: tuple[str, ...]
    look: Look
    needs: Literal["", "database", "schema"] = ""
    limit_s: float = 12
