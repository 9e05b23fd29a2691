"""What a campaign is made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any


class CampaignState(StrEnum):
    """States of a campaign; their transitions stand in the schema (``otn.campaign_transition``)."""

    DRAFT = "draft"
    AWAITING_APPROVAL = "awaiting_approval"
    SCHEDULED = "scheduled"
    SENDING = "sending"
    PAUSED = "paused"
    HALTED = "halted"
    INTERRUPTED = "interrupted"
    FINISHED = "finished"
    CANCELLED = "cancelled"


class IfLate(StrEnum):
    """What to do with a campaign that starts later than ``send_at`` + ``late_after``."""

    ASK = "ask"
    SEND = "send"
    CANCEL = "cancel"


@dataclass(frozen=True)
class CampaignSpec:
    """A campaign as its author wrote it down.

    Args:
        key: unique per page; the same key with the same content is the same campaign.
        message: Send API message object, its texts personalised (``Hi {{ first_name | default("there") }}``).
        include_labels: people must carry all of them.
        exclude_labels: people must carry none of them.
        max_recipients: at most so many; whose tokens end soonest come first. None: everyone.
        filter: further bounds of the audience: ``ref``, ``locale`` (lists), ``attributes`` (name to list),
            ``opted_in_from``, ``opted_in_until``, ``interacted_from``, ``interacted_until`` (ISO 8601 with zone).
        result_labels: ``sent``, ``refused``, ``unknown`` or ``read`` to labels that such people get at a run's end.
        send_at: not before; None: at once.
        canary: so many first, then a look at their answers.
        canary_labels: with them, everyone who carries one of these: staff, say.
        approval: a person must say yes.
        if_late: what to do when it starts late.
        late_after: how late is late.
        max_refused: share of refusals (0 to 1) above which the campaign halts, after 200 answers.
    """

    key: str
    message: dict[str, Any]
    include_labels: tuple[str, ...] = ()
    exclude_labels: tuple[str, ...] = ()
    max_recipients: int | None = None
    filter: Mapping[str, Any] = field(default_factory=dict)
    result_labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    send_at: datetime | None = None
    canary: int = 0
    canary_labels: tuple[str, ...] = ()
    approval: bool = True
    if_late: IfLate = IfLate.ASK
    late_after: timedelta = field(default=timedelta(hours=1))
    max_refused: float = 0.5

    def content_hash(self, facebook_page_id: str, topic_key: str) -> bytes:
        """What makes it "the same content": page, topic, message, audience. Times and limits may change."""
        content = {
            "page": facebook_page_id,
            "topic": topic_key,
            "message": self.message,
            "include_labels": sorted(set(self.include_labels)),
            "exclude_labels": sorted(set(self.exclude_labels)),
            "max_recipients": self.max_recipients,
        }
        if self.filter:
            content["filter"] = dict(self.filter)
        return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=True).encode()).digest()


@dataclass(frozen=True)
class Audience:
    """Whom a campaign would reach now.

    Args:
        recipients: people who would get the message.
        excluded: everyone else who ever held a token of the topic, by reason.
        dying: of the tokens to be spent, how many end within 30 days anyway.
    """

    recipients: int
    excluded: dict[str, int]
    dying: int

    @property
    def people(self) -> int:
        """Everyone who ever held a token of the topic."""
        return self.recipients + sum(self.excluded.values())
