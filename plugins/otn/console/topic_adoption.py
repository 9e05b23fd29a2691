"""Adoption: opt-ins that nobody registered a topic for are given to the topic that was meant, or kept apart again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from otn.consent import adoption, pages, topics
from otn.consent.adoption import BusyError
from otn.consent.silence import silence_journal
from otn.console.access import Visitor, VisitorDep
from otn.console.database import EngineDep, OwnersEngineDep
from otn.console.showing import show
from otn.console.submitted import SubmittedDep
from otn.console.tally import forget, tally
from otn.console.topics import ActingDep, Line, NumberPath, row_of, to
from otn.database import Engine, queries, transaction
from otn.errors import UsageError

router = APIRouter(default_response_class=HTMLResponse)


@dataclass(frozen=True)
class Moving:
    """What an adoption would move.

    Args:
        opt_ins: consents, whatever became of them.
        unspent: of those, may be sent to.
        stops: people who stopped the topic.
        hindered_by: campaigns under way that send to its opt-ins.
    """

    opt_ins: int
    unspent: int
    stops: int
    hindered_by: list[str]


@router.get("/topics/{topic_id}/adopt")
def ask(request: Request, visitor: ActingDep, engine: EngineDep, topic_id: NumberPath, into: str = "") -> HTMLResponse:
    """What would move, and to which topics it may."""
    return _form(request, visitor, engine, topic_id, into)


@router.post("/topics/{topic_id}/adopt")
def adopt(
    request: Request,
    visitor: VisitorDep,
    engine: EngineDep,
    owner: OwnersEngineDep,
    topic_id: NumberPath,
    typed: SubmittedDep,
) -> Response:
    """Move the opt-ins."""
    into = typed.get("into", "")
    with transaction(engine) as connection:
        row = row_of(connection, topic_id)
    if not into:
        problem = "No topic is chosen. Choose the one that was meant."
        return _form(request, visitor, engine, topic_id, into, problem=problem)
    try:
        with transaction(owner) as connection:
            page = pages.find(connection, row.page)
        with transaction(owner) as connection:  # of its own: adoption takes its locks first
            done = adoption.adopt(connection, page, row.payload, into, actor=visitor.name, journal=silence_journal())
    except (UsageError, BusyError) as error:
        return _form(request, visitor, engine, topic_id, into, problem=str(error))
    forget(engine)
    return to(request, f"/topics/{done.topic.id}?done=adopted")


@router.post("/topics/{topic_id}/release")
def release(
    request: Request, visitor: VisitorDep, engine: EngineDep, owner: OwnersEngineDep, topic_id: NumberPath
) -> Response:
    """Keep later opt-ins apart again."""
    with transaction(engine) as connection:
        row = row_of(connection, topic_id)
        page = pages.find(connection, row.page)
    with transaction(owner) as connection:
        adoption.release(connection, page, row.payload, actor=visitor.name)
    return to(request, f"/topics/{topic_id}?done=released")


def moving(engine: Engine, topic_id: int) -> Moving:
    """Count what an adoption would move."""
    figures = tally(engine).of(topic_id)
    with transaction(engine) as connection:
        stops = queries("console").topic_stops(connection, id=topic_id)
        hindered = [row.key for row in queries("topic").campaigns_under_way(connection, topic_id=topic_id)]
    return Moving(figures.opt_ins, figures.unspent, stops, hindered)


def _form(
    request: Request, visitor: Visitor, engine: Engine, topic_id: int, into: str, *, problem: str | None = None
) -> HTMLResponse:
    with transaction(engine) as connection:
        row = row_of(connection, topic_id)
        page = pages.find(connection, row.page)
        targets = topics.registered(connection, page)
    problems = {} if problem is None else {"into": problem}
    return show(
        request,
        "topic_adopt.html",
        status=422 if problems else 200,
        visitor=visitor,
        topic=row,
        targets=targets,
        into=into or _meant(engine, row, targets) or "",
        moving=moving(engine, topic_id),
        problems=problems,
    )


def _meant(engine: Engine, row: Any, targets: list[topics.Topic]) -> str | None:
    """The topic that it probably is, misspelt."""
    counted = tally(engine)
    known = [Line(one.id, row.page, one.key, one.title, one.payload, counted.of(one.id)) for one in targets]
    return adoption.looks_like([*known, Line(row.id, row.page, row.key, None, row.payload, counted.of(row.id))]).get(
        row.id
    )
