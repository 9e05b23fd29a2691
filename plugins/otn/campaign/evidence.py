"""Evidence from outside the call: echoes, delivery reports, reads."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from otn.campaign.state import lock
from otn.database import Engine, PsycopgConnection, queries, transaction

SLICE = 10_000


def settle(connection: PsycopgConnection, event_ids: Sequence[int]) -> None:
    """Let events settle and annotate rows; ingest calls it inside the transaction that stores them.

    Args:
        connection: that transaction.
        event_ids: ``otn.event.id`` of what is new.
    """
    if not event_ids:
        return
    ids = list(event_ids)
    queries("evidence").settle_echoes(connection, event_ids=ids)
    queries("evidence").annotate_deliveries(connection, event_ids=ids)
    queries("evidence").annotate_reads(connection, event_ids=ids)


def settle_campaign(engine: Engine, campaign_id: int) -> None:
    """Look once more at everything stored for the people of a campaign: it may have come before the answer."""
    with transaction(engine) as connection:
        since: datetime | None = lock(connection, campaign_id).planned_at
        if since is None:
            return
        rows = list(queries("evidence").events_of_campaign(connection, campaign_id=campaign_id, since=since))
    ids = [row.id for row in rows]
    for first in range(0, len(ids), SLICE):
        with transaction(engine) as connection:
            settle(connection, ids[first : first + SLICE])
