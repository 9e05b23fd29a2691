"""The list of campaigns: found by page, state and key, newest first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse

from otn.campaign.model import CampaignState
from otn.consent import pages
from otn.console import words
from otn.console.access import VisitorDep
from otn.console.database import EngineDep
from otn.console.figures import with_figures
from otn.console.showing import show
from otn.database import Engine, queries, transaction

router = APIRouter(default_response_class=HTMLResponse)

ROWS = 50
WORD_LIMIT = 200
_BIGINT = 2**63 - 1
UNDER_WAY = "under_way"
STATES = {
    UNDER_WAY: [CampaignState.SENDING, CampaignState.PAUSED, CampaignState.HALTED, CampaignState.INTERRUPTED],
    **{state.value: [state] for state in CampaignState},
}


@dataclass(frozen=True)
class Search:
    """What somebody looks for.

    Args:
        page: connection id of a page; empty: every one.
        state: a word of ``STATES``; empty: any.
        word: part of the key.
        before: only campaigns with a smaller number.
    """

    page: str = ""
    state: str = ""
    word: str = ""
    before: int | None = None

    @classmethod
    def of(cls, page: str, state: str, word: str, before: str) -> Search:
        """Read an address; what it names wrongly finds everything."""
        number = int(before) if before.isascii() and before.isdigit() and len(before) < 20 else None
        return cls(
            page=page.replace("\0", ""),
            state=state if state in STATES else "",
            word=word.replace("\0", "").strip()[:WORD_LIMIT],
            before=min(number, _BIGINT) if number is not None else None,
        )

    @property
    def narrowed(self) -> bool:
        """Whether it looks for less than everything."""
        return bool(self.page or self.state or self.word)

    def query(self, before: int | None) -> str:
        """The same search from another place on."""
        asked = {"page": self.page, "state": self.state, "word": self.word, "before": before}
        return urlencode({name: value for name, value in asked.items() if value})


@router.get("/campaigns")
def campaigns(
    request: Request,
    visitor: VisitorDep,
    engine: EngineDep,
    page: str = "",
    state: str = "",
    word: str = "",
    before: str = "",
) -> HTMLResponse:
    """The whole page."""
    search = Search.of(page, state, word, before)
    with transaction(engine) as connection:
        registered = [one.connection_id for one in pages.listing(connection)]
    choices = [(name, "under way" if name == UNDER_WAY else words.state(name)) for name in STATES]
    return show(request, "campaigns.html", visitor=visitor, pages=registered, choices=choices, **live(engine, search))


@router.get("/campaigns/live")
def campaigns_live(
    request: Request,
    visitor: VisitorDep,
    engine: EngineDep,
    page: str = "",
    state: str = "",
    word: str = "",
    before: str = "",
) -> HTMLResponse:
    """The part of it that changes by itself."""
    search = Search.of(page, state, word, before)
    return show(request, "campaigns_live.html", visitor=visitor, **live(engine, search))


def live(engine: Engine, search: Search) -> dict[str, Any]:
    """The campaigns that a search finds, with their figures."""
    with transaction(engine) as connection:
        rows = list(
            queries("console").campaigns_listed(
                connection,
                page=search.page or None,
                states=[one.value for one in STATES[search.state]] if search.state else None,
                word=search.word or None,
                before=search.before,
                most=ROWS + 1,
            )
        )
    shown = rows[:ROWS]
    return {
        "search": search,
        "rows": with_figures(engine, shown),
        "older": search.query(shown[-1].id) if len(rows) > ROWS else None,
        "newest": search.query(None) if search.before is not None else None,
        "here": search.query(search.before),
    }
