"""Pages: which connection speaks for which Facebook page."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from otn.database import PsycopgConnection, queries
from otn.errors import UsageError
from otn.settings import PageSettings

MOST_NAMED = 5  # pages in an error text
REASON_LIMIT = 1_000  # characters


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
        halt_held: only a person's ``pages resume`` lifts the halt; triggering a campaign again does not.
        blocked_at: set from the platform's block to its unblock.
    """

    id: int
    page_id: str
    connection_id: str
    name: str | None = None
    halted_at: datetime | None = None
    halt_reason: str | None = None
    halt_held: bool = False
    blocked_at: datetime | None = None

    @property
    def halted(self) -> bool:
        """Whether nothing may be sent for the page."""
        return self.halted_at is not None


class PageConflictError(UsageError):
    """This page or this connection is registered otherwise. Look at the registered pages."""


class UnknownPageError(UsageError):
    """There is no such page. Register it by `./otn pages add CONN`."""


class PageHeldError(UsageError):
    """The page is halted until a person lets it go. Run `./otn pages resume CONN`."""


class PageBlockedError(UsageError):
    """The platform blocked the page and has not unblocked it."""


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


def halt(conn: PsycopgConnection, page: Page, *, reason: str, actor: str) -> None:
    """Stop all sending and asking for a page until a person resumes it; calls under way end.

    Args:
        conn: a connection in a transaction.
        page: which.
        reason: shown to people.
        actor: who.

    Raises:
        UsageError: no reason was given.
    """
    if not reason.strip():
        raise UsageError("A halt needs a reason: whoever finds the page halted must know why. Give --reason TEXT.")
    queries("page").lock_pages(conn, ids=[page.id])
    queries("page").halt_page(conn, id=page.id, reason=reason.strip()[:REASON_LIMIT])
    _audit(conn, page, actor, "page halted", {"reason": reason.strip()[:REASON_LIMIT], "before": page.halt_reason})


def resume(conn: PsycopgConnection, page: Page, *, actor: str, because: str | None = None) -> list[str]:
    """A person agrees that the page may send again; answers the campaigns that wait to be triggered again.

    Args:
        conn: a connection in a transaction.
        page: which.
        actor: who.
        because: why the page may send although the platform has not said that it is unblocked.

    Raises:
        PageBlockedError: it has not, and no reason was given.
    """
    queries("page").lock_pages(conn, ids=[page.id])
    now = find(conn, page.connection_id)
    if not now.halted:
        return []
    if now.blocked_at is not None and not (because or "").strip():
        raise PageBlockedError(
            f"The platform blocked the page {now.connection_id!r} at {now.blocked_at:%Y-%m-%d %H:%M} UTC"
            " and has not said that it is free again. Look at the page's Support Inbox; if it says"
            " that the page is free, tell so by --because TEXT."
        )
    queries("page").resume_page(conn, id=now.id)
    _audit(conn, now, actor, "page resumed", {"before": now.halt_reason, "because": because})
    return [row.key for row in queries("page").halted_campaigns(conn, id=now.id)]


def refuse_held(conn: PsycopgConnection, page_row_id: int) -> None:
    """See that triggering a campaign may set its page free.

    Args:
        conn: a connection.
        page_row_id: ``otn.page.id``.

    Raises:
        PageHeldError: the platform or a person halted it; the sentence says what to do.
    """
    row = queries("page").held_page(conn, id=page_row_id)
    if row is not None:
        raise PageHeldError(
            f"Nothing is sent for the page {row.connection_id!r}: {row.halt_reason.rstrip('.')}."
            f" When it may send again, run `./otn pages resume {row.connection_id}`, then trigger the campaign again."
        )


def _audit(conn: PsycopgConnection, page: Page, actor: str, action: str, detail: dict[str, str | None]) -> None:
    given = {name: value for name, value in detail.items() if value}
    queries("page").audit_page(conn, actor=actor, action=action, id=page.id, detail=json.dumps(given))


def _page(row: Any) -> Page:
    return Page(**row._asdict())
