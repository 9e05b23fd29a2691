"""People: found by name, PSID or number; and all about one of them. Only for whoever may see people."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, HTTPException, Path, Request
from starlette.responses import HTMLResponse

from otn.consent import pages, subscribers
from otn.consent.pages import Page
from otn.consent.subscribers import WHOLE
from otn.console import attempts, reasons, words
from otn.console.access import PeopleDep, Visitor
from otn.console.database import EngineDep
from otn.console.showing import show
from otn.console.submitted import SubmittedDep
from otn.database import Engine, PsycopgConnection, queries, transaction

router = APIRouter(default_response_class=HTMLResponse)

ROWS: Final = 50
TEXT_LIMIT: Final = 200  # characters of a search
SHORTEST: Final = 2
TIMELINE_SHOWN: Final = 200
ERASED: Final = "This person was erased. Nothing can be changed any more."
CONSENTS = {
    "unspent": "in stock",
    "reserved": "planned for a campaign",
    "spent": "spent",
    "silenced": "taken back",
    "expired": "ended",
    "erased": "erased",
}
SILENCES = {
    "stop_word": "said a stop word",
    "operator": "silenced by an operator",
    "unreachable": "could not be reached",
    "erased": "was erased",
}
HAPPENED = {
    "met": "met the page",
    "erased": "was erased",
    "wrote": "wrote",
    "pressed": "pressed a button",
    "reacted": "reacted",
    "came by link": "came by a link",
    "other_optin": "opted in to something of another kind",
    "tapped": "tapped Notify Me",
    "token": "gave a consent",
    "asked": "was asked",
    "thanked": "was thanked for an opt-in",
    "confirmed": "got a confirmation",
    "answered": "got an answer",
    "tested": "got a test message",
    "campaign": "was in the campaign",
    "delivered": "got the message of",
    "read": "saw the message of",
    "silenced": "is silenced",
}
ABOUT_A_CAMPAIGN = frozenset({"campaign", "delivered", "read"})
DONE = {
    "labels": "The labels were changed.",
    "same": "Nothing was changed: it was so already.",
    "suppressed": "This person gets nothing of it any more, until an operator lifts that.",
    "released": "The operator's entry was lifted.",
    "erased": "This person was erased.",
}

_PSID = re.compile(r"\d{6,}", re.ASCII)
_NUMBER = re.compile(r"#(\d{1,18})", re.ASCII)
_LIKE = str.maketrans({char: f"\\{char}" for char in "\\%_"})

PersonNumber = Annotated[int, Path(ge=1, le=WHOLE)]


@dataclass(frozen=True)
class Found:
    """What a search gave.

    Args:
        by: ``psid``, ``number`` or ``name``; stands in the audit.
        rows: the people, in the order of their names.
        later: the name and the number behind which it goes on; None: these are all.
    """

    by: str
    rows: list[Any]
    later: tuple[str, int] | None


@router.get("/people")
def people(request: Request, visitor: PeopleDep) -> HTMLResponse:
    """The search, with nobody found yet."""
    return show(request, "people.html", visitor=visitor, typed="", problems={}, found=None)


@router.post("/people")
def search(request: Request, visitor: PeopleDep, engine: EngineDep, typed: SubmittedDep) -> HTMLResponse:
    """Who that is. The text stays in the body of the request: it stands in no address, no log and no audit."""
    text = " ".join(unicodedata.normalize("NFC", typed.get("text", "")).split())
    problem = problem_of(text)
    after = typed.get("after", "")
    behind = int(after) if after.isascii() and after.isdecimal() and len(after) < 19 else 0
    found = None if problem else _found(engine, text, (typed.get("after_name", ""), behind), visitor)
    return show(
        request,
        "people.html",
        status=422 if problem else 200,
        visitor=visitor,
        typed=typed.get("text", ""),
        problems={"text": problem} if problem else {},
        found=found,
    )


@router.get("/people/{subscriber_id}")
def person(
    request: Request, visitor: PeopleDep, engine: EngineDep, subscriber_id: PersonNumber, done: str = ""
) -> HTMLResponse:
    """All that is known of one person."""
    return show_person(request, visitor, engine, subscriber_id, done=DONE.get(done))


def problem_of(text: str) -> str | None:
    """What is wrong with a text that was searched for."""
    if not text:
        return "Write a name, a PSID, or our number such as #12."
    if len(text) > TEXT_LIMIT or not text.isprintable():
        return f"Nobody is called so. Write at most {TEXT_LIMIT} characters that can be seen."
    if len(text) < SHORTEST:
        return f"Write at least {SHORTEST} characters: one letter begins too many names."
    return None


def find(connection: PsycopgConnection, subscriber_id: int) -> tuple[Any, Page]:
    """Whose number this is, and the page.

    Raises:
        HTTPException: we know nobody of this number (404).
    """
    row = queries("console").person_by_number(connection, id=subscriber_id)
    if row is None:
        raise HTTPException(404, f"There is no person {subscriber_id}. Search by name or PSID.")
    return row, pages.find(connection, row.page)


def show_person(
    request: Request,
    visitor: Visitor,
    engine: Engine,
    subscriber_id: int,
    *,
    done: str | None = None,
    problems: Mapping[str, str] | None = None,
    typed: Mapping[str, str] | None = None,
) -> HTMLResponse:
    """Answer with a person's page.

    Args:
        request: what is answered.
        visitor: who asks.
        engine: the project's database.
        subscriber_id: ``otn.subscriber.id``.
        done: what was just done, as a sentence.
        problems: name of each field of a form that cannot be taken, and the sentence about it.
        typed: what stood in that form.
    """
    with transaction(engine) as connection:
        _, page = find(connection, subscriber_id)
        numbers = {one.key: one.id for one in queries("console").campaigns_of_person(connection, id=subscriber_id)}
        topics = list(queries("console").topics_registered(connection, page_id=page.id))
    known = subscribers.show(engine, page, f"#{subscriber_id}")
    titles = {one.key: one.title for one in topics}
    told = [{**one, "said": said(one, titles)} for one in reversed(known["timeline"])]
    return show(
        request,
        "person.html",
        status=422 if problems else 200,
        visitor=visitor,
        person=known,
        page=page,
        topics=topics,
        titles=titles,
        numbers=numbers,
        timeline=told[:TIMELINE_SHOWN],
        more_of_timeline=len(told) > TIMELINE_SHOWN,
        consent_words=CONSENTS,
        silence_words=SILENCES,
        outcome=outcome,
        done=done,
        problems=problems or {},
        typed=typed or {},
    )


def outcome(row: Mapping[str, Any]) -> str:
    """Why a campaign ended for a person as it did; empty where the state says it all.

    Args:
        row: one of ``campaigns`` of ``subscribers.show``.
    """
    state, reason = row["state"], row["reason"]
    if state == "sent":
        return attempts.evidence(row["evidence"])
    if state == "refused":
        return reasons.refused(row["error_code"], row["error_subcode"])
    return _because(state, reason) if reason else ""


def said(moment: Mapping[str, Any], titles: Mapping[str, str]) -> str:
    """A moment of the timeline, in words.

    Args:
        moment: one of ``subscribers.timeline``.
        titles: key of each topic of the page, and what people read of it.
    """
    what, about, detail = moment["what"], moment["about"], moment["detail"]
    if what not in ABOUT_A_CAMPAIGN:
        about = titles.get(about, about)
    parts = [HAPPENED.get(what, what.replace("_", " "))]
    if about:
        parts.append(f"“{about}”")
    if moment["ref"]:
        parts.append(f"(about {moment['ref']})")
    if detail:
        parts.append(f"- {_detail(what, detail)}")
    return " ".join(parts)


def _detail(what: str, detail: str) -> str:
    if what == "token":
        return CONSENTS.get(detail, detail)
    if what == "silenced":
        return SILENCES.get(detail, detail)
    state, _, reason = detail.partition(": ")
    if state not in words.RECIPIENT_STATES:
        return detail.replace("_", " ")
    return words.recipient_state(state) + (f": {_because(state, reason)}" if reason else "")


def _because(state: str, reason: str) -> str:
    if state == "unknown":
        return reasons.unconfirmed(reason)
    if state == "skipped":
        return reasons.skipped(reason)
    if state == "excluded":
        return words.left_out(reason)
    return attempts.returned(reason)


def _found(engine: Engine, text: str, after: tuple[str, int], visitor: Visitor) -> Found:
    with transaction(engine) as connection:
        found = _searched(connection, text, after)
        detail = {"by": found.by, "hits": len(found.rows), "more": found.later is not None}
        queries("campaign").write_audit(
            connection,
            actor=visitor.name,
            action="people_searched",
            page_id=None,
            campaign_id=None,
            detail=json.dumps(detail),
        )
    return found


def _searched(connection: PsycopgConnection, text: str, after: tuple[str, int]) -> Found:
    console = queries("console")
    if match := _NUMBER.fullmatch(text):
        return Found("number", list(console.people_by_number(connection, id=int(match[1]))), None)
    if _PSID.fullmatch(text):
        return Found("psid", list(console.people_by_psid_anywhere(connection, psid=text)), None)
    beginning = f"{text.translate(_LIKE)}%"
    name, number = after
    found = console.people_by_name(
        connection, beginning=beginning, text=text, after_name=name, after=number, most=ROWS + 1
    )
    rows = list(found)
    last = rows[ROWS - 1] if len(rows) > ROWS else None
    return Found("name", rows[:ROWS], (last.name, last.id) if last else None)
