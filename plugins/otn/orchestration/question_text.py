"""What stands around the preview in the question to a person, as Markdown."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from otn.orchestration.preview import code

if TYPE_CHECKING:
    from otn.campaign.approval import StartQuestion
    from otn.campaign.approvers import Approvers

_WHY = {
    "approval": "Nothing is sent before somebody says yes.",
    "late": "It starts later than `send_at` + `late_after`: does it still make sense?",
    "over_cap": "More people would get it now than the first yes covered.",
}
_CHANGED = "What was approved is not what stands there now: read it anew. The earlier yes does not count."


def reasons(question: StartQuestion, not_taken: str | None) -> list[str]:
    """Why somebody is asked.

    Args:
        question: what is asked.
        not_taken: why the yes before did not count; None: there was none.
    """
    why = [_CHANGED if question.changed else _WHY[question.kind]]
    if question.late:
        why.append(_WHY["late"])
    again = [f"**The last yes was not taken**: {code(not_taken)}. So it is asked again."] if not_taken else []
    return [*again, " ".join(why)]


def covered(question: StartQuestion, wait: timedelta) -> list[str]:
    """What a yes would be bound to.

    Args:
        question: what is asked.
        wait: for an answer.
    """
    from otn.campaign.approval import SHORT_HASH

    short = question.content[:SHORT_HASH]
    minutes = round(wait.total_seconds() / 60)
    return [
        "**What a yes covers**",
        f"Up to {question.cap:,} people; if there are more at the moment of sending, you are asked again.",
        (
            f"This content and this filter, {code(short)} for short: if they are others when you answer or when it "
            f"starts, you are asked again. The whole hash: {code(question.content)}."
        ),
        f"Without an answer within {minutes} minutes it is rejected and the campaign is cancelled.",
    ]


def answering(approvers: Approvers, composers: Collection[str]) -> list[str]:
    """Whose yes counts, where not everybody's does.

    Args:
        approvers: the rule.
        composers: who composed and who triggered it.
    """
    said = []
    if approvers.another and composers:
        names = " and of ".join(map(code, sorted(composers)))
        said.append(f"Another person than its composer must say yes: a yes of {names} is not taken.")
    if approvers.names:
        said.append(f"A yes counts from {', '.join(map(code, sorted(approvers.names)))}.")
    return ["**Who may say yes**", " ".join([*said, "Everybody's no counts."])] if said else []


def links(console: str, campaign_id: int) -> str:
    """Where to look closer.

    Args:
        console: its address.
        campaign_id: ``otn.campaign.id``.
    """
    return (
        f"In the console: [the campaign](<{console}/campaigns/{campaign_id}>), "
        f"[its content in the form](<{console}/compose?from={campaign_id}>), counted anew and read as real people."
    )


def console_url() -> str:
    """The console below the address under which Airflow says that it is reached; only a path where it says none."""
    from airflow.sdk.configuration import conf

    base = str(conf.get("api", "base_url", fallback="") or "").strip().rstrip("/")
    parts = urlsplit(base)
    known = parts.scheme in {"http", "https"} and parts.netloc and not set(base) & set("<>\n ")
    return f"{base if known else ''}/otn"
