"""Home: what needs a person, the pages, the campaigns, and the consents in stock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse

from otn.consent import pages
from otn.console.access import VisitorDep
from otn.console.charts import months_chart
from otn.console.database import EngineDep
from otn.console.figures import with_figures
from otn.console.showing import show
from otn.console.tally import tally
from otn.database import Engine, queries, transaction
from otn.watch import alarms

router = APIRouter(default_response_class=HTMLResponse)

ENDED_SHOWN = 10
GROUPS = {
    "Awaiting approval": ("draft", "awaiting_approval"),
    "Running": ("sending", "paused", "halted", "interrupted"),
    "Scheduled": ("scheduled",),
    "Lately ended": ("finished", "cancelled"),
}


@dataclass(frozen=True)
class TopicStock:
    """Unspent consents of a topic.

    Args:
        title: what people were asked.
        page: connection of its page.
        months: how many end in each of the months that are shown.
    """

    title: str
    page: str
    months: list[int]

    @property
    def unspent(self) -> int:
        """All of them."""
        return sum(self.months)


@dataclass(frozen=True)
class Stock:
    """Unspent consents by topic and by the month in which they end.

    Args:
        months: the present month and the twelve after it, as ``2026-11``.
        topics: those that have any.
        pages: how many pages these belong to.
        at: when they were counted.
    """

    months: list[str]
    topics: list[TopicStock]
    pages: int
    at: datetime


@router.get("/")
def home(request: Request, visitor: VisitorDep, engine: EngineDep) -> HTMLResponse:
    """The whole page."""
    found = stock(engine)
    chart = months_chart(found.months, {one.title: one.months for one in found.topics})
    return show(request, "home.html", visitor=visitor, stock=found, chart=chart, **live(engine))


@router.get("/live")
def home_live(request: Request, visitor: VisitorDep, engine: EngineDep) -> HTMLResponse:
    """The part of it that changes by itself."""
    return show(request, "home_live.html", visitor=visitor, **live(engine))


def live(engine: Engine) -> dict[str, Any]:
    """Alarms, pages and campaigns."""
    with transaction(engine) as connection:
        registered = pages.listing(connection)
        rows = with_figures(engine, list(queries("console").campaigns_at_a_glance(connection, ended=ENDED_SHOWN)))
    return {
        "alarms": alarms.listing(engine),
        "pages": registered,
        "campaigns": [(caption, _in(rows, states)) for caption, states in GROUPS.items()],
        "any_campaign": bool(rows),
    }


def stock(engine: Engine) -> Stock:
    """The latest count of the unspent consents."""
    counted = tally(engine)
    with transaction(engine) as connection:
        known = list(queries("console").topics_by_number(connection, ids=list(counted.topics)))
    topics = [
        TopicStock(row.title, row.page, [counted.of(row.id).months.get(month, 0) for month in counted.months])
        for row in known
        if counted.of(row.id).unspent
    ]
    return Stock(counted.months, topics, len({one.page for one in topics}), counted.at)


def _in(rows: Sequence[dict[str, Any]], states: Sequence[str]) -> list[dict[str, Any]]:
    return [row for row in rows if row["state"] in states]
