"""The campaign's own account held against what the platform's ledger says that people saw."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from otn.campaign.report import NOBODY_CAN_SETTLE, report
from otn.database import Engine, queries, transaction
from sandbox.control_client import Sandbox


@dataclass(frozen=True)
class Check:
    """One thing that must hold.

    Args:
        claim: what must hold, in words.
        broken: how often it does not; 0 is well.
        looked_at: how many cases were looked at.
    """

    claim: str
    broken: int
    looked_at: int

    @property
    def holds(self) -> bool:
        """Whether it does."""
        return self.broken == 0


def verify(engine: Engine, sandbox: Sandbox, page_id: str, campaign_id: int) -> list[Check]:
    """Compare the two accounts, person by person.

    Args:
        engine: the project's database.
        sandbox: the platform's stand-in; it knows nothing of the database.
        page_id: Facebook's id of the page.
        campaign_id: ``otn.campaign.id``.
    """
    with transaction(engine) as connection:
        rows = {row.psid: row for row in queries("demo").recipients(connection, campaign_id=campaign_id)}
        intents = {row.attempt_id for row in queries("demo").intents(connection, campaign_id=campaign_id)}
        late = queries("demo").calls_after_settling(connection, campaign_id=campaign_id)
    ours = [one for one in sandbox.ledger(page_id) if one["metadata"] in intents]
    seen = Counter(one["psid"] for one in ours)
    calls = [one for one in sandbox.calls(page_id) if one["metadata"] in intents]
    return [
        Check("nobody saw it twice", sum(count > 1 for count in seen.values()), len(seen)),
        _stated_was_seen(rows, seen),
        _seen_is_accounted_for(rows, seen),
        Check("no call was begun on a settled token", late, len(intents)),
        Check("no attempt reached the platform twice", _repeats(calls), len(calls)),
        _refusals_are_the_platforms(rows, calls),
        _doubts_are_settled(rows),
        _adds_up(report(engine, campaign_id), len(rows)),
    ]


def _stated_was_seen(rows: dict[str, Any], seen: Counter[str]) -> Check:
    stated = [psid for psid, row in rows.items() if row.state == "sent" and row.evidence != "token_used_inferred"]
    return Check("everyone stated as sent saw it", sum(not seen[psid] for psid in stated), len(stated))


def _seen_is_accounted_for(rows: dict[str, Any], seen: Counter[str]) -> Check:
    honest = {psid for psid, row in rows.items() if row.state in {"sent", "unknown"}}
    return Check("everything seen stands as sent or unknown", len(seen.keys() - honest), len(seen))


def _repeats(calls: list[dict[str, Any]]) -> int:
    return sum(count > 1 for count in Counter(call["metadata"] for call in calls).values())


def _refusals_are_the_platforms(rows: dict[str, Any], calls: list[dict[str, Any]]) -> Check:
    answers = {call["metadata"]: (call["answer"]["code"], call["answer"]["subcode"]) for call in calls}
    refused = [row for row in rows.values() if row.state == "refused"]
    wrong = sum(answers.get(row.attempt_id) != (row.error_code, row.error_subcode) for row in refused)
    return Check("everyone refused carries the platform's code", wrong, len(refused))


def _doubts_are_settled(rows: dict[str, Any]) -> Check:
    """Unknown may stay only who blocked the page after a call without an answer: no later answer tells of that one."""
    doubts = [row for row in rows.values() if row.state == "unknown"]
    open_doubts = sum(row.reason not in NOBODY_CAN_SETTLE for row in doubts)
    return Check("nobody is unknown whom the platform would tell us about", open_doubts, len(doubts))


def _adds_up(figures: dict[str, Any], rows: int) -> Check:
    parts = ("waiting", "sending", "sent", "refused", "unknown", "cancelled")
    planned = sum(figures[part] for part in parts) + sum(figures["skipped"].values())
    audience = figures["planned"] + sum(figures["excluded"].values())
    broken = (planned != figures["planned"]) + (audience != figures["audience"]) + (rows != figures["planned"])
    return Check("audience and planned add up", broken, figures["audience"])
