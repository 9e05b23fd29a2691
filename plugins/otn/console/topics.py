"""Topics: what pages ask about, what became of it, and forms to add, change and adopt one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, HTTPException, Path, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from otn.asking.ask import card
from otn.consent import adoption, links, pages, rules, topics
from otn.consent.pages import Page
from otn.consent.titles import lint
from otn.consent.topics import TITLE_LIMIT, Topic
from otn.console.access import ONLY_LOOKING, Visitor, VisitorDep
from otn.console.charts import months_chart
from otn.console.database import EngineDep, OwnersEngineDep
from otn.console.figures import with_figures
from otn.console.showing import show
from otn.console.submitted import SubmittedDep
from otn.console.tally import Tally, TopicTally, tally
from otn.console.topic_form import LABELS, FormError, TopicForm, store
from otn.database import Engine, PsycopgConnection, queries, transaction
from otn.errors import UsageError
from otn.messenger.messages import MessageError

router = APIRouter(default_response_class=HTMLResponse)

MET_SHOWN = 100
ADOPTED_SHOWN = 100
CAMPAIGNS_SHOWN = 20
DONE: Final = {
    "registered": "The topic is registered. Ask people about it, or compose a campaign once they have opted in.",
    "changed": "The change is stored.",
    "adopted": "The opt-ins were moved to this topic, and later ones follow.",
    "released": "Later opt-ins with this payload are kept apart again. Those that moved stay where they are.",
}
NumberPath = Annotated[int, Path(ge=1, le=2**31 - 1)]


@dataclass(frozen=True)
class Line:
    """A topic in the list.

    Args:
        id: our number of it.
        page: connection of its page.
        key: the name that people use.
        title: None: nobody registered it.
        payload: what an opt-in carries back.
        figures: what became of its opt-ins.
        meant: the registered topic that it probably is, misspelt; None: none.
    """

    id: int
    page: str
    key: str
    title: str | None
    payload: str
    figures: TopicTally
    meant: str | None = None

    @property
    def registered(self) -> bool:
        """Whether somebody gave it a title."""
        return self.title is not None

    @property
    def adopted_by(self) -> None:
        """Those that were adopted are not listed."""

    @property
    def objectionable(self) -> bool:
        """Whether Meta may object to words of its title."""
        return bool(lint(self.title or ""))


def acting(visitor: VisitorDep) -> Visitor:
    """Whoever opens a form; 403 for somebody who could not send it."""
    if not visitor.may_act:
        raise HTTPException(403, ONLY_LOOKING)
    return visitor


ActingDep = Annotated[Visitor, Depends(acting)]


@router.get("/topics")
def listing(request: Request, visitor: VisitorDep, engine: EngineDep, page: str = "") -> HTMLResponse:
    """All topics, or those of one page."""
    with transaction(engine) as connection:
        known = pages.listing(connection)
        chosen = pages.find(connection, page) if page else None
    counted = tally(engine)
    asked_about, met, more = lines(engine, counted, chosen)
    return show(
        request,
        "topics.html",
        visitor=visitor,
        pages=known,
        chosen=chosen,
        several=len(known) > 1,
        topics=asked_about,
        met=met,
        more=more,
        counted=counted,
    )


def lines(engine: Engine, counted: Tally, page: Page | None) -> tuple[list[Line], list[Line], int]:
    """Registered topics; those that were met in opt-ins; how many of the latter are not shown."""
    wanted = {"page_id": page.id if page else None}
    with transaction(engine) as connection:
        known = list(queries("console").topics_registered(connection, **wanted))
        found = list(queries("console").topics_met(connection, most=MET_SHOWN, **wanted))
    asked_about = [Line(row.id, row.page, row.key, row.title, row.payload, counted.of(row.id)) for row in known]
    met = [Line(row.id, row.page, row.key, None, row.payload, counted.of(row.id)) for row in found]
    meant = adoption.looks_like([*asked_about, *met])
    met = [replace(one, meant=meant.get(one.id)) for one in met]
    met.sort(key=lambda one: (one.meant is None, -one.figures.opt_ins))
    return asked_about, met, found[0].altogether - len(met) if found else 0


@router.get("/topics/new")
def new(request: Request, visitor: ActingDep, engine: EngineDep, page: str = "") -> HTMLResponse:
    """An empty form."""
    known = _pages(engine)
    first = page or (known[0].connection_id if len(known) == 1 else "")
    return _form(request, visitor, TopicForm(page=first), known)


@router.post("/topics/new")
def add(
    request: Request, visitor: VisitorDep, engine: EngineDep, owner: OwnersEngineDep, typed: SubmittedDep
) -> Response:
    """Register what was typed, or only show it."""
    form = TopicForm.typed(typed)
    if typed.get("do") == "look":
        return _form(request, visitor, form, _pages(engine))
    try:
        with transaction(owner) as connection:
            stored = store(connection, form, actor=visitor.name)
    except FormError as error:
        return _form(request, visitor, form, _pages(engine), problems=error.problems)
    return to(request, f"/topics/{stored.id}?done=registered")


@router.get("/topics/{topic_id}")
def topic(
    request: Request, visitor: VisitorDep, engine: EngineDep, topic_id: NumberPath, done: str = ""
) -> HTMLResponse:
    """One topic: its card, its figures, its stock, its campaigns."""
    with transaction(engine) as connection:
        row = row_of(connection, topic_id)
        campaigns = list(queries("console").campaigns_of_topic(connection, id=topic_id, most=CAMPAIGNS_SHOWN))
        adopted = list(queries("console").topics_adopted(connection, id=topic_id, most=ADOPTED_SHOWN))
        link = _link(connection, row)
    counted = tally(engine)
    figures = counted.of(topic_id)
    stock = [figures.months.get(month, 0) for month in counted.months]
    return show(
        request,
        "topic.html",
        visitor=visitor,
        topic=row,
        figures=figures,
        counted=counted,
        stock=list(zip(counted.months, stock, strict=True)),
        chart=months_chart(counted.months, {row.title or row.key: stock}) if figures.unspent else None,
        campaigns=with_figures(engine, campaigns),
        most=CAMPAIGNS_SHOWN,
        adopted=adopted,
        link=link,
        findings=lint(row.title or ""),
        unasked=_unasked(row),
        done=DONE.get(done),
    )


@router.get("/topics/{topic_id}/edit")
def edit(request: Request, visitor: ActingDep, engine: EngineDep, topic_id: NumberPath) -> HTMLResponse:
    """The form of a topic as it is stored."""
    with transaction(engine) as connection:
        row = row_of(connection, topic_id)
    return _form(request, visitor, TopicForm.of(row), known=row)


@router.post("/topics/{topic_id}/edit")
def change(
    request: Request,
    visitor: VisitorDep,
    engine: EngineDep,
    owner: OwnersEngineDep,
    topic_id: NumberPath,
    typed: SubmittedDep,
) -> Response:
    """Store what was typed, or only show it."""
    with transaction(engine) as connection:
        row = row_of(connection, topic_id)
    form = TopicForm.typed(typed).held_to(row)
    if typed.get("do") == "look":
        return _form(request, visitor, form, known=row)
    try:
        with transaction(owner) as connection:
            stored = store(connection, form, actor=visitor.name, known=row)
    except FormError as error:
        return _form(request, visitor, form, known=row, problems=error.problems)
    return to(request, f"/topics/{stored.id}?done={'changed' if row.registered_at else 'registered'}")


def _form(
    request: Request,
    visitor: Visitor,
    form: TopicForm,
    choice: Sequence[Page] = (),
    *,
    known: Any | None = None,
    problems: dict[str, str] | None = None,
) -> HTMLResponse:
    found = problems or {}
    values = {"form": form, "pages": choice, "known": known, "problems": found, "labels": LABELS, "limit": TITLE_LIMIT}
    return show(request, "topic_form.html", status=422 if found else 200, visitor=visitor, **values)


def _pages(engine: Engine) -> list[Page]:
    with transaction(engine) as connection:
        return pages.listing(connection)


def row_of(connection: PsycopgConnection, topic_id: int) -> Any:
    """A topic as ``topic_by_number`` has it; 404 where there is none."""
    row = queries("console").topic_by_number(connection, id=topic_id)
    if row is None:
        raise HTTPException(404, "There is no such topic. Choose one in the list of topics.")
    return row


def _link(connection: PsycopgConnection, row: Any) -> links.Link | None:
    if row.registered_at is None:
        return None
    page = pages.find(connection, row.page)
    try:
        return links.link(rules.load(connection), page, topics.find(connection, page, row.key))
    except UsageError:
        return None  # its key is too long for a link


def _unasked(row: Any) -> str | None:
    """Why no card can ask about it."""
    if row.registered_at is None:
        return None
    try:
        card(Topic(row.id, row.page_id, row.key, row.title, row.payload, row.registered_at), None)
    except MessageError as error:
        return str(error)
    return None


def to(request: Request, path: str) -> RedirectResponse:
    """Go on with another page of the console, so that a reload sends nothing again."""
    return RedirectResponse(f"{request.scope.get('root_path', '')}{path}", status_code=303)
