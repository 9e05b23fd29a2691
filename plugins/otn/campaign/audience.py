"""Whom a campaign would reach now, with a reason for everyone else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from otn.campaign.model import Audience
from otn.database import Engine, queries, transaction


def unspent(engine: Engine, topic_id: int) -> int:
    """Tokens of a topic that a campaign could still spend, whoever holds them."""
    with transaction(engine) as connection:
        return int(queries("campaign").count_unspent(connection, topic_id=topic_id))


def count(
    engine: Engine,
    *,
    topic_id: int,
    include_labels: Sequence[str],
    exclude_labels: Sequence[str],
    max_recipients: int | None,
    chosen_by: Mapping[str, Any] | None = None,
) -> Audience:
    """Count without planning; writes nothing.

    Args:
        engine: the project's database.
        topic_id: ``otn.topic.id``.
        include_labels: people must carry all of them.
        exclude_labels: people must carry none of them.
        max_recipients: at most so many, the soonest to expire first; None: everyone.
        chosen_by: the campaign's filter, see ``CampaignSpec``.
    """
    filters = {
        "topic_id": topic_id,
        "include_labels": list(include_labels),
        "exclude_labels": list(exclude_labels),
        "max_recipients": max_recipients,
        "filter": json.dumps(dict(chosen_by or {})),
    }
    with transaction(engine) as connection:
        queries("campaign").gather(connection)
        rows = {row.reason: row for row in queries("campaign").count_audience(connection, **filters)}
    chosen = rows.pop(None, None)
    excluded = {reason: row.people for reason, row in sorted(rows.items())}
    if chosen is None:
        return Audience(recipients=0, excluded=excluded, dying=0)
    return Audience(recipients=chosen.people, excluded=excluded, dying=chosen.dying)
