"""Home: what needs a person, the pages, the campaigns, and the consents in stock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse

from otn.consent import pages
from otn.console.access import VisitorDep
from otn.console.charts import months_chart
from otn.console.database import EngineDep
from otn.console.showing import show
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
    """

    months: list[str]
    topics: list[TopicStock]
    pages: int


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
        rows = list(queries("console").campaigns_at_a_glance(connection, ended=ENDED_SHOWN))
    return {
        "alarms": alarms.listing(engine),
        "pages": registered,
        "campaigns": [(caption, _in(rows, states)) for caption, states in GROUPS.items()],
        "any_campaign": bool(rows),
    }


def stock(engine: Engine) -> Stock:
    """Count the unspent consents."""
    with transaction(engine) as connection:
        months = [row.month for row in queries("console").coming_months(connection)]
        rows = list(queries("console").stock_by_month(connection))
    topics: dict[int, TopicStock] = {}
    for row in rows:
        topic = topics.setdefault(row.topic_id, TopicStock(row.title, row.page, [0] * len(months)))
        topic.months[months.index(row.month)] += row.unspent
    return Stock(months, list(topics.values()), len({one.page for one in topics.values()}))


def _in(rows: Sequence[Any], states: Sequence[str]) -> list[Any]:
    return [row for row in rows if row.state in states]
