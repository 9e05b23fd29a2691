"""A person's yes: asked for, bound to what was shown and to a number of people, given or refused."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

from otn.campaign.approvers import ANYBODYS, Voice
from otn.campaign.audience import count
from otn.campaign.control import cancel
from otn.campaign.model import CampaignSpec, CampaignState, IfLate
from otn.campaign.state import CampaignCancelledError, audit, lock, move
from otn.database import Engine, PsycopgConnection, queries, transaction
from otn.errors import UsageError

CAP_TOLERANCE = 0.10  # an audience may grow so much between approval and sending without a second question
CAP_TOLERANCE_PEOPLE = 10
SHORT_HASH = 12  # of 64 hexadecimal digits: enough to tell campaigns apart by eye


class YesNotTakenError(UsageError):
    """The yes does not count. It is asked again."""


@dataclass(frozen=True)
class StartQuestion:
    """What a person must answer before the campaign may start.

    Args:
        kind: ``approval`` (never asked, or what was approved is not what stands there), ``late`` or ``over_cap``.
        expected: people who would get the message now.
        cap: the number that a yes covers: a tenth more, at least ten people.
        late: of another kind, and late too: the same yes covers both.
        changed: somebody said yes to other content.
        content: hash of what is asked about, see ``content_of``.
    """

    kind: Literal["approval", "late", "over_cap"]
    expected: int
    cap: int
    late: bool = False
    changed: bool = False
    content: str = field(default="", compare=False)


@dataclass(frozen=True)
class Asking:
    """The task that asks, as Airflow names it.

    Args:
        dag: its DAG.
        run: its run.
        task: itself.
    """

    dag: str
    run: str
    task: str


@dataclass(frozen=True)
class Asked:
    """A question as it was shown.

    Args:
        at: since when.
        actor: whose run asks, as ``name (dag run)``.
        by: the task that asks.
        kind: see ``StartQuestion``.
        late: about a late start too.
        content: hash of what was shown.
        cap: people at most that a yes covers.
    """

    at: datetime
    actor: str
    by: Asking
    kind: str
    late: bool
    content: str
    cap: int

    def fits(self, question: StartQuestion) -> bool:
        """Whether a yes to it would answer what must be asked now."""
        same = (self.kind, self.late, self.content) == (question.kind, question.late, question.content)
        return same and question.expected <= self.cap


def content_of(connection: PsycopgConnection, campaign_id: int) -> str:
    """Hash of what is sent and to whom, in 64 hexadecimal digits.

    Made from what the row holds now, not read from the column beside it: a yes must not cover what was put there
    behind the trigger that freezes it, nor a page or a topic that changed its name.
    """
    row = queries("campaign").find_campaign(connection, campaign_id=campaign_id)
    spec = CampaignSpec(
        key=row.key,
        message=row.message,
        include_labels=tuple(row.include_labels),
        exclude_labels=tuple(row.exclude_labels),
        max_recipients=row.max_recipients,
        filter=row.filter,
    )
    return spec.content_hash(row.facebook_page_id, row.topic_key).hex()


def is_changed(connection: PsycopgConnection, row: Any) -> bool:
    """Whether somebody said yes to other content than what stands there now.

    A yes that names no hash was given before hashes were written down, and counts.

    Args:
        connection: in a transaction.
        row: the campaign's.
    """
    if row.approved_at is None:
        return False
    approved = queries("campaign").approved_content(connection, campaign_id=row.id)
    return approved is not None and approved != content_of(connection, row.id)


def start_question(engine: Engine, campaign_id: int) -> StartQuestion | None:
    """What must be asked before the plan is made; None when it may be made now, or there is nothing to plan.

    A late campaign whose author chose ``if_late=cancel`` is cancelled here.
    """
    with transaction(engine) as connection:
        row = lock(connection, campaign_id)
        content, changed = content_of(connection, campaign_id), is_changed(connection, row)
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
    if changed or (row.needs_approval and row.approved_at is None):
        kind = "approval"
    elif late and row.if_late == IfLate.ASK and not row.approved_late:
        kind = "late"
    elif row.approved_cap is not None and expected > row.approved_cap:
        kind = "over_cap"
    if kind is None:
        return None
    also_late = kind != "late" and late and row.if_late == IfLate.ASK
    return StartQuestion(kind, expected, _cap(expected), late=also_late, changed=changed, content=content)


def _cap(expected: int) -> int:
    return expected + max(CAP_TOLERANCE_PEOPLE, int(expected * CAP_TOLERANCE))


def note_question(engine: Engine, campaign_id: int, question: StartQuestion, *, actor: str, by: Asking) -> None:
    """Write down that somebody is asked, and about what.

    Args:
        engine: the project's database.
        campaign_id: ``otn.campaign.id``.
        question: what is asked.
        actor: whose run asks.
        by: the task that asks.
    """
    detail = {
        **asdict(by),
        "kind": question.kind,
        "late": question.late,
        "hash": question.content,
        "cap": question.cap,
    }
    with transaction(engine) as connection:
        audit(connection, actor, "asked", lock(connection, campaign_id), detail)


def waiting_question(connection: PsycopgConnection, campaign_id: int) -> Asked | None:
    """The latest question about a campaign, if nobody has answered it for good."""
    return _asked(queries("campaign").waiting_question(connection, campaign_id=campaign_id))


def asked_by(engine: Engine, campaign_id: int, by: Asking) -> Asked | None:
    """What this task has shown: Airflow keeps the words of its first question, whatever it asks later.

    Source: ``upsert_hitl_detail`` of Airflow 3.3 (execution API, ``routes/hitl.py``), which only empties the answer of
    a question that is there; a cleared or retried task takes its question along.
    """
    with transaction(engine) as connection:
        return _asked(queries("campaign").question_of_task(connection, campaign_id=campaign_id, **asdict(by)))


def _asked(row: Any) -> Asked | None:
    if row is None:
        return None
    told = row.detail
    by = Asking(told["dag"], told["run"], told["task"])
    return Asked(row.at, row.actor, by, told["kind"], told["late"], told["hash"], told["cap"])


def why_again(engine: Engine, campaign_id: int) -> str | None:
    """Why the yes to the latest question did not count; None: nobody has said one in vain."""
    with transaction(engine) as connection:
        found = queries("campaign").yes_not_taken(connection, campaign_id=campaign_id)
    return str(found) if found else None


def approve(
    engine: Engine,
    campaign_id: int,
    *,
    actor: str,
    cap: int,
    late: bool = False,
    content: str | None = None,
    voice: Voice = ANYBODYS,
) -> None:
    """Somebody said yes.

    Args:
        engine: the project's database.
        campaign_id: ``otn.campaign.id``.
        actor: who, for the audit.
        cap: people at most that the yes covers.
        late: the yes covers a late start too.
        content: hash of what was shown; None: of what stands there now.
        voice: whose yes it is, and whose counts.

    Raises:
        CampaignCancelledError: nothing is left to approve.
        YesNotTakenError: it does not count, and nothing was changed but the audit.
    """
    with transaction(engine) as connection:
        row = lock(connection, campaign_id)
        if row.state == CampaignState.CANCELLED:
            raise CampaignCancelledError(f"The campaign {row.key!r} was cancelled; nothing is left to approve.")
        now = content_of(connection, campaign_id)
        why = voice.why_not(row.created_by)
        if content is not None and content != now:
            why = f"the content was changed after it was shown: {content[:SHORT_HASH]} then, {now[:SHORT_HASH]} now"
        if why is None:
            queries("campaign").approve(connection, campaign_id=campaign_id, actor=actor, cap=cap, late=late)
            if row.state == CampaignState.AWAITING_APPROVAL:
                move(connection, campaign_id, CampaignState.SCHEDULED)
            audit(connection, actor, "approved", row, {"cap": cap, "late": late, "hash": now})
        else:
            audit(connection, actor, "yes not taken", row, {"why": why})
    if why is not None:
        raise YesNotTakenError(f"The yes is not taken: {why}. Nothing is cancelled; it is asked again.")


def reject(engine: Engine, campaign_id: int, *, actor: str, reason: str) -> None:
    """Somebody said no, or nobody answered in time: cancelled, unless another run has started it meanwhile."""
    with transaction(engine) as connection:
        row = lock(connection, campaign_id)
        if row.state in {CampaignState.DRAFT, CampaignState.AWAITING_APPROVAL, CampaignState.SCHEDULED}:
            move(connection, campaign_id, CampaignState.CANCELLED)
            audit(connection, actor, "rejected", row, {"reason": reason})
