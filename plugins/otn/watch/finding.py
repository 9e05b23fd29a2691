"""What one check found."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Self

Level = Literal["ok", "warn", "alarm"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. What could not be looked at has no finding: an open alarm about it stays open.

    Args:
        kind: what was looked at, such as ``token``; with the page it names an alarm.
        level: ``ok``, ``warn`` (look at it this week) or ``alarm`` (look at it now).
        sentence: how it is; holds neither secrets nor ids of people.
        advice: what to do; empty when there is nothing.
        subject: which of its kind, where there are several: a topic, a campaign.
        page_id: ``otn.page.id``; None: the installation.
    """

    kind: str
    level: Level
    sentence: str
    advice: str = ""
    subject: str = ""
    page_id: int | None = None

    def of(self, page_id: int) -> Self:
        """The same, found at a page."""
        return replace(self, page_id=page_id)
