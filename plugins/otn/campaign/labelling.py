"""What a campaign's results put on people: labels by how it ended for them."""

from __future__ import annotations

from typing import Any

from otn.consent.subscribers import SLICE_ROWS, ChangeFigures, apply
from otn.database import Engine, queries, transaction


def label_results(engine: Engine, campaign_id: int) -> ChangeFigures:
    """Put the campaign's ``result_labels`` on its people; harmless to repeat.

    It only adds: what a late echo settles gets its label when the campaign's run ends again, and keeps the one it had.
    Whoever was erased meanwhile gets none.

    Args:
        engine: the project's database.
        campaign_id: ``otn.campaign.id``.
    """
    figures, after = ChangeFigures(), 0
    while True:
        with transaction(engine) as connection:
            rows = list(
                queries("label").results_to_label(connection, campaign_id=campaign_id, after=after, most=SLICE_ROWS)
            )
            figures.people += len(rows)
            apply(connection, [_change(row) for row in rows], figures)
        if len(rows) < SLICE_ROWS:
            return figures
        after = rows[-1].id


def _change(row: Any) -> dict[str, Any]:
    return {"id": row.id, "add": row.labels, "remove": [], "set": {}, "unset": []}
