"""What is done to one person: labels, silence, erasure. Each is audited with the name of whoever did it."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, HTTPException, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from otn.consent import objection, topics
from otn.consent.pages import Page
from otn.consent.silence import silence_journal
from otn.consent.subscribers import Change, ChangeFigures, apply
from otn.consent.topics import Topic, UnknownTopicError, write_audit
from otn.console.access import PeopleDep
from otn.console.database import EngineDep
from otn.console.people import ERASED, PersonNumber, find, show_person
from otn.console.submitted import SubmittedDep, Typed
from otn.database import PsycopgConnection, transaction
from otn.errors import UsageError
from otn.orchestration.hook import read_keyring
from otn.privacy import erasure
from otn.privacy.journal import needed_journal

router = APIRouter(default_response_class=HTMLResponse)

ASKED_FOR_IT: Final = "asked for it"
REASON_LIMIT: Final = 200  # characters
FULL: Final = {
    "too_many_labels": "This person carries as many labels as a person may. Take one off first.",
}


@router.post("/people/{subscriber_id}/labels")
def labels(
    request: Request, visitor: PeopleDep, engine: EngineDep, subscriber_id: PersonNumber, typed: SubmittedDep
) -> Response:
    """Put a label on, or take one off."""
    add, remove = typed.get("add", "").strip(), typed.get("remove", "")
    change = Change(add=(add,) if add else (), remove=(remove,) if remove else ())
    figures = ChangeFigures(people=1)
    try:
        change.check()
        with transaction(engine) as connection:
            page, _ = _alive(connection, subscriber_id)
            apply(connection, [change.of(subscriber_id)], figures)
            if figures.changed:
                detail = {"subscriber_id": subscriber_id, "add": list(change.add), "remove": list(change.remove)}
                write_audit(connection, page, visitor.name, "labels_changed", detail)
    except UsageError as error:
        sentence = str(error) if add or remove else "Write the label that is to be put on."
        return show_person(request, visitor, engine, subscriber_id, problems={"add": sentence}, typed=typed)
    for reason, sentence in FULL.items():
        if reason in figures.skipped:
            return show_person(request, visitor, engine, subscriber_id, problems={"add": sentence}, typed=typed)
    return _back(request, subscriber_id, "labels" if figures.changed else "same")


@router.post("/people/{subscriber_id}/suppress")
def suppress(
    request: Request, visitor: PeopleDep, engine: EngineDep, subscriber_id: PersonNumber, typed: SubmittedDep
) -> Response:
    """Silence the person, about a topic or about everything; no later word of the person lifts it."""
    note = typed.get("note", "").strip() or None
    try:
        with transaction(engine) as connection:
            page, psid = _alive(connection, subscriber_id)
            topic = _topic(connection, page, typed)
            objection.suppress(
                connection, page, psid, topic=topic, actor=visitor.name, note=note, journal=silence_journal()
            )
    except UsageError as error:
        field = "topic" if isinstance(error, UnknownTopicError) else "note"
        return show_person(request, visitor, engine, subscriber_id, problems={field: str(error)}, typed=typed)
    return _back(request, subscriber_id, "suppressed")


@router.post("/people/{subscriber_id}/release")
def release(
    request: Request, visitor: PeopleDep, engine: EngineDep, subscriber_id: PersonNumber, typed: SubmittedDep
) -> Response:
    """Lift what an operator entered; what the person said by a stop word stays."""
    with transaction(engine) as connection:
        page, psid = _alive(connection, subscriber_id)
        topic = _topic(connection, page, typed)
        lifted = objection.release(connection, page, psid, topic=topic, actor=visitor.name, journal=silence_journal())
    return _back(request, subscriber_id, "released" if lifted else "same")


@router.post("/people/{subscriber_id}/erase")
def erase(
    request: Request, visitor: PeopleDep, engine: EngineDep, subscriber_id: PersonNumber, typed: SubmittedDep
) -> Response:
    """Erase the person for good, where their number was typed as a confirmation."""
    problems = _unconfirmed(subscriber_id, typed)
    if problems:
        return show_person(request, visitor, engine, subscriber_id, problems=problems, typed=typed)
    with transaction(engine) as connection:
        page, psid = _alive(connection, subscriber_id)
    erasure.erase(
        engine,
        read_keyring(),
        page,
        psid,
        actor=visitor.name,
        reason=typed.get("reason", "").strip() or ASKED_FOR_IT,
        journal=needed_journal(),
    )
    return _back(request, subscriber_id, "erased")


def _unconfirmed(subscriber_id: int, typed: Typed) -> dict[str, str]:
    found = {}
    if typed.get("number", "").strip().removeprefix("#") != str(subscriber_id):
        found["number"] = f"Nobody was erased. Write {subscriber_id}, the number of this person, to confirm."
    reason = typed.get("reason", "").strip()
    if len(reason) > REASON_LIMIT or not reason.isprintable():
        found["reason"] = f"Give a plain reason of at most {REASON_LIMIT} characters, on one line."
    return found


def _alive(connection: PsycopgConnection, subscriber_id: int) -> tuple[Page, str]:
    """Page and PSID of a person who may have been erased since the page was shown.

    Raises:
        HTTPException: nobody has this number (404), or the person was erased (409).
    """
    row, page = find(connection, subscriber_id)
    if row.psid is None:
        raise HTTPException(409, ERASED)
    return page, str(row.psid)


def _topic(connection: PsycopgConnection, page: Page, typed: Typed) -> Topic | None:
    key = typed.get("topic", "")
    return topics.find(connection, page, key) if key else None


def _back(request: Request, subscriber_id: int, done: str) -> RedirectResponse:
    base = request.scope.get("root_path", "")
    return RedirectResponse(f"{base}/people/{subscriber_id}?done={done}", status_code=303)
