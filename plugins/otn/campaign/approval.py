"""A person's yes: asked for, bound to a number of people, given or refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from otn.campaign.audience import count
from otn.campaign.control import cancel
from otn.campaign.model import CampaignState, IfLate
from otn.campaign.state import CampaignCancelledError, audit, lock, move
from otn.database import Engine, queries, transaction

CAP_TOLERANCE = 0.10  # an audience may grow so much between approval and sending without a second question
CAP_TOLERANCE_PEOPLE = 10


@dataclass(frozen=True)
class StartQuestion:
    """What a person must answer before the campaign may start.

    Args:
        kind: ``approval`` (never asked), ``late`` or ``over_cap``.
        expected: people who would get the message now.
        cap: the number that a yes covers: a tenth more, at least ten people.
        late: of another kind, and late too: the same yes covers both.
    """

    kind: Literal["approval", "late", "over_cap"]
    expected: int
    cap: int
    late: bool = False


def start_question(engine: Engine, campaign_id: int) -> StartQuestion | None:
    """What must be asked before the plan is made; None when it may be made now, or there is nothing to plan.

    A late campaign whose author chose ``if_late=cancel`` is cancelled here.
    """
    with transaction(engine) as connection:
        row = lock(connection, campaign_id)
    if row.planned_at is not None or row.state == CampaignState.CANCELLED:
        return None
    late = row.send_at is not None and row.now > row.send_at + row.late_after
    if late and row.if_late == IfLate.CANCEL:
        cancel(engine, campaign_id, actor="schedule", reason="late")
        return None
    expected = count(
        engine,
        topic_id=row.topic_id,
        include_labels=row.include_labels,
        exclude_labels=row.exclude_labels,
        max_recipients=row.max_recipients,
        chosen_by=row.filter,
    ).recipients
    kind: Literal["approval", "late", "over_cap"] | None = None
    if row.needs_approval and row.approved_at is None:
        kind = "approval"
    elif late and row.if_late == IfLate.ASK and not row.approved_late:
        kind = "late"
    elif row.approved_cap is not None and expected > row.approved_cap:
        kind = "over_cap"
    if kind is None:
        return None
    return StartQuestion(kind, expected, _cap(expected), late=kind != "late" and late and row.if_late == IfLate.ASK)


def _cap(expected: int) -> int:
    return expected + max(CAP_TOLERANCE_PEOPLE, int(expected * CAP_TOLERANCE))


def approve(engine: Engine, campaign_id: int, *, actor: str, cap: int, late: bool = False) -> None:
    """Somebody said yes.

    Args:
        engine: the project's database.
        campaign_id: ``otn.campaign.id``.
        actor: who.
        cap: people at most that the yes covers.
        late: the yes covers a late start too.
    """
    with transaction(engine) as connection:
        row = lock(connection, campaign_id)
        if row.state == CampaignState.CANCELLED:
            raise CampaignCancelledError(f"The campaign {row.key!r} was cancelled; nothing is left to approve.")
        queries("campaign").approve(connection, campaign_id=campaign_id, actor=actor, cap=cap, late=late)
        if row.state == CampaignState.AWAITING_APPROVAL:
            move(connection, campaign_id, CampaignState.SCHEDULED)
        audit(connection, actor, "approved", row, {"cap": cap, "late": late})


def reject(engine: Engine, campaign_id: int, *, actor: str, reason: str) -> None:
    """Somebody said no, or nobody answered in time: cancelled, unless another run has started it meanwhile."""
    with transaction(engine) as connection:
        row = lock(connection, campaign_id)
        if row.state in {CampaignState.DRAFT, CampaignState.AWAITING_APPROVAL, CampaignState.SCHEDULED}:
            move(connection, campaign_id, CampaignState.CANCELLED)
            audit(connection, actor, "rejected", row, {"reason": reason})
