"""The page's pace: one virtual schedule in Postgres, shared by every worker."""

from __future__ import annotations

import time
from dataclasses import dataclass

from otn.database import Engine, queries, transaction

GRAPH_BATCH_LIMIT = 50  # Meta docs, Graph API batch requests


@dataclass(frozen=True)
class Pace:
    """Permits of one page.

    Args:
        engine: the project's database.
        page_row_id: ``otn.page.id``.
        messages_per_second: None: no pace; only a hold-back that the platform asked for is kept.
    """

    engine: Engine
    page_row_id: int
    messages_per_second: float | None

    def take(self, messages: int) -> float:
        """Reserve the next ``messages`` permits; answers the moment (``time.monotonic``) from which they hold."""
        with transaction(self.engine) as connection:
            queries("pace").add_page(connection, page_id=self.page_row_id)
            if self.messages_per_second is None:
                row = queries("pace").peek(connection, page_id=self.page_row_id)
            else:
                seconds = messages / self.messages_per_second
                row = queries("pace").take(connection, page_id=self.page_row_id, seconds=seconds)
            return time.monotonic() + float(row.starts_in_s)

    def ahead_s(self) -> float:
        """Seconds of the schedule that are taken already: by other senders, or by a silence that the platform wants."""
        with transaction(self.engine) as connection:
            row = queries("pace").peek(connection, page_id=self.page_row_id)
            return float(row.starts_in_s) if row else 0.0

    def hold_back(self, seconds: float) -> None:
        """Let nobody start for so long: the platform throttles, and calls made meanwhile lengthen the block."""
        with transaction(self.engine) as connection:
            queries("pace").add_page(connection, page_id=self.page_row_id)
            queries("pace").hold_back(connection, page_id=self.page_row_id, seconds=seconds)

    def batch_size(self, most: int | None = None) -> int:
        """Messages in one Graph call: a tenth of a second's permits at most, so that calls spread evenly."""
        largest = min(most or GRAPH_BATCH_LIMIT, GRAPH_BATCH_LIMIT)
        if self.messages_per_second is None:
            return largest
        return max(1, min(largest, int(self.messages_per_second / 10)))
