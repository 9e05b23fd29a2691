"""A campaign's row: held, moved from state to state, and every decision about it written down."""

from __future__ import annotations

import json
from typing import Any

from otn.campaign.model import CampaignState
from otn.database import PsycopgConnection, queries
from otn.errors import UsageError


class CampaignCancelledError(UsageError):
    """The campaign was cancelled. Use a new key."""


class CampaignUnknownError(UsageError):
    """There is no such campaign."""


def lock(connection: PsycopgConnection, campaign_id: int) -> Any:
    """The campaign's row, held until the transaction ends.

    Raises:
        CampaignUnknownError: there is none of this id.
    """
    row = queries("campaign").lock_campaign(connection, campaign_id=campaign_id)
    if row is None:
        raise CampaignUnknownError(f"There is no campaign number {campaign_id}. Look at `./otn campaigns list`.")
    return row


def move(connection: PsycopgConnection, campaign_id: int, state: CampaignState, reason: str | None = None) -> None:
    """Take a campaign to another state; the schema refuses a step that is not in its table of transitions."""
    queries("campaign").change_state(connection, campaign_id=campaign_id, state=state.value, reason=reason)


def audit(connection: PsycopgConnection, actor: str, action: str, row: Any, detail: dict[str, Any]) -> None:
    """Write down who did what to a campaign."""
    queries("campaign").write_audit(
        connection,
        actor=actor,
        action=action,
        page_id=row.page_id,
        campaign_id=row.id,
        detail=json.dumps(detail),
    )
