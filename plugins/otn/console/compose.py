"""Compose: a campaign is written, counted and shown meanwhile, and started as a run of ``otn_broadcast``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, HTTPException, Query, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from otn.campaign.model import CampaignState
from otn.consent import pages, topics
from otn.consent.pages import Page
from otn.consent.topics import Topic
from otn.console import compose_media, compose_testing, words
from otn.console.access import BROADCAST, ONLY_LOOKING, Visitor, VisitorDep
from otn.console.compose_beside import Beside, parted
from otn.console.compose_form import DEFAULTS, Draft, read_draft
from otn.console.compose_look import look_at
from otn.console.compose_start import EXAMPLES, example, keep_or_propose, of_campaign, of_dying, proposed_key
from otn.console.compose_testing import TEST
from otn.console.counting import PATIENCE_S
from otn.console.database import EngineDep
from otn.console.runs import RunStateDep
from otn.console.showing import show
from otn.console.submitted import SubmittedDep
from otn.console.tally import FIRST_S, tally
from otn.console.triggering import NotTriggeredError, Trigger, TriggerDep
from otn.console.uploaded import UploadDep
from otn.console.zones import zones
from otn.database import Engine, queries, transaction
from otn.errors import UsageError

router = APIRouter(default_response_class=HTMLResponse)

MOST_CAMPAIGNS: Final = 2**63 - 1  # of the column
MOST_TOPICS: Final = 2**31 - 1
NOTE: Final = "Composed in the console."
LABELS: Final = {
    "form": "The form",
    "page": "Page",
    "topic": "Topic",
    "campaign": "Campaign key",
    "text": "Text",
    "message": "Message",
    "include_labels": "With all of these labels",
    "exclude_labels": "With none of these labels",
    "attributes": "Attributes",
    "locale": "Locale",
    "ref": "Reference",
    "opted_in_from": "Opted in from",
    "opted_in_until": "Opted in before",
    "interacted_from": "Last wrote or tapped from",
    "interacted_until": "Last wrote or tapped before",
    "max_recipients": "At most so many people",
    "send_at": "Start",
    "zone": "Time zone",
    "if_late": "If it starts late",
    "late_after": "Late after",
    "canary": "First to so many",
    "canary_labels": "First to people with a label",
    "max_refused": "Halt above this share of refusals",
    "result_labels": "Labels by result",
    "example": "Example",
    "file": "File",
    "media": "Media that this page has",
    "find": "Test it first",
}


@dataclass(frozen=True)
class Desk:
    """What there is to choose from, and what is chosen.

    Args:
        pages: registered ones.
        page: chosen; None: none yet, or one that is not there.
        topics: registered ones of that page, each with its unspent consents.
        topic: chosen.
    """

    pages: list[Page]
    page: Page | None
    topics: list[tuple[Topic, int]]
    topic: Topic | None


@router.get("/compose")
def compose(
    request: Request,
    visitor: VisitorDep,
    engine: EngineDep,
    again: Annotated[int | None, Query(alias="from", ge=1, le=MOST_CAMPAIGNS)] = None,
    dying: Annotated[int | None, Query(ge=1, le=MOST_TOPICS)] = None,
    page: str = "",
    topic: str = "",
) -> HTMLResponse:
    """The form: empty, with an old campaign (``from``), or for consents that are dying (``dying``, a topic)."""
    if not visitor.may_act:
        raise HTTPException(403, ONLY_LOOKING)
    if again is not None:
        values = of_campaign(engine, again)
    elif dying is not None:
        values = of_dying(engine, dying)
    else:
        values = {**DEFAULTS, "page": page or _first_page(engine), "topic": topic}
    draft = read_draft(values)
    beside = Beside(dying=dying is not None)
    return _page(request, visitor, engine, draft, _desk(engine, draft), beside, counting=False)


@router.post("/compose")
def submit(
    request: Request,
    visitor: VisitorDep,
    engine: EngineDep,
    trigger: TriggerDep,
    state_of: RunStateDep,
    typed: SubmittedDep,
) -> Response:
    """Start the campaign, or show the form again: with its count, with an example, or with what is wrong."""
    form, more = parted(_with_example(typed))
    beside = Beside(more, state_of)
    draft = read_draft(form)
    if typed.get("do") == "example" and typed.get("example", "") not in EXAMPLES:
        draft.problems["example"] = "There is no such example. Choose one of the list."
    desk = _desk(engine, draft)
    if draft.typed["do"] == "test":
        return _test(request, visitor, engine, trigger, draft, desk, beside)
    if draft.typed["do"] == "media":
        shelf, problems = compose_media.shelf_of(engine, desk.page, more), dict[str, str]()
        draft = read_draft(compose_media.choose(shelf, form, problems))
        return _with_media(request, visitor, engine, draft, replace(beside, said=shelf.said, problems=problems))
    if draft.typed["do"] != "start":
        return _page(request, visitor, engine, draft, desk, beside, counting=True)
    _check_key(engine, draft, desk)
    _check_media(engine, draft, desk)
    if draft.problems or draft.request is None:
        return _page(request, visitor, engine, draft, desk, beside, counting=False, status=422)
    try:
        run = trigger(BROADCAST, _conf(draft), NOTE)
    except NotTriggeredError as error:
        draft.problems["form"] = str(error)
        return _page(request, visitor, engine, draft, desk, beside, counting=False, status=503)
    return RedirectResponse(f"{request.scope.get('root_path', '')}/runs?{run.query}", 303)


@router.post("/compose/media")
def upload(
    request: Request, visitor: VisitorDep, engine: EngineDep, state_of: RunStateDep, sent: UploadDep
) -> HTMLResponse:
    """Hand a file over to Messenger, and show the form again; submitted twice, it is handed over once."""
    problems: dict[str, str] = {}
    desk = _desk(engine, read_draft(parted(sent.typed)[0]))
    typed, said = compose_media.take(engine, visitor, desk.page, sent, problems)
    form, more = parted(typed)
    return _with_media(request, visitor, engine, read_draft(form), Beside(more, state_of, said=said, problems=problems))


@router.post("/compose/count")
def compose_count(request: Request, visitor: VisitorDep, engine: EngineDep, typed: SubmittedDep) -> HTMLResponse:
    """What stands beside the form, for the script that asks while somebody writes."""
    draft = read_draft(parted(typed)[0])
    desk = _desk(engine, draft)
    return show(
        request, "compose_count.html", visitor=visitor, **_beside(engine, visitor, draft, desk, patience_s=PATIENCE_S)
    )


def _page(
    request: Request,
    visitor: Visitor,
    engine: Engine,
    draft: Draft,
    desk: Desk,
    beside: Beside,
    *,
    counting: bool,
    status: int = 200,
) -> HTMLResponse:
    more = beside.typed | {"do": draft.typed["do"]}
    bench = compose_testing.bench_of(engine, visitor, desk.page, desk.topic, more, tested=beside.tested)
    if bench.tested:
        base = request.scope.get("root_path", "")
        bench.result = compose_testing.results(engine, bench.tested, beside.state_of, base)
    with transaction(engine) as connection:
        labels = [row.label for row in queries("console").labels_in_use(connection)]
    return show(
        request,
        "compose.html",
        status=status,
        visitor=visitor,
        zones=zones(),
        examples=[(name, said) for name, (said, _) in EXAMPLES.items()],
        names=LABELS,
        labels=labels,
        bench=bench,
        shelf=compose_media.shelf_of(engine, desk.page, beside.typed, beside.said),
        dying=beside.dying,
        problems=beside.problems or (draft.problems if status != 200 else _of_what_is_typed(draft)),
        **_beside(engine, visitor, draft, desk, patience_s=FIRST_S if counting else None),
    )


def _beside(engine: Engine, visitor: Visitor, draft: Draft, desk: Desk, *, patience_s: float | None) -> dict[str, Any]:
    typed = draft.typed
    if desk.page is not None and desk.topic is not None:
        typed = typed | keep_or_propose(engine, desk.page, desk.topic.key, typed)
    look = look_at(engine, draft, desk.page, desk.topic, patience_s=patience_s, people=visitor.may_see_people)
    foreign = []
    if desk.page is not None and draft.template is not None:
        foreign = compose_media.foreign_sentences(engine, desk.page, draft.template.message)
    return {"typed": typed, "desk": desk, "look": look, "foreign": foreign}


def _test(
    request: Request,
    visitor: Visitor,
    engine: Engine,
    trigger: Trigger,
    draft: Draft,
    desk: Desk,
    beside: Beside,
) -> HTMLResponse:
    """Start a test, and show the form with what becomes of it: whoever tests goes on writing."""
    _check_media(engine, draft, desk)
    people = compose_testing.ticked(beside.typed)
    problems, status = compose_testing.problems_of(draft, people), 422
    if not problems:
        conf = compose_testing.conf_of(draft, people)
        try:
            run = trigger(TEST, conf, compose_testing.NOTE, run_id=compose_testing.run_of(beside.typed, conf))
        except NotTriggeredError as error:
            problems, status = {"find": str(error)}, 503
        else:
            return _page(request, visitor, engine, draft, desk, replace(beside, tested=run.run_id), counting=True)
    return _page(
        request, visitor, engine, draft, desk, replace(beside, problems=problems), counting=False, status=status
    )


def _with_media(request: Request, visitor: Visitor, engine: Engine, draft: Draft, beside: Beside) -> HTMLResponse:
    wrong = bool(beside.problems)
    status = 422 if wrong else 200
    return _page(request, visitor, engine, draft, _desk(engine, draft), beside, counting=not wrong, status=status)


def _of_what_is_typed(draft: Draft) -> dict[str, str]:
    """What is not written yet is not wrong yet."""
    return {name: said for name, said in draft.problems.items() if name not in DEFAULTS or draft.typed[name].strip()}


def _with_example(typed: dict[str, str]) -> dict[str, str]:
    """An example in place of nothing, or of another example; what somebody wrote stays."""
    name, written = typed.get("example", ""), typed.get("message", "").strip()
    if typed.get("do") != "example" or name not in EXAMPLES:
        return typed
    if written and written not in {example(one) for one in EXAMPLES}:
        return typed
    return typed | {"kind": "message", "message": example(name)}


def _first_page(engine: Engine) -> str:
    with transaction(engine) as connection:
        return next((one.connection_id for one in pages.listing(connection)), "")


def _desk(engine: Engine, draft: Draft) -> Desk:
    """Look up page and topic; what is not there becomes a problem of its field."""
    with transaction(engine) as connection:
        registered = pages.listing(connection)
        page = next((one for one in registered if one.connection_id == draft.typed["page"]), None)
        if page is None:
            draft.problems.setdefault("page", "This page is not registered. Choose one of the list.")
            return Desk(registered, None, [], None)
        known = topics.registered(connection, page)
        topic = None
        if "topic" in draft.params:
            try:
                topic = topics.find(connection, page, draft.params["topic"])
            except UsageError:
                draft.problems["topic"] = (
                    f"The page {page.name or page.connection_id} has no topic of this key. Choose."
                )
    unspent = tally(engine)
    return Desk(registered, page, [(one, unspent.of(one.id).unspent) for one in known], topic)


def _check_key(engine: Engine, draft: Draft, desk: Desk) -> None:
    """Say what becomes of a key that is taken, before a run does: it resumes, or it is refused."""
    if draft.request is None or desk.page is None or desk.topic is None:
        return
    key = draft.request.spec.key
    with transaction(engine) as connection:
        found = queries("campaign").find_campaign_by_key(connection, connection_id=desk.page.connection_id, key=key)
        row = found and queries("campaign").find_campaign(connection, campaign_id=found.id)
        free = proposed_key(connection, desk.page, desk.topic.key, datetime.now(UTC).date())
    if not row:
        _check_start(draft)
        return
    same = bytes(row.content_hash) == draft.request.spec.content_hash(desk.page.page_id, desk.topic.key)
    if row.state == CampaignState.CANCELLED:
        said = f"The campaign {key!r} was cancelled, and is never sent. Take another key, such as {free!r}."
    elif not same:
        said = (
            f"The key {key!r} belongs to a campaign with another message, topic or audience: it would be refused."
            f" Take another key, such as {free!r}."
        )
    elif draft.typed["resume"] == "on":
        return
    else:
        said = (
            f"The campaign {key!r} exists with exactly this content, and is {words.state(row.state)}. Starting it again"
            " resumes it where it stands, and nobody gets the message twice. Tick “Resume it”, or take another key,"
            f" such as {free!r}."
        )
    draft.problems["campaign"] = said


def _check_media(engine: Engine, draft: Draft, desk: Desk) -> None:
    """Another page's media would be refused for everybody: said before anything starts."""
    if draft.template is not None and desk.page is not None:
        for sentence in compose_media.foreign_sentences(engine, desk.page, draft.template.message):
            draft.problems.setdefault("message", sentence)


def _check_start(draft: Draft) -> None:
    assert draft.request is not None  # noqa: S101 - asked only where nothing is wrong
    try:
        draft.request.refuse_past(datetime.now(UTC))
    except UsageError as error:
        draft.problems["send_at"] = str(error)


def _conf(draft: Draft) -> dict[str, Any]:
    return {name: value for name, value in draft.params.items() if value is not None}
