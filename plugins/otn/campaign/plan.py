"""The plan: written once, in one transaction, at the moment of sending."""

from __future__ import annotations

import json
from dataclasses import dataclass

from otn.campaign.approval import is_changed
from otn.campaign.model import CampaignState
from otn.campaign.state import lock
from otn.database import Engine, queries, transaction
from otn.epoch import guard
from otn.errors import OtnError
from otn.rendering import compile_message

CHUNK_SECONDS = 60
UNPACED_PER_SECOND = 5_000.0  # a cautious guess of what one sender does when the page's pace is switched off
MANY = 10_000  # rows at once, of which Postgres should know before they are claimed


class NotStartableError(OtnError):
    """The campaign may not be planned now."""


@dataclass(frozen=True)
class Plan:
    """What planning wrote, or what an earlier run had written.

    Args:
        planned: people who are to get the message.
        excluded: people left out, each with a reason.
        chunks: number of the last chunk; chunk 0 is the canary.
    """

    planned: int
    excluded: int
    chunks: int


def plan(engine: Engine, campaign_id: int, *, messages_per_second: float | None) -> Plan:
    """Write recipients, reasons and chunks; a campaign that is planned already is left as it is.

    Args:
        engine: the project's database.
        campaign_id: ``otn.campaign.id``.
        messages_per_second: what senders of this message may count on (``Pace.shared_rate``), which sizes the chunks to
            about a minute; None: no pace.

    Raises:
        NotStartableError: it is not approved yet, or was stopped.
        SendingHaltedError: the database may have been restored.
        EpochFileError: nothing may be sent from here.
    """
    guard.check(engine)
    made = _plan(engine, campaign_id, messages_per_second)
    if made.planned >= MANY:
        with transaction(engine) as connection:
            queries("campaign").count_rows_anew(connection)
    return made


def _plan(engine: Engine, campaign_id: int, messages_per_second: float | None) -> Plan:
    with transaction(engine) as connection:
        campaign = lock(connection, campaign_id)
        if campaign.planned_at is not None:
            return _existing(connection, campaign_id, campaign.chunks)
        if campaign.state != CampaignState.SCHEDULED:
            raise NotStartableError(
                f"The campaign {campaign.key!r} is {campaign.state} and cannot be planned. "
                "Approve it, or trigger it again once it may start."
            )
        if is_changed(connection, campaign):
            raise NotStartableError(
                f"What the campaign {campaign.key!r} says, or to whom, is not what was approved. "
                "Trigger it again with the same key: it asks again."
            )
        queries("campaign").lock_planning(connection, page_id=campaign.page_id)
        queries("campaign").gather(connection)
        row = queries("campaign").plan_recipients(
            connection,
            campaign_id=campaign_id,
            topic_id=campaign.topic_id,
            include_labels=campaign.include_labels,
            exclude_labels=campaign.exclude_labels,
            max_recipients=campaign.max_recipients,
            filter=json.dumps(campaign.filter),
            canary=campaign.canary,
            canary_labels=campaign.canary_labels,
            rows_per_chunk=max(1, round((messages_per_second or UNPACED_PER_SECOND) * CHUNK_SECONDS)),
            fields=sorted(compile_message(campaign.message).fields),
        )
        if campaign.approved_cap is not None and row.planned > campaign.approved_cap:
            raise NotStartableError(
                f"{row.planned} people would get the campaign {campaign.key!r}, more than the {campaign.approved_cap} "
                "that were approved. Trigger it again with the same key: it asks again."
            )
        queries("campaign").mark_planned(connection, campaign_id=campaign_id, chunks=row.chunks)
        return Plan(planned=row.planned, excluded=row.excluded, chunks=row.chunks)


def _existing(connection: object, campaign_id: int, chunks: int) -> Plan:
    figures = queries("report").figures(connection, campaign_id=campaign_id)
    excluded = sum(row.people for row in queries("report").excluded(connection, campaign_id=campaign_id))
    return Plan(planned=figures.planned, excluded=excluded, chunks=chunks)


def waiting_chunks(engine: Engine, campaign_id: int) -> list[int]:
    """Chunks with somebody waiting, without the canary (chunk 0)."""
    with transaction(engine) as connection:
        rows = queries("campaign").chunks_waiting(connection, campaign_id=campaign_id)
        return [row.chunk for row in rows if row.chunk > 0]
