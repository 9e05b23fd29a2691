"""Reports: the figures of a campaign, why its run is red, and one row per recipient."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from otn.campaign.model import CampaignState
from otn.campaign.state import CampaignUnknownError
from otn.database import Engine, queries, transaction
from otn.pace import read_quota, waits_for_quota

EXPORT_ROWS = 10_000
EXPORT_COLUMNS = (
    "subscriber_id",
    "state",
    "evidence",
    "message_id",
    "error_code",
    "error_subcode",
    "reason",
    "attempts",
    "unanswered",
    "chunk",
    "opted_in_at",
    "sent_at",
    "delivered_at",
    "read_at",
    "updated_at",
)
PSID = "psid"
ENDED = frozenset({CampaignState.FINISHED, CampaignState.CANCELLED})
# The person blocked the page (or the like) after a call without an answer: asking cannot settle it, nobody can act.
NOBODY_CAN_SETTLE = frozenset({"refused_in_doubt", "erased"})


def report(engine: Engine, campaign_id: int) -> dict[str, Any]:
    """Figures of a campaign, from one moment.

    ``audience`` = ``planned`` + everyone excluded; ``planned`` = waiting + sending + sent + refused + unknown +
    cancelled + everyone skipped. ``sent_inferred``, ``delivered`` and ``read`` are parts of ``sent``.

    Raises:
        CampaignUnknownError: there is none of this id.
    """
    with transaction(engine) as connection:
        connection.cursor().execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        row = queries("campaign").find_campaign(connection, campaign_id=campaign_id)
        if row is None:
            raise CampaignUnknownError(f"There is no campaign number {campaign_id}. Look at `./otn campaigns list`.")
        figures = queries("report").figures(connection, campaign_id=campaign_id)
        excluded = {one.reason: one.people for one in queries("report").excluded(connection, campaign_id=campaign_id)}
        skipped = {one.reason: one.people for one in queries("report").skipped(connection, campaign_id=campaign_id)}
        errors = {one.error: one.people for one in queries("report").errors(connection, campaign_id=campaign_id)}
        doubts = {
            one.reason: one.people for one in queries("report").unknown_reasons(connection, campaign_id=campaign_id)
        }
        elsewhere = queries("report").spent_elsewhere(connection, campaign_id=campaign_id)
        quota = waits_for_quota(read_quota(connection, row.page_id))
    return {
        "campaign": row.key,
        "page": row.connection_id,
        "topic": row.topic_key,
        "state": row.state,
        "audience": figures.planned + sum(excluded.values()),
        "excluded": excluded,
        "planned": figures.planned,
        "waiting": figures.waiting,
        "sending": figures.sending,
        "sent": figures.sent,
        "sent_inferred": figures.sent_inferred,
        "refused": figures.refused,
        "unknown": figures.unknown,
        "cancelled": figures.cancelled,
        "skipped": skipped,
        "delivered": figures.delivered,
        "read": figures.read,
        "errors": errors,
        "unknown_reasons": doubts,
        "tokens_spent": figures.tokens_spent,
        "spent_elsewhere": elsewhere,
        "waits_for": quota if row.state == CampaignState.SENDING and figures.waiting else None,
        "halt_reason": row.halt_reason or (row.page_halt_reason if row.state not in ENDED else None),
        "max_refused": float(row.max_refused),
        "started_at": row.started_at.isoformat() if row.started_at else None,
        "finished_at": row.finished_at.isoformat() if row.finished_at else None,
    }


def problems(figures: dict[str, Any]) -> list[str]:
    """Why a person must act: each a sentence; none when the run is green. People who blocked the page are normal.

    So are those who did so after a call that nobody knows the end of, and people in doubt who were erased: they stay
    unknown, and no question settles it.
    While a campaign is sending, waiting and doubt are on their way to an end and no problem yet.

    Args:
        figures: what ``report`` gave.
    """
    found = []
    if figures["state"] == CampaignState.HALTED or figures["halt_reason"]:
        found.append(f"The campaign is halted: {figures['halt_reason']}")
    if figures["state"] == CampaignState.PAUSED:
        found.append("The campaign is paused. Trigger it again with the same key to go on.")
    under_way = figures["state"] == CampaignState.SENDING
    if figures["waiting"] + figures["sending"] and figures["state"] != CampaignState.PAUSED and not under_way:
        left = figures["waiting"] + figures["sending"]
        found.append(f"{left} people still wait. Trigger it again with the same key to go on.")
    doubts = {
        reason: people for reason, people in figures["unknown_reasons"].items() if reason not in NOBODY_CAN_SETTLE
    }
    if doubts and not under_way and figures["state"] != CampaignState.CANCELLED:
        reasons = ", ".join(f"{reason}: {people}" for reason, people in doubts.items())
        found.append(
            f"Of {sum(doubts.values())} people nobody knows whether they got the message ({reasons}). "
            "Run otn_retry with scope unknown; an echo may settle them too."
        )
    answered = figures["sent"] + figures["refused"]
    if figures["refused"] > figures["max_refused"] * max(answered, 1):
        found.append(f"{figures['refused']} of {answered} people were refused, more than max_refused allows.")
    if figures["spent_elsewhere"]:
        found.append(
            f"{figures['spent_elsewhere']} tokens had been spent before this campaign tried them. "
            "Find out who else sends with this page's tokens."
        )
    return found


def export_columns(*, with_psid: bool) -> tuple[str, ...]:
    """Headings of an export; a campaign without recipients has them too."""
    return (EXPORT_COLUMNS[0], PSID, *EXPORT_COLUMNS[1:]) if with_psid else EXPORT_COLUMNS


def export_rows(engine: Engine, campaign_id: int) -> Iterator[dict[str, Any]]:
    """One dictionary per recipient, in key order, read in slices so that a million rows need no memory."""
    after = 0
    while True:
        with transaction(engine) as connection:
            rows = list(
                queries("report").export_rows(connection, campaign_id=campaign_id, after=after, most=EXPORT_ROWS)
            )
        if not rows:
            return
        for row in rows:
            yield row._asdict()
        after = rows[-1].subscriber_id
