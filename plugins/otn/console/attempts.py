"""Calls to one person in one campaign: what was intended, what came back, and what that proves, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from otn.console import reasons
from otn.database import PsycopgConnection, queries

MOST = 500  # steps
EVIDENCE = {
    "answer": "the platform accepted it",
    "echo": "the platform's echo of it came back",
    "token_used_inferred": (
        "inferred: the platform says that the consent is used, and an earlier call of ours had no clear end"
    ),
}
RETURNED = {
    "throttled": "the platform wanted us to wait",
    "transient": "the platform was not able to take it just then",
    "page_halted": "the platform refused the page, not the person",
    "restored": "the database was restored from a backup",
    "pace": "the page's pace left no room",
}


@dataclass(frozen=True)
class Step:
    """What came back for a call.

    Args:
        at: when it was written down.
        outcome: ``sent``, ``refused``, ``returned`` or ``unknown``.
        words: what it means.
        status: of HTTP; None: there was none.
        code: the platform's, such as ``551/1545041``; None: it gave none.
        message_id: the platform's; None: it gave none, or it was forgotten.
    """

    at: datetime
    outcome: str
    words: str
    status: int | None
    code: str | None
    message_id: str | None


@dataclass(frozen=True)
class Call:
    """One attempt.

    Args:
        at: when the intent was written, before the call.
        sender: who made it.
        answers: what came back; none: nobody knows.
    """

    at: datetime
    sender: str
    answers: list[Step]


def of(connection: PsycopgConnection, campaign_id: int, subscriber_id: int) -> list[Call]:
    """Calls to one person, oldest first.

    Args:
        connection: in a transaction.
        campaign_id: ``otn.campaign.id``.
        subscriber_id: ``otn.subscriber.id``.
    """
    rows = queries("console").attempts_of(connection, campaign_id=campaign_id, subscriber_id=subscriber_id, most=MOST)
    return [_call(list(steps)) for _, steps in groupby(rows, key=lambda row: row.attempt_id)]


def why(row: Any) -> str:
    """What a recipient's state rests on, or why it is so; empty where there is nothing to say.

    Args:
        row: with ``state``, ``evidence``, ``reason``, ``error_code``, ``error_subcode`` and ``token_dead``.
    """
    if row.state == "sent":
        return evidence(row.evidence)
    if row.state == "refused":
        return reasons.refused(row.error_code, row.error_subcode, token_dead=row.token_dead)
    if row.reason is None:
        return ""
    if row.state == "unknown":
        return reasons.unconfirmed(row.reason)
    if row.state == "skipped":
        return reasons.skipped(row.reason)
    return returned(row.reason)


def evidence(name: str) -> str:
    """What it rests on that a message counts as sent."""
    return EVIDENCE.get(name, name)


def returned(reason: str) -> str:
    """Why somebody waits again."""
    return RETURNED.get(reason, reason.replace("_", " "))


def code(error_code: int | None, error_subcode: int | None) -> str | None:
    """The platform's numbers as people write them."""
    if error_code is None:
        return None
    return str(error_code) if error_subcode is None else f"{error_code}/{error_subcode}"


def _call(rows: Sequence[Any]) -> Call:
    answers = [
        Step(
            row.at, row.outcome, _meaning(row), row.http_status, code(row.error_code, row.error_subcode), row.message_id
        )
        for row in rows
        if row.step == "answer"
    ]
    return Call(rows[0].began_at, rows[0].sender, answers)


def _meaning(row: Any) -> str:
    if row.outcome == "sent":
        return "The platform accepted it."
    if row.outcome == "refused":
        return reasons.refused(row.error_code, row.error_subcode)
    if row.outcome == "returned":
        return f"Nothing was sent: {returned(row.reason or 'it is not said why')}."
    return f"Nobody knows whether it was sent: {reasons.unconfirmed(row.reason or 'no_answer')}."
