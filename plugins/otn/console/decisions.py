"""Decisions about a campaign: pause, resume, cancel, and taking people up again.

A decision is written in the project's database; whatever sends is a run of Airflow. A page that somebody looks at is
always a little old: what another person did meanwhile is said, and nothing breaks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args
from urllib.parse import urlencode

from fastapi import APIRouter, HTTPException, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from otn.campaign import control
from otn.campaign.control import Scope
from otn.campaign.model import CampaignState
from otn.console import figures
from otn.console.access import Visitor, VisitorDep
from otn.console.airflow_run import Run
from otn.console.campaign import CampaignNumber, Said, existing, show_campaign
from otn.console.database import EngineDep
from otn.console.submitted import SubmittedDep
from otn.console.triggering import NotTriggeredError, Trigger, TriggerDep
from otn.database import DatabaseError, Engine
from otn.errors import OtnError, UsageError

router = APIRouter(default_response_class=HTMLResponse)

RETRY = "otn_retry"
REASON_LIMIT = 300
_WHOM = {"waiting": "people who wait", "refused": "refused people", "unknown": "unconfirmed people"}


@router.post("/campaigns/{campaign_id}/pause")
def pause(request: Request, visitor: VisitorDep, engine: EngineDep, campaign_id: CampaignNumber) -> Response:
    """Stop calling; whoever waits keeps waiting."""
    row = existing(engine, campaign_id)

    def decide() -> str:
        control.pause(engine, campaign_id, actor=visitor.name)
        return "was_paused" if row.state == CampaignState.PAUSED else "paused"

    return _do(request, visitor, engine, campaign_id, decide)


@router.post("/campaigns/{campaign_id}/resume")
def resume(
    request: Request, visitor: VisitorDep, engine: EngineDep, trigger: TriggerDep, campaign_id: CampaignNumber
) -> Response:
    """Let it send again, and start the run that does."""
    row = existing(engine, campaign_id)

    def decide() -> str | tuple[str, Run]:
        control.resume(engine, campaign_id, actor=visitor.name)
        if row.state == CampaignState.SENDING:
            return "was_sending"
        try:
            return "resumed", _retry(trigger, row, "waiting", visitor.name)
        except (NotTriggeredError, HTTPException) as error:
            # Left as sending, it would look alive and nobody would send.
            control.pause(engine, campaign_id, actor=visitor.name)
            why = error.detail if isinstance(error, HTTPException) else error
            raise UsageError(f"{why} The campaign is paused, and everyone keeps waiting.") from None

    return _do(request, visitor, engine, campaign_id, decide)


@router.post("/campaigns/{campaign_id}/cancel")
def cancel(
    request: Request, visitor: VisitorDep, engine: EngineDep, campaign_id: CampaignNumber, typed: SubmittedDep
) -> Response:
    """Give up everyone who waits, for good."""
    row = existing(engine, campaign_id)
    reason = typed.get("reason", "").strip()
    if problem := _reason_problem(reason):
        said = Said(typed=typed, problems={"reason": problem})
        return show_campaign(request, visitor, engine, campaign_id, said, status=422)

    def decide() -> str:
        control.cancel(engine, campaign_id, actor=visitor.name, reason=reason)
        return "was_cancelled" if row.state == CampaignState.CANCELLED else "cancelled"

    return _do(request, visitor, engine, campaign_id, decide, typed=typed)


@router.post("/campaigns/{campaign_id}/retry")
def retry(
    request: Request,
    visitor: VisitorDep,
    engine: EngineDep,
    trigger: TriggerDep,
    campaign_id: CampaignNumber,
    typed: SubmittedDep,
) -> Response:
    """Start a run that takes people up again."""
    row = existing(engine, campaign_id)
    scope = typed.get("scope", "")
    if scope not in get_args(Scope):
        wrong = "Choose whom to take up again: people who wait, who were refused, or who are unconfirmed."
        return show_campaign(request, visitor, engine, campaign_id, Said(problems={"scope": wrong}), status=422)

    def decide() -> tuple[str, Run]:
        if row.state == CampaignState.CANCELLED:
            raise UsageError("It was cancelled meanwhile, so nobody of it can be taken up again.")
        if row.planned_at is None:
            raise UsageError("It has no recipients yet: they are written down when it starts.")
        return "retried", _retry(trigger, row, scope, visitor.name)

    return _do(request, visitor, engine, campaign_id, decide)


def _retry(trigger: Trigger, row: Any, scope: str, actor: str) -> Run:
    conf = {"campaign": row.key, "page": row.connection_id, "scope": scope}
    return trigger(RETRY, conf, f"{actor}, in the console: {_WHOM[scope]}")


def _do(
    request: Request,
    visitor: Visitor,
    engine: Engine,
    campaign_id: int,
    decide: Callable[[], str | tuple[str, Run]],
    typed: dict[str, str] | None = None,
) -> Response:
    """Decide, and lead back to the page; what cannot be done is said on it, with how things stand now."""
    try:
        done = decide()
    except DatabaseError:
        raise
    except OtnError as error:
        figures.forget(engine, campaign_id)
        said = Said(wrong=str(error), typed=typed or {})
        return show_campaign(request, visitor, engine, campaign_id, said, status=409)
    figures.forget(engine, campaign_id)
    word, run = done if isinstance(done, tuple) else (done, None)
    query = urlencode({"said": word, **({"run": run.run_id} if run else {})})
    return RedirectResponse(f"{request.scope.get('root_path', '')}/campaigns/{campaign_id}?{query}", 303)


def _reason_problem(reason: str) -> str | None:
    if not reason:
        return "Say why it is cancelled: the reason stays in the history, and cancelling is final."
    if len(reason) > REASON_LIMIT:
        return f"The reason has {len(reason):,} characters. Shorten it to {REASON_LIMIT}."
    return None
