"""Recipients of a campaign: one row each, every call to one of them, who was left out, and all of them as CSV."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, HTTPException, Path, Query, Request
from starlette.responses import HTMLResponse, StreamingResponse

from otn.campaign import report
from otn.campaign import state as campaign_state
from otn.consent.subscribers import WHOLE
from otn.console import attempts, words
from otn.console.access import Visitor, VisitorDep
from otn.console.database import EngineDep
from otn.console.showing import show
from otn.database import Engine, PsycopgConnection, queries, transaction
from otn.orchestration.preview import REASONS
from otn.spreadsheet import csv_lines

router = APIRouter(default_response_class=HTMLResponse)

ROWS: Final = 50
LINES: Final = 1_000  # of CSV that are sent at once
LARGEST: Final = 2**31 - 1  # Postgres's largest integer
NO_PSIDS: Final = "You may not see PSIDs. Export without them, or ask for leave to read Airflow's connections."
COLUMNS: Final = {
    "subscriber_id": "our number of the person",
    "psid": "the person's id on this page; only where it was asked for, and each such export is audited",
    "state": "waiting, sending, sent, refused, unknown (unconfirmed), skipped or cancelled",
    "evidence": "why it counts as sent: the platform's answer, its echo, or token_used_inferred",
    "message_id": "the platform's id of the message",
    "error_code": "the platform's code of a refusal",
    "error_subcode": "its finer code",
    "reason": "why it is unconfirmed, skipped, or waits again",
    "attempts": "calls that were begun",
    "unanswered": "calls of which nobody knows the end",
    "chunk": "the part of the campaign; 0 is the canary",
    "opted_in_at": "when the consent that it spends was given",
    "sent_at": "when it was sent",
    "delivered_at": "when it reached a device, as far as the platform says so",
    "read_at": "when it was seen, likewise",
    "updated_at": "when anything of the row changed last",
}

_CODE = re.compile(r"(-?\d{1,10})(?:\s*/\s*(\d{1,10}))?", re.ASCII)

CampaignNumber = Annotated[int, Path(ge=1, le=WHOLE)]
PersonNumber = Annotated[int, Path(ge=1, le=WHOLE)]
AfterParam = Annotated[int, Query(ge=0, le=WHOLE)]
BeforeParam = Annotated[int | None, Query(ge=1, le=WHOLE)]


@dataclass(frozen=True)
class Slice:
    """One page of a list that is walked by key.

    Args:
        rows: what it shows, in key order.
        earlier: query of the page before; None: there is none.
        later: query of the page after it.
    """

    rows: Sequence[Any]
    earlier: str | None
    later: str | None


@dataclass(frozen=True)
class Filter:
    """What a list is narrowed to.

    Args:
        state: of the recipient; empty: all.
        code: of the platform as it was typed, such as ``551`` or ``551/1545041``; empty: all.
    """

    state: str = ""
    code: str = ""

    def problems(self) -> dict[str, str]:
        """Name of each field that cannot be used, and the sentence about it."""
        found = {}
        if self.state and self.state not in words.RECIPIENT_STATES:
            found["state"] = "There is no such state. Choose one of the list."
        if self.code.strip() and self._codes() is None:
            found["code"] = "This is no code of the platform. Give a number, or two such as 551/1545041."
        return found

    def values(self) -> dict[str, Any]:
        """As the query reads it."""
        code, subcode = self._codes() or (None, None)
        return {"state": self.state or None, "error_code": code, "error_subcode": subcode}

    def _codes(self) -> tuple[int, int | None] | None:
        match = _CODE.fullmatch(self.code.strip())
        if match is None:
            return None
        code, subcode = int(match[1]), int(match[2]) if match[2] else None
        return None if max(abs(code), subcode or 0) > LARGEST else (code, subcode)


@router.get("/campaigns/{campaign_id}/recipients")
def recipients(
    request: Request,
    visitor: VisitorDep,
    engine: EngineDep,
    campaign_id: CampaignNumber,
    state: str = "",
    code: str = "",
    after: AfterParam = 0,
    before: BeforeParam = None,
) -> HTMLResponse:
    """One row each, narrowed to a state and a code of the platform."""
    wanted = Filter(state, code)
    problems = wanted.problems()
    with transaction(engine) as connection:
        campaign = find_campaign(connection, campaign_id)
        rows = [] if problems else _read(connection, "recipients_of", campaign_id, after, before, wanted.values())
    return show(
        request,
        "recipients.html",
        status=422 if problems else 200,
        visitor=visitor,
        campaign=campaign,
        wanted=wanted,
        problems=problems,
        slice=_slice(rows, after, before, {"state": wanted.state, "code": wanted.code.strip()}),
        why=attempts.why,
        code=attempts.code,
        columns=COLUMNS,
    )


@router.get("/campaigns/{campaign_id}/left-out")
def left_out(
    request: Request,
    visitor: VisitorDep,
    engine: EngineDep,
    campaign_id: CampaignNumber,
    reason: str = "",
    after: AfterParam = 0,
    before: BeforeParam = None,
) -> HTMLResponse:
    """Who held a consent of the topic and was not planned, with the reason."""
    problems = (
        {"reason": "There is no such reason. Choose one of the list."} if reason and reason not in REASONS else {}
    )
    with transaction(engine) as connection:
        campaign = find_campaign(connection, campaign_id)
        wanted = {"reason": reason or None}
        rows = [] if problems else _read(connection, "left_out_of", campaign_id, after, before, wanted)
    return show(
        request,
        "left_out.html",
        status=422 if problems else 200,
        visitor=visitor,
        campaign=campaign,
        reason=reason,
        reasons=REASONS,
        problems=problems,
        slice=_slice(rows, after, before, {"reason": reason}),
    )


@router.get("/campaigns/{campaign_id}/recipients/{subscriber_id}")
def recipient(
    request: Request, visitor: VisitorDep, engine: EngineDep, campaign_id: CampaignNumber, subscriber_id: PersonNumber
) -> HTMLResponse:
    """Every call to one person, what came back, and what it rests on."""
    who = {"campaign_id": campaign_id, "subscriber_id": subscriber_id}
    with transaction(engine) as connection:
        campaign = find_campaign(connection, campaign_id)
        row = queries("console").recipient_of(connection, **who)
        reason = None if row is not None else queries("console").exclusion_of(connection, **who)
        if row is None and reason is None:
            raise HTTPException(404, f"The campaign {campaign.key!r} did not meet person {subscriber_id}.")
        calls = attempts.of(connection, campaign_id, subscriber_id) if row is not None else []
    return show(
        request,
        "recipient.html",
        visitor=visitor,
        campaign=campaign,
        number=subscriber_id,
        row=row,
        reason=reason,
        calls=calls,
        why=attempts.why,
        code=attempts.code,
    )


@router.get("/campaigns/{campaign_id}/recipients.csv")
def as_csv(
    visitor: VisitorDep, engine: EngineDep, campaign_id: CampaignNumber, psid: Literal["yes", "no"] = "no"
) -> StreamingResponse:
    """All of them for a spreadsheet, written while they are read; with PSIDs only for whoever may see people."""
    with_psid = psid == "yes"
    if with_psid and not visitor.may_see_people:
        raise HTTPException(403, NO_PSIDS)
    _allow(engine, campaign_id, visitor, with_psid=with_psid)
    lines = csv_lines(report.export_rows(engine, campaign_id), report.export_columns(with_psid=with_psid))
    return StreamingResponse(
        _joined(lines),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="otn-campaign-{campaign_id}.csv"'},
    )


def find_campaign(connection: PsycopgConnection, campaign_id: int) -> Any:
    """The campaign's row.

    Raises:
        HTTPException: there is none of this number (404).
    """
    row = queries("campaign").find_campaign(connection, campaign_id=campaign_id)
    if row is None:
        raise HTTPException(404, f"There is no campaign number {campaign_id}. Look at the list of campaigns.")
    return row


def _allow(engine: Engine, campaign_id: int, visitor: Visitor, *, with_psid: bool) -> None:
    with transaction(engine) as connection:
        campaign = find_campaign(connection, campaign_id)
        if with_psid:
            campaign_state.audit(connection, visitor.name, "exported_with_psids", campaign, {"campaign": campaign.key})


def _joined(lines: Iterator[str]) -> Iterator[str]:
    while some := list(islice(lines, LINES)):
        yield "".join(some)


def _read(
    connection: PsycopgConnection, query: str, campaign_id: int, after: int, before: int | None, wanted: dict[str, Any]
) -> list[Any]:
    """One row more than is shown: it tells that there is another page."""
    found = getattr(queries("console"), query)(
        connection, campaign_id=campaign_id, after=after, before=before, most=ROWS + 1, **wanted
    )
    return list(found)


def _slice(rows: list[Any], after: int, before: int | None, wanted: dict[str, str]) -> Slice:
    more = len(rows) > ROWS
    backwards = before is not None
    shown = (rows[1:] if backwards else rows[:ROWS]) if more else rows
    kept = {name: value for name, value in wanted.items() if value}
    if not shown:  # whoever walks on behind the last one finds the way back to the first
        return Slice([], urlencode(kept) if after or backwards else None, None)
    earlier, later = {**kept, "before": shown[0].subscriber_id}, {**kept, "after": shown[-1].subscriber_id}
    return Slice(
        shown,
        urlencode(earlier) if (more if backwards else after) else None,
        urlencode(later) if backwards or more else None,
    )
