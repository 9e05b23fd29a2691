"""What must hold for every row after every step: the promise, said about one row and what the platform did for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from tests.model.platform import Call, Token

ENDS = {"sent", "refused", "skipped", "cancelled", "unknown"}
MOVES = {
    "waiting": {"sending", "skipped", "cancelled", "sent"},
    "sending": {"sent", "refused", "waiting", "skipped", "cancelled", "unknown"},
    "unknown": {"sending", "sent", "refused", "waiting", "skipped", "cancelled"},
    "refused": {"waiting", "sent"},
    "skipped": {"sent"},
    "cancelled": {"sent"},
    "sent": set[str](),
}


def check_row(row: Any, calls: Sequence[Call], token: Token) -> None:
    """One row against its calls.

    Args:
        row: as ``Ground.rows`` gives it.
        calls: every attempt of it.
        token: its one token.
    """
    shown = [call for call in calls if call.shown]
    doubts = [call for call in calls if call.in_doubt]
    assert len(shown) <= 1, "seen twice"
    assert row.intents == len(calls), "a call without a committed intent, or an intent without a call"
    if row.state == "sent" and row.evidence != "token_used_inferred":
        assert shown, "stated sent, and nobody saw it"
    if row.evidence == "token_used_inferred":
        # Wrong only where somebody else spends our tokens: another system, or a campaign that the platform lied to.
        assert shown or token.spent_by not in calls, "inferred as sent from nothing"
        assert len(calls) > 1, "inferred as sent from a first call"
        assert token.spent, "inferred as sent, and the token is not spent"
    if row.state in {"refused", "waiting", "skipped", "cancelled"}:
        assert not [call for call in shown if not call.lies], f"{row.state}, and the person saw it"
        assert not doubts, f"{row.state}, with a call in doubt"
        assert row.unanswered == 0
    if row.state in {"sending", "unknown"}:
        assert row.unanswered >= len(doubts) > 0 or row.unanswered > 0
        assert row.unanswered >= len(doubts), "fewer doubts counted than there are"
        assert not [call for call in calls if call.recorded == "sent" or call.echoed], "settled, and in doubt again"
    if row.state == "sending":
        assert next(call for call in calls if call.attempt_id == row.attempt_id).recorded is None
    if row.state != "sent":
        assert (row.delivered_at, row.read_at) == (None, None), "a report about a row that is not sent"


def check_tokens(rows: Iterable[Any]) -> None:
    """A token belongs to one row, unless that one gave it back: said again without asking the index for it."""
    kept = [row for row in rows if row.state in {"waiting", "sending", "unknown", "sent"} and not row.token_contested]
    assert max(Counter(row.token_id for row in kept).values(), default=1) == 1, "two rows hold one token"
