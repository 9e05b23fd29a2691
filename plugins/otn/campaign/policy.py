"""Warnings of the platform: what sends for the page is paused, once, until a person has looked."""

from __future__ import annotations

from otn.campaign.model import CampaignState
from otn.campaign.state import audit, move
from otn.database import Engine, queries, transaction


def heed_warnings(engine: Engine) -> list[str]:
    """Pause what sends for pages that the platform has warned since the last look; answers the campaigns' keys.

    A campaign that a person resumes afterwards goes on: each warning speaks once. Not done by the ingest itself, which
    holds recipients' rows already where a campaign's row must come first.

    Args:
        engine: the project's database.
    """
    with transaction(engine) as connection:
        warned = list(queries("page").unheeded_warnings(connection))
    paused: list[str] = []
    for warning in warned:
        with transaction(engine) as connection:
            rows = list(queries("page").sending_campaigns(connection, page_id=warning.page_id))
            if not queries("page").heed_warning(connection, page_id=warning.page_id, event_id=warning.event_id):
                continue
            for row in rows:
                move(connection, row.id, CampaignState.PAUSED)
                audit(connection, "platform", "paused", row, {"reason": f"policy_enforcement: {warning.detail}"})
                paused.append(row.key)
    return paused
