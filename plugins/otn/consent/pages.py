"""Pages: which connection speaks for which Facebook page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from otn.database import PsycopgConnection, queries
from otn.errors import UsageError
from otn.settings import PageSettings

MOST_NAMED = 5  # pages in an error text


@dataclass(frozen=True)
class Page:
    """A registered page.

    Args:
        id: our number of it.
        page_id: Facebook's id.
        connection_id: the Airflow connection that holds its credentials.
        name: for people; None when nobody gave one.
        halted_at: set while nothing may be sent for the page.
        halt_reason: why.
    """

    id: int
    page_id: str
    connection_id: str
    name: str | None = None
    halted_at: datetime | None = None
    halt_reason: str | None = None

    @property
    def halted(self) -> bool:
        """Whether nothing may be sent for the page."""
        return self.halted_at is not None


class PageConflictError(UsageError):
    """This page or this connection is registered otherwise. Look at the registered pages."""


class UnknownPageError(UsageError):
    """There is no such page. Register it by `./otn pages add CONN`."""


def register(conn: PsycopgConnection, settings: PageSettings, name: str | None = None) -> Page:
    """Register a page, or give a registered one another name; the same twice is one page.

    Args:
        conn: a connection in a transaction.
        settings: what the page's connection says.
        name: for people; None leaves the name as it is.

    Raises:
        PageConflictError: the connection has stood for another page, or the page has another connection.
    """
    wanted = {"page_id": settings.page_id, "connection_id": settings.connection_id}
    queries("page").insert_page(conn, name=name, **wanted)
    for row in queries("page").pages_like(conn, **wanted):
        if row.page_id != settings.page_id:
            raise PageConflictError(
                f"The connection {settings.connection_id!r} is registered for page {row.page_id}, but its login names"
                f" page {settings.page_id}. Correct the login, or give the new page a connection of its own."
            )
        if row.connection_id != settings.connection_id:
            raise PageConflictError(
                f"Page {settings.page_id} is registered with the connection {row.connection_id!r}. Use that connection."
            )
    page = find(conn, settings.connection_id)
    if name is None or name == page.name:
        return page
    queries("page").rename_page(conn, id=page.id, name=name)
    return find(conn, settings.connection_id)


def find(conn: PsycopgConnection, name: str) -> Page:
    """Find a page by its connection or by its Facebook id.

    Args:
        conn: a connection.
        name: connection id or page id.

    Raises:
        UnknownPageError: there is none; the sentence names those that are known.
    """
    row = queries("page").find_page(conn, name=name)
    if row is not None:
        return _page(row)
    pages = listing(conn)
    known = ", ".join(f"{page.connection_id} ({page.page_id})" for page in pages[:MOST_NAMED]) or "none"
    if len(pages) > MOST_NAMED:
        known += f" and {len(pages) - MOST_NAMED} more"
    raise UnknownPageError(
        f"There is no page {name!r}; registered: {known}."
        " Register it by `./otn pages add CONN`, or name a registered one."
    )


def listing(conn: PsycopgConnection) -> list[Page]:
    """All registered pages, oldest first."""
    return [_page(row) for row in queries("page").list_pages(conn)]


def _page(row: Any) -> Page:
    return Page(**row._asdict())
