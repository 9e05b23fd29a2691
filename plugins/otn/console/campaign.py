"""One campaign: how it goes, what became of everybody, and who did what."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Path, Request
from starlette.responses import HTMLResponse

from otn.campaign.approval import SHORT_HASH, Asked, content_of, waiting_question
from otn.campaign.approvers import composers
from otn.campaign.control import RESUMABLE
from otn.campaign.model import CampaignState
from otn.campaign.report import ENDED
from otn.campaign.state import CampaignUnknownError
from otn.consent.filters import described
from otn.console import reasons, standing, timeline
from otn.console.access import Visitor, VisitorDep
from otn.console.counting import Counted
from otn.console.database import EngineDep
from otn.console.figures import AFTERMATH, FIGURES, Figures, Refusal, find_row
from otn.console.showing import show
from otn.database import Engine, queries, transaction
from otn.errors import OtnError
from otn.rendering import compile_message

router = APIRouter(default_response_class=HTMLResponse)

RUNS_SHOWN = 10
LITTLE_PATIENCE_S = 0.03
SETTLED_AFTER = timedelta(hours=1)  # the platform reports deliveries within minutes
CampaignNumber = Annotated[int, Path(ge=1, le=2**63 - 1)]
_ASKED = (CampaignState.AWAITING_APPROVAL, CampaignState.SCHEDULED)
SAID = {
    "paused": "Paused. Calls under way end within seconds; everyone else keeps waiting, their consents unspent.",
    "was_paused": "Somebody had paused it already. Everyone who waits keeps waiting.",
    "resumed": "Resumed. The run {run} of otn_retry sends to everyone who waits, from the next moment on.",
    "was_sending": "It was sending already, so no further run was started.",
    "cancelled": "Cancelled. Whoever waited was given up, and their consents are free for other campaigns.",
    "was_cancelled": "Somebody had cancelled it already.",
    "retried": "The run {run} of otn_retry takes them up now; what becomes of them shows here.",
}


@dataclass(frozen=True)
class Said:
    """What a page says about the decision before it.

    Args:
        done: a sentence on what was done.
        wrong: a sentence on why it was not done.
        typed: what was typed into a form of the page.
        problems: field to what is wrong with it.
    """

    done: str | None = None
    wrong: str | None = None
    typed: dict[str, str] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)


@router.get("/campaigns/{campaign_id}")
def campaign(
    request: Request, visitor: VisitorDep, engine: EngineDep, campaign_id: CampaignNumber, said: str = "", run: str = ""
) -> HTMLResponse:
    """The whole page.

    Args:
        request: what is answered.
        visitor: who looks.
        engine: the project's database.
        campaign_id: ``otn.campaign.id``.
        said: what was just done: a word of ``SAID``.
        run: of ``otn_retry``, that was just started.
    """
    done = SAID[said].format(run=run or "that was started") if said in SAID else None
    return show_campaign(request, visitor, engine, campaign_id, Said(done=done))


@router.get("/campaigns/{campaign_id}/live")
def campaign_live(
    request: Request, visitor: VisitorDep, engine: EngineDep, campaign_id: CampaignNumber
) -> HTMLResponse:
    """The part of it that changes by itself."""
    row = existing(engine, campaign_id)
    return show(request, "campaign_live.html", visitor=visitor, row=row, said=Said(), **live(engine, row))


def show_campaign(
    request: Request, visitor: Visitor, engine: Engine, campaign_id: int, said: Said, *, status: int = 200
) -> HTMLResponse:
    """Answer with the page.

    Args:
        request: what is answered.
        visitor: who looks.
        engine: the project's database.
        campaign_id: ``otn.campaign.id``.
        said: what to tell about the last decision.
        status: HTTP code.
    """
    row = existing(engine, campaign_id)
    return show(
        request,
        "campaign.html",
        status=status,
        visitor=visitor,
        row=row,
        message=_sample(row.message),
        chosen_by=_chosen_by(row),
        said=said,
        **live(engine, row),
    )


def existing(engine: Engine, campaign_id: int) -> Any:
    """The campaign's row, or 404."""
    try:
        return find_row(engine, campaign_id)
    except CampaignUnknownError as error:
        raise HTTPException(404, str(error)) from None


def live(engine: Engine, row: Any) -> dict[str, Any]:
    """What of the page changes by itself."""
    if row.planned_at:
        AFTERMATH.get(engine, row.id, patience_s=0)  # at the same time as the others
    counted = _counted(engine, row)
    after = AFTERMATH.get(engine, row.id, patience_s=LITTLE_PATIENCE_S) if row.planned_at else None
    aftermath = after.figures if after else None
    figures = counted.figures if counted else None
    with transaction(engine) as connection:
        history = timeline.entries(connection, row)
        question = waiting_question(connection, row.id) if row.state in _ASKED else None
        content = content_of(connection, row.id)
        runs = list(queries("console").runs_seen(connection, campaign_id=row.id, most=RUNS_SHOWN))
    # Counted before the campaign came into its present state, they would speak of another one.
    settled = figures is not None and figures.state == row.state
    return {
        "figures": figures,
        "counted_at": counted.at if counted else None,
        "aftermath": aftermath,
        "verdict": standing.verdict(row, figures if settled else None),
        "wrongs": figures.problems if figures and settled else [],
        "funnel": standing.funnel(figures, aftermath) if figures else [],
        "refusals": _refusals(figures),
        "chart": standing.sends_chart(figures),
        "history": history,
        "question": question,
        "composer": " and ".join(sorted(composers(row.created_by, None))),
        "asked_link": _asked_link(question),
        "content": content,
        "short": content[:SHORT_HASH],
        "runs": runs,
        "reasons": reasons,
        "standing": standing,
        "may_pause": row.state == CampaignState.SENDING,
        "may_resume": row.state in RESUMABLE,
        "may_cancel": row.state not in ENDED,
        "ways": standing.ways(row, figures, aftermath),
        "over": settled and aftermath is not None and _is_over(row),
    }


def _asked_link(question: Asked | None) -> str | None:
    """Airflow's page of a question, below the address of Airflow."""
    if question is None:
        return None
    run = standing.run_path("", question.by.dag, question.by.run)
    return f"{run}/tasks/{quote(question.by.task, safe='')}/required_actions"


def _refusals(figures: Figures | None) -> list[tuple[Refusal, str]]:
    found = figures.refusals if figures else []
    return [(one, reasons.refused(one.code, one.subcode, token_dead=one.token_dead)) for one in found]


def _counted(engine: Engine, row: Any) -> Counted[Figures] | None:
    if row.planned_at is None:
        return None
    counted = FIGURES.get(engine, row.id)
    if counted and counted.figures.state != row.state:
        FIGURES.forget(engine, row.id)
        return FIGURES.get(engine, row.id) or counted
    return counted


def _is_over(row: Any) -> bool:
    return row.state in ENDED and (row.finished_at is None or row.now - row.finished_at > SETTLED_AFTER)


def _sample(message: dict[str, Any]) -> dict[str, Any]:
    """As an invented person reads it; as it is written where it cannot be made any more."""
    try:
        return compile_message(message).sample()
    except OtnError:
        return message


def _chosen_by(row: Any) -> list[str]:
    parts = [f"with the label {label}" for label in row.include_labels]
    parts += [f"without the label {label}" for label in row.exclude_labels]
    parts += described(row.filter, str)
    if row.max_recipients is not None:
        parts.append(f"{row.max_recipients:,} people at most, the soonest to expire first")
    return parts
