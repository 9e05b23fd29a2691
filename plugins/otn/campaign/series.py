"""A series: the campaigns that one file makes, each for an interval of its own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from otn.campaign.model import CampaignState
from otn.campaign.state import audit, lock, move
from otn.database import Engine, PsycopgConnection, queries, transaction

UNPLANNED = (CampaignState.DRAFT, CampaignState.AWAITING_APPROVAL, CampaignState.SCHEDULED)


@dataclass(frozen=True)
class Covered:
    """Another campaign of the series covers a part of an interval.

    Args:
        key: of that campaign.
        start: of its interval.
        end: of its interval.
    """

    key: str
    start: datetime
    end: datetime


def note(
    engine: Engine, page_row_id: int, campaign_id: int | None, *, actor: str, action: str, detail: dict[str, Any]
) -> None:
    """Write down what a file said when a run read it, and what was done by it."""
    with transaction(engine) as connection:
        queries("campaign").write_audit(
            connection,
            actor=actor,
            action=action,
            page_id=page_row_id,
            campaign_id=campaign_id,
            detail=json.dumps(detail),
        )


def opened_on(engine: Engine, key: str) -> list[str]:
    """Connection ids of the pages on which there is a campaign of this key, the oldest first."""
    with transaction(engine) as connection:
        return [row.connection_id for row in queries("series").pages_of_key(connection, key=key)]


def give_way(
    engine: Engine, campaign_id: int, *, prefix: str, start: datetime, end: datetime, actor: str
) -> Covered | None:
    """Cancel a campaign that is not planned yet when another one of its series covers a part of its interval.

    Happens when the schedule was changed: the old and the new intervals overlap, and whoever has two tokens would
    hear the same news twice. Of two that look at once, exactly one stays.

    Args:
        engine: the project's database.
        campaign_id: ``otn.campaign.id``.
        prefix: what the keys of the series begin with, such as ``spring/``.
        start: of the interval.
        end: of the interval.
        actor: who.
    """
    with transaction(engine) as connection:
        row = lock(connection, campaign_id)
        queries("campaign").lock_planning(connection, page_id=row.page_id)
        if row.state not in UNPLANNED:
            return None
        other = _covered(connection, row, prefix, start, end)
        if other is not None:
            move(connection, campaign_id, CampaignState.CANCELLED)
            audit(connection, actor, "cancelled", row, {"reason": "covered", "by": other.key})
        return other


def _covered(connection: PsycopgConnection, row: Any, prefix: str, start: datetime, end: datetime) -> Covered | None:
    found = queries("series").neighbours(
        connection, page_id=row.page_id, campaign_id=row.id, prefix=prefix, start=start
    )
    for other in list(found):
        try:
            began = datetime.fromisoformat(other.key.removeprefix(prefix))
        except ValueError:  # a key that somebody gave by hand
            continue
        if began.tzinfo is not None and began < end:
            return Covered(other.key, began, other.send_at)
    return None


def move_send_at(engine: Engine, campaign_id: int, send_at: datetime, *, actor: str) -> bool:
    """Move the moment of a campaign that is not planned yet.

    Returns:
        Whether it was another one before.
    """
    with transaction(engine) as connection:
        row = lock(connection, campaign_id)
        if row.state not in UNPLANNED or row.send_at == send_at:
            return False
        queries("series").move_send_at(connection, campaign_id=campaign_id, send_at=send_at)
        audit(connection, actor, "rescheduled", row, {"from": str(row.send_at), "to": str(send_at)})
        return True
