"""What is known of a page when the dust has settled: by the platform's ledger and journal, and by our tables."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from sandbox.control_client import Sandbox
from tests.chaos.checker import Attempt, Call, History, Message, Row

CAMPAIGN = "JOIN otn.campaign c ON c.id = r.campaign_id"
PERSON = "JOIN otn.subscriber s ON s.id = r.subscriber_id"
ROWS = f"""
    SELECT c.key, s.psid, r.state::text, r.evidence::text, r.message_id, r.reason, extract(epoch FROM r.sent_at)::float
    FROM otn.recipient r {CAMPAIGN} {PERSON} WHERE c.page_id = %s
"""
EXCLUDED = f"SELECT c.key, s.psid FROM otn.exclusion r {CAMPAIGN} {PERSON} WHERE c.page_id = %s"
ATTEMPTS = f"""
    SELECT c.key, s.psid, r.attempt_id::text, r.step, r.outcome, r.message_id, extract(epoch FROM r.at)::float, r.sender
    FROM otn.attempt r {CAMPAIGN} {PERSON} WHERE c.page_id = %s
"""


def history(
    sandbox: Sandbox,
    page_id: str,
    sql: Callable[..., list[Any]],
    page_row: int,
    *,
    people: Collection[str],
    key_of: Callable[[str], str],
    campaigns: Collection[str],
    held: Collection[str] = (),
) -> History:
    """Everything, from both sides.

    Args:
        sandbox: the platform.
        page_id: of the page there.
        sql: rows of a statement.
        page_row: ``otn.page.id``.
        people: whoever was opted in.
        key_of: the campaign that a text belongs to.
        campaigns: keys that were triggered.
        held: as ``History`` has it.
    """
    return History(
        people=people,
        campaigns=campaigns,
        seen=[Message(row["psid"], key_of(row["text"]), row["mid"]) for row in sandbox.ledger(page_id)],
        calls=[
            Call(row["token"], row["psid"], row["metadata"] or "", row["at_ms"] / 1000)
            for row in sandbox.calls(page_id)
        ],
        rows=[Row(*row) for row in sql(ROWS, page_row)],
        excluded={tuple(row) for row in sql(EXCLUDED, page_row)},
        attempts=[Attempt(*row) for row in sql(ATTEMPTS, page_row)],
        held=held,
    )
