"""Decisions about a campaign: opened, approved, paused, resumed, cancelled, retried, ended."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from otn.campaign.model import CampaignSpec, CampaignState
from otn.campaign.state import CampaignCancelledError, CampaignUnknownError, audit, lock, move
from otn.consent.pages import refuse_held
from otn.database import Engine, PsycopgConnection, queries, transaction
from otn.epoch.guard import refuse_halted
from otn.errors import UsageError

Scope = Literal["waiting", "refused", "unknown"]
RESUMABLE = (CampaignState.PAUSED, CampaignState.HALTED, CampaignState.INTERRUPTED)


class ContentDiffersError(UsageError):
    """A campaign of this key exists with other content. Use a new key, or trigger it with the same content."""


@dataclass(frozen=True)
class Campaign:
    """A campaign as a run finds it.

    Args:
        id: ``otn.campaign.id``.
        key: unique per page.
        state: see ``CampaignState``.
        needs_approval: a person must say yes, or had to.
        approved: somebody said yes.
        send_at: not before, if set.
        planned: the recipients are written down.
        nothing_to_send: finished, with nobody in doubt.
    """

    id: int
    key: str
    state: CampaignState
    needs_approval: bool
    approved: bool
    send_at: Any
    planned: bool
    nothing_to_send: bool


def open_campaign(
    engine: Engine,
    spec: CampaignSpec,
    *,
    page_row_id: int,
    facebook_page_id: str,
    topic_row_id: int,
    topic_key: str,
    actor: str,
    keep_content: bool = False,
) -> Campaign:
    """Write the campaign down, or find the one of the same key and take it up where it stands.

    Args:
        engine: the project's database.
        spec: what the author wrote.
        page_row_id: ``otn.page.id``.
        facebook_page_id: Facebook's id of the page.
        topic_row_id: ``otn.topic.id``.
        topic_key: key of the topic.
        actor: who triggered it.
        keep_content: where the key is taken by other content, take that up as it was agreed on.

    Raises:
        ContentDiffersError: the key is taken by other content.
        CampaignCancelledError: it was cancelled.
        SendingHaltedError: it would go on, and the database may have been restored.
    """
    content_hash = spec.content_hash(facebook_page_id, topic_key)
    settings = {
        "send_at": spec.send_at,
        "if_late": spec.if_late.value,
        "late_after_s": spec.late_after.total_seconds(),
        "canary": spec.canary,
        "canary_labels": sorted(set(spec.canary_labels)),
        "max_refused": spec.max_refused,
        "needs_approval": spec.approval,
        "result_labels": json.dumps({state: list(labels) for state, labels in spec.result_labels.items()}),
    }
    with transaction(engine) as connection:
        queries("campaign").open_campaign(
            connection,
            page_id=page_row_id,
            topic_id=topic_row_id,
            key=spec.key,
            message=json.dumps(spec.message),
            include_labels=sorted(set(spec.include_labels)),
            exclude_labels=sorted(set(spec.exclude_labels)),
            max_recipients=spec.max_recipients,
            filter=json.dumps(dict(spec.filter)),
            content_hash=content_hash,
            actor=actor,
            **settings,
        )
        row = queries("campaign").lock_campaign_by_key(connection, page_id=page_row_id, key=spec.key)
        if bytes(row.content_hash) != content_hash and not keep_content:
            raise ContentDiffersError(
                f"The campaign {spec.key!r} exists on this page with another message, topic or audience. "
                "Use a new key, or trigger it with exactly the same content to resume it."
            )
        if row.state == CampaignState.CANCELLED:
            raise CampaignCancelledError(
                f"The campaign {spec.key!r} was cancelled. Use a new key to send it after all."
            )
        if row.state == CampaignState.SCHEDULED and spec.approval and row.approved_at is None:
            move(connection, row.id, CampaignState.AWAITING_APPROVAL)  # the second trigger wants what the first did not
        queries("campaign").reschedule(connection, campaign_id=row.id, **settings)
        if row.state == CampaignState.DRAFT:
            first = CampaignState.AWAITING_APPROVAL if row.needs_approval else CampaignState.SCHEDULED
            move(connection, row.id, first)
            audit(connection, actor, "opened", row, {"state": first.value})
        else:
            _take_up(connection, row, actor)
        return _campaign(connection, row.id)


def _take_up(connection: PsycopgConnection, row: Any, actor: str) -> None:
    unknown = queries("campaign").remaining(connection, campaign_id=row.id).unknown
    if row.state == CampaignState.SENDING:
        _free_page(connection, row)
        queries("campaign").let_waiting_go(connection, campaign_id=row.id)
    elif row.state in RESUMABLE or (row.state == CampaignState.FINISHED and unknown):
        _resume(connection, row, actor)


def _resume(connection: PsycopgConnection, row: Any, actor: str) -> None:
    """A person takes responsibility: the stop rules start anew, the page is tried again."""
    queries("campaign").clear_stop_window(connection, campaign_id=row.id)
    _free_page(connection, row)
    queries("campaign").let_waiting_go(connection, campaign_id=row.id)
    move(connection, row.id, CampaignState.SENDING)
    audit(connection, actor, "resumed", row, {"from": row.state})


def _free_page(connection: PsycopgConnection, row: Any) -> None:
    """Try the page again, unless the platform or a person holds it: that is another person's word to give."""
    refuse_held(connection, row.page_id)
    refuse_halted(connection)
    queries("campaign").resume_page(connection, page_id=row.page_id)


def _campaign(connection: PsycopgConnection, campaign_id: int) -> Campaign:
    row = lock(connection, campaign_id)
    unknown = queries("campaign").remaining(connection, campaign_id=campaign_id).unknown
    return Campaign(
        id=row.id,
        key=row.key,
        state=CampaignState(row.state),
        needs_approval=row.needs_approval,
        approved=row.approved_at is not None,
        send_at=row.send_at,
        planned=row.planned_at is not None,
        nothing_to_send=row.state == CampaignState.FINISHED and not unknown,
    )


def get(engine: Engine, campaign_id: int) -> Campaign:
    """The campaign as it stands."""
    with transaction(engine) as connection:
        return _campaign(connection, campaign_id)


def find(engine: Engine, connection_id: str, key: str) -> int:
    """Id of the campaign that a person names by page connection and key.

    Raises:
        CampaignUnknownError: there is none.
    """
    with transaction(engine) as connection:
        row = queries("campaign").find_campaign_by_key(connection, connection_id=connection_id, key=key)
    if row is None:
        raise CampaignUnknownError(
            f"There is no campaign {key!r} on the page {connection_id!r}. `./otn campaigns list` shows what there is."
        )
    return int(row.id)


def listing(engine: Engine, most: int = 100) -> list[dict[str, Any]]:
    """Campaigns, newest first."""
    with transaction(engine) as connection:
        return [row._asdict() for row in queries("campaign").list_campaigns(connection, most=most)]


def pause(engine: Engine, campaign_id: int, *, actor: str) -> None:
    """Stop claiming; calls that are under way end (2 s of the page's pace at most)."""
    with transaction(engine) as connection:
        row = lock(connection, campaign_id)
        if row.state == CampaignState.PAUSED:
            return
        if row.state != CampaignState.SENDING:
            raise UsageError(f"The campaign {row.key!r} is {row.state}; only one that is sending can be paused.")
        move(connection, campaign_id, CampaignState.PAUSED)
        audit(connection, actor, "paused", row, {})


def resume(engine: Engine, campaign_id: int, *, actor: str) -> None:
    """Let a paused, halted or interrupted campaign send again; a run must be triggered to do it."""
    with transaction(engine) as connection:
        row = lock(connection, campaign_id)
        if row.state == CampaignState.SENDING:
            return
        if row.state not in RESUMABLE:
            raise UsageError(f"The campaign {row.key!r} is {row.state}; there is nothing to resume.")
        _resume(connection, row, actor)


def cancel(engine: Engine, campaign_id: int, *, actor: str, reason: str = "") -> None:
    """Give up everyone who waits; their tokens are free again. What is in doubt stays in doubt."""
    with transaction(engine) as connection:
        row = lock(connection, campaign_id)
        if row.state == CampaignState.CANCELLED:
            return
        if row.state == CampaignState.FINISHED:
            raise UsageError(f"The campaign {row.key!r} is finished; there is nothing to cancel.")
        given_up = queries("campaign").cancel_waiting(connection, campaign_id=campaign_id)
        move(connection, campaign_id, CampaignState.CANCELLED)
        audit(connection, actor, "cancelled", row, {"waiting": given_up, "reason": reason})


def halt(connection: PsycopgConnection, row: Any, reason: str, *, page: bool = False) -> None:
    """A stop rule speaks: inside the transaction that recorded what made it speak.

    Args:
        connection: that transaction.
        row: the campaign's row, locked.
        reason: shown to people.
        page: the whole page is halted, not only this campaign.
    """
    if page:
        queries("campaign").halt_page(connection, page_id=row.page_id, reason=reason)
    if row.state == CampaignState.SENDING:
        move(connection, row.id, CampaignState.HALTED, reason)
        audit(connection, "stop rule", "halted", row, {"reason": reason, "page": page})


def retry(engine: Engine, campaign_id: int, *, scope: Scope, actor: str) -> int:
    """Make rows ready for another run; answers how many.

    Args:
        engine: the project's database.
        campaign_id: ``otn.campaign.id``.
        scope: ``waiting`` (call them now), ``refused`` (only what is worth a retry), ``unknown`` (ask again).
        actor: who.

    Raises:
        CampaignCancelledError: it was cancelled.
        UsageError: it was never planned.
    """
    with transaction(engine) as connection:
        row = lock(connection, campaign_id)
        if row.state == CampaignState.CANCELLED:
            raise CampaignCancelledError(f"The campaign {row.key!r} was cancelled; nothing of it can be retried.")
        if row.planned_at is None:
            raise UsageError(
                f"The campaign {row.key!r} is {row.state} and has no recipients yet. Trigger otn_broadcast."
            )
        queries("recipient").expire_leases(connection, campaign_id=campaign_id)
        if scope == "refused":
            queries("campaign").lock_planning(connection, page_id=row.page_id)
            touched = queries("campaign").retry_refused(connection, campaign_id=campaign_id)
        elif scope == "unknown":
            touched = queries("campaign").ask_unknown_now(connection, campaign_id=campaign_id)
        else:
            queries("campaign").let_waiting_go(connection, campaign_id=campaign_id)
            touched = queries("campaign").remaining(connection, campaign_id=campaign_id).waiting
        if touched and row.state != CampaignState.SENDING:
            _resume(connection, row, actor)
        audit(connection, actor, "retried", row, {"scope": scope, "rows": touched})
        return int(touched)


def end_run(engine: Engine, campaign_id: int) -> CampaignState:
    """Write how the run ended: finished when nobody waits and nobody is in a call, interrupted otherwise.

    While another run has people in its calls, the campaign stays as it is: that run writes the end.
    """
    with transaction(engine) as connection:
        row = lock(connection, campaign_id)
        if row.state not in {CampaignState.SENDING, CampaignState.INTERRUPTED}:
            return CampaignState(row.state)
        left = queries("campaign").remaining(connection, campaign_id=campaign_id)
        if left.in_call:
            return CampaignState(row.state)
        end = CampaignState.INTERRUPTED if left.waiting or left.sending else CampaignState.FINISHED
        if end == row.state:
            return end
        move(connection, campaign_id, end)
        audit(
            connection,
            "run",
            end.value,
            row,
            {"waiting": left.waiting, "sending": left.sending, "unknown": left.unknown},
        )
        return end
