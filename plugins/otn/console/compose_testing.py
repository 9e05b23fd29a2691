"""Testing in Compose: people are chosen, a run of ``otn_test_message`` starts, and what becomes of it is shown."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse

from otn.asking import testing
from otn.consent.pages import Page
from otn.consent.topics import Topic, write_audit
from otn.console import reasons, words
from otn.console.access import Visitor, VisitorDep
from otn.console.compose_form import Draft
from otn.console.database import EngineDep
from otn.console.runs import ENDED, RunState, RunStateDep
from otn.console.showing import show
from otn.console.standing import run_path
from otn.console.submitted import Typed
from otn.database import Engine, transaction
from otn.errors import UsageError

router = APIRouter(default_response_class=HTMLResponse)

TEST: Final = "otn_test_message"
NOTE: Final = "A test, from Compose."
FIELDS: Final = frozenset({"find", "test_key", "tested"})
NEEDED: Final = ("page", "topic", "text", "message", "form")  # what a test takes of the campaign's form
_PERSON: Final = re.compile(r"person_([0-9]{1,18})", re.ASCII)
_KEY: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_RUN: Final = re.compile(r"manual__test_[0-9a-f]{32}", re.ASCII)
_FIND_LIMIT: Final = 100
LEFT_OUT: Final = {
    "erased": "was erased",
    "window_closed": "has not written to the page within 24 hours; a word to the page opens the window",
    "window_closing": "the window closes within five minutes; a word to the page opens it anew",
    "suppressed": "asked not to be written to, or was silenced",
    "unreachable": "could not be reached the last time, and has not written since",
    "flood": "got 20 tests within the hour",
    "restored": "the database was restored before it went out; test again",
    "personal_field_missing": "a personal field is not known of this person, and has no fall-back",
    "personal_field_unusable": "a personal field holds what the text cannot use",
    "message_over_limit": "with this person's fields the message is too long",
    "message_not_valid": "with this person's fields the message is none that Messenger takes",
}
_WAITS: Final = {
    "throttled": "Messenger wants the page to wait",
    "page_halted": "Messenger refused the page",
}


@dataclass(frozen=True)
class Candidate:
    """Somebody who may be chosen.

    Args:
        id: our number.
        name: empty where the visitor may not see names.
        why_not: why the person cannot get a test now; empty: may get it.
        ticked: chosen.
    """

    id: int
    name: str
    why_not: str
    ticked: bool


@dataclass
class Bench:
    """What stands in the part of the form that tests.

    Args:
        key: of the next test: the same form twice is one test.
        find: what was searched for.
        people: found or chosen.
        tested: the run of the last test; empty: none.
        result: of that, as ``results`` gives it.
    """

    key: str
    find: str = ""
    people: list[Candidate] = field(default_factory=list)
    tested: str = ""
    result: dict[str, Any] | None = None


def is_field(name: str) -> bool:
    """Whether a field belongs to testing, and not to the campaign."""
    return name in FIELDS or _PERSON.fullmatch(name) is not None


def ticked(typed: Typed) -> list[int]:
    """Our numbers of the people who are chosen."""
    found = (_PERSON.fullmatch(name) for name, value in typed.items() if value == "on")
    return sorted(int(one[1]) for one in found if one)


def problems_of(draft: Draft, people: Sequence[int]) -> dict[str, str]:
    """What keeps a message from being tested: of the campaign's form only what a test takes."""
    found = {name: said for name, said in draft.problems.items() if name in NEEDED}
    try:
        testing.check_people(people)
    except UsageError as error:
        found["find"] = str(error)
    return found


def conf_of(draft: Draft, people: Sequence[int]) -> dict[str, Any]:
    """Params of the run: our numbers, and the message with its fields; no PSID, and nobody's name."""
    content = "text" if draft.typed["kind"] == "text" else "message"
    params = {name: draft.params[name] for name in ("page", "topic", content)}
    return {**params, "people": list(people)}


def run_of(typed: Typed, conf: Mapping[str, Any]) -> str:
    """Name of the run: submitted twice, reloaded or gone back to, a form is one test; with other content it is another.

    Args:
        typed: the form.
        conf: of the run.
    """
    key = typed.get("test_key", "")
    text = json.dumps([key if _KEY.fullmatch(key) else "", conf], sort_keys=True)
    return f"manual__test_{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def bench_of(
    engine: Engine, visitor: Visitor, page: Page | None, topic: Topic | None, typed: Typed, *, tested: str = ""
) -> Bench:
    """What stands in the form; a search by a name is audited without it.

    Args:
        engine: the project's database.
        visitor: who looks.
        page: chosen; None: none yet.
        topic: chosen; None: none yet.
        typed: the form.
        tested: the run that was just started: the next test gets another key.
    """
    key = typed.get("test_key", "")
    bench = Bench(
        key=key if _KEY.fullmatch(key) and not tested else uuid.uuid4().hex,
        find=typed.get("find", "")[:_FIND_LIMIT],
        tested=tested or run_named(typed.get("tested", "")),
    )
    if page is None or topic is None:
        return bench
    numbers = ticked(typed)[: 2 * testing.MOST_FOUND]
    rows = {row["id"]: row for row in testing.chosen(engine, page, topic, numbers)} if numbers else {}
    if bench.find.strip() and typed.get("do") in {"find", "look"}:
        found = testing.choose(engine, page, topic, bench.find, names=visitor.may_see_people)
        if visitor.may_see_people:
            with transaction(engine) as connection:
                write_audit(connection, page, visitor.name, "people_searched", {"by": "test", "found": len(found)})
        rows |= {row["id"]: row for row in found}
    bench.people = [_candidate(row, visitor, ticked=row["id"] in numbers) for row in rows.values()]
    return bench


@router.get("/compose/test/live")
def result(
    request: Request, visitor: VisitorDep, engine: EngineDep, state_of: RunStateDep, run_id: str = ""
) -> HTMLResponse:
    """What became of a test, for the script that asks while it is under way."""
    found = results(engine, run_named(run_id), state_of, request.scope.get("root_path", ""))
    return show(request, "compose_test_live.html", visitor=visitor, result=found)


def results(engine: Engine, run_id: str, state_of: RunState, base: str) -> dict[str, Any]:
    """What became of a test, for people.

    Args:
        engine: the project's database.
        run_id: the run that tests.
        state_of: how that run stands in Airflow.
        base: path of the console.

    Returns:
        ``state`` of the run (None: Airflow does not know it), its ``path``, ``over`` (later it is the same), and
        ``rows`` of person, state and why.
    """
    state = state_of(TEST, run_id) if run_id else None
    told = {"state": state, "path": run_path(base, TEST, run_id)}
    found = testing.report(engine, run_id)
    if found is None:
        return told | {"rows": [], "over": state is None or state in ENDED}
    rows = [
        {"person": one["subscriber_id"], "state": one["state"], "why": _why(one, found["halt_reason"])}
        for one in found["people"]
    ]
    return told | {"rows": rows, "over": found["over"]}


def _why(one: Mapping[str, Any], halt_reason: str | None) -> str:
    state, reason = one["state"], one["reason"] or ""
    if state == "refused":
        return reasons.refused(one["error_code"], one["error_subcode"])
    if state == "unknown":
        return f"{reasons.unconfirmed(reason)}; it is not sent again"
    if state == "skipped":
        return LEFT_OUT.get(reason, words.left_out(reason))
    if state == "waiting":
        return f"the page may not send: {halt_reason}" if halt_reason else _WAITS.get(reason, "")
    return "proven by its echo" if one["evidence"] == "echo" else ""


def _candidate(row: Mapping[str, Any], visitor: Visitor, *, ticked: bool) -> Candidate:
    name = " ".join(filter(None, (row["first_name"], row["last_name"]))) if visitor.may_see_people else ""
    return Candidate(row["id"], name, LEFT_OUT.get(row["reason"], row["reason"] or ""), ticked)


def run_named(text: str) -> str:
    """A run of ours that a text names; empty where it names none."""
    return text if _RUN.fullmatch(text) else ""
