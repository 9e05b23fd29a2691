"""One short story for each rule that the promise rests on: it holds, and without the rule it is red.

A story is a list of steps of the machine. Each was met by the long run first, or written down for a rule that it broke.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Step = tuple[str, dict[str, Any]]

CLAIM: Step = ("claims_waiting", {"pick": 0, "most": 1})
ASK: Step = ("claims_doubtful", {"pick": 0, "most": 1})
HANGS: Step = ("lease_is_lost", {"pick": 0, "dies": False})
PLAN: Step = ("plan", {})


def arrives(pick: int, mood: str) -> Step:
    return "call_arrives", {"pick": pick, "mood": mood}


def heard(pick: int = 0) -> Step:
    return "answer_is_recorded", {"pick": pick, "more": 0, "heard": True}


@dataclass(frozen=True)
class Rule:
    """What is taken out.

    Args:
        file: of ``sql/queries``.
        words: that say the rule.
        instead: what stands there without it.
        story: shows the difference.
    """

    file: str
    words: str
    instead: str
    story: tuple[Step, ...]


RULES = {
    "the intent is written before the call": Rule(
        "recipient", "'intent', :sender FROM claimed", "'intent', :sender FROM claimed WHERE false", (CLAIM,)
    ),
    "only who waits is claimed": Rule(
        "recipient",
        "r.chunk = :chunk AND r.state = 'waiting'",
        "r.chunk = :chunk AND r.state <> 'skipped'",
        (CLAIM, arrives(0, "shown"), heard(), ("claims_waiting", {"pick": 0, "most": 3})),
    ),
    "a stop word holds at the claim": Rule(
        "recipient",
        "THEN 'suppressed'",
        "THEN NULL",
        (("says", {"pick": 0, "word": "stop_word"}), ("claims_waiting", {"pick": 0, "most": 3})),
    ),
    "a lost lease is a doubt": Rule(
        "recipient",
        "SET state = 'unknown', lease_until = NULL, reason = 'lease_lost',",
        "SET state = 'waiting', unanswered = 0, lease_until = NULL,",
        (CLAIM, HANGS),
    ),
    "the answer belongs to the attempt": Rule(
        "recipient",
        "r.attempt_id = a.attempt_id AND r.state IN ('sending', 'unknown') AS on_time",
        "r.state IN ('sending', 'unknown') AS on_time",
        (CLAIM, HANGS, ASK, arrives(0, "throttled"), heard()),
    ),
    "a late yes always counts": Rule(
        "recipient",
        "CASE WHEN outcome = 'sent' THEN 'sent'\n                WHEN NOT on_time THEN NULL",
        "CASE WHEN NOT on_time THEN NULL\n                WHEN outcome = 'sent' THEN 'sent'",
        (CLAIM, HANGS, ASK, arrives(0, "shown"), heard()),
    ),
    "another call in doubt keeps the doubt": Rule(
        "recipient", "WHEN others > 0 THEN 'unknown'", "", (CLAIM, HANGS, ASK, arrives(1, "blocked"), heard(1))
    ),
    "used is inferred from a doubt only": Rule(
        "recipient",
        "AND others > 0 AND token_used",
        "AND token_used",
        (("token_is_spent_elsewhere", {"pick": 0}), CLAIM, arrives(0, "shown"), heard()),
    ),
    "used is inferred from used only": Rule(
        "recipient",
        "AND others > 0 AND token_used",
        "AND others > 0",
        (CLAIM, HANGS, ASK, arrives(1, "blocked"), heard(1)),
    ),
    "an echo of any attempt settles": Rule(
        "evidence",
        "AND a.attempt_id::text = e.metadata",
        "AND a.attempt_id::text = e.metadata AND a.attempt_id = r.attempt_id",
        (CLAIM, HANGS, ASK, arrives(0, "shown"), ("echo_comes", {"pick": 0, "whole": True})),
    ),
    "a watermark settles nothing": Rule(
        "evidence",
        "SET delivered_at = locked.at, updated_at",
        "SET delivered_at = locked.at, unanswered = r.unanswered + 1, updated_at",
        (
            *(CLAIM, arrives(0, "shown"), heard()),
            ("is_delivered_or_read", {"pick": 0, "kind": "read", "named": False}),
        ),
    ),
    "a row in doubt is not given up": Rule(
        "campaign",
        "WHERE campaign_id = :campaign_id AND state = 'waiting';",
        "WHERE campaign_id = :campaign_id AND state IN ('waiting', 'unknown');",
        (CLAIM, HANGS, ("operator_acts", {"pick": 0, "step": "cancel"})),
    ),
    "the token of another is left alone": Rule(
        "campaign",
        "\n  AND NOT EXISTS (SELECT FROM otn.recipient o WHERE o.token_id = r.token_id AND o.holds_token)",
        "",
        (CLAIM, arrives(0, "shown_and_refused"), heard(), PLAN, ("operator_retries", {"pick": 0, "scope": "refused"})),
    ),
}
