"""Words for people, where the tables have short ones for programs."""

from __future__ import annotations

from otn.orchestration.preview import REASONS

STATES = {
    "draft": "being opened",
    "awaiting_approval": "awaits approval",
    "scheduled": "scheduled",
    "sending": "sending",
    "paused": "paused",
    "halted": "halted",
    "interrupted": "interrupted",
    "finished": "finished",
    "cancelled": "cancelled",
}
RECIPIENT_STATES = {
    "waiting": "waiting",
    "sending": "being sent",
    "sent": "sent",
    "refused": "refused",
    "unknown": "unconfirmed",
    "skipped": "skipped",
    "cancelled": "cancelled",
}
# The page of an approval counts tokens; whoever looks here knows them as consents.
LEFT_OUT = {
    "token_spent": "their consents are spent",
    "token_reserved": "their consents are planned for another campaign",
    "token_expired": "their consents have expired",
    "over_max_recipients": "came after the most people that were wanted",
}


def state(name: str) -> str:
    """A campaign's state."""
    return STATES.get(name, name)


def recipient_state(name: str) -> str:
    """What became of one person."""
    return RECIPIENT_STATES.get(name, name)


def left_out(reason: str) -> str:
    """Why somebody is not among the recipients."""
    return LEFT_OUT.get(reason) or REASONS.get(reason, reason)


def people(count: int) -> str:
    """How many."""
    return "1 person" if count == 1 else f"{count:,} people"


def span(seconds: float) -> str:
    """How long, roughly."""
    if seconds < 60:
        return "less than a minute"
    if seconds < 5_400:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3_600:.1f} h"
