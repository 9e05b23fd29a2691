"""What Postgres makes of the statements that a broadcast repeats a thousand times."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from otn.campaign import ledger
from otn.campaign.answers import Answer
from otn.database import queries, transaction
from tests.campaign.stage import Stage


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", []):
        yield from nodes(part)


def scans(stage: Stage, statement: str, **values: Any) -> list[str]:
    """How the statement finds recipients: the condition of each index that it reads them by."""
    with transaction(stage.engine) as connection, connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")  # the table of a test is small enough to be read as a whole
        cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}", values)
        (plan,) = cursor.fetchone()[0]
    found = [node for node in nodes(plan["Plan"]) if node.get("Relation Name") == "recipient"]
    return [node.get("Index Cond", "all of them") for node in found if "Scan" in node["Node Type"]]


def test_an_answer_finds_its_row_although_the_statistics_do_not_know_the_campaign(stage: Stage) -> None:
    stage.opt_in(400)
    stage.run(stage.planned("first"))
    stage.sql("ANALYZE otn.recipient")
    stage.opt_in(200)
    campaign = stage.planned("second")
    claims = ledger.claim(stage.engine, ledger.WaitingChunk(campaign, 1), most=200, lease_s=60, sender="me")
    given = [Answer(row.subscriber_id, row.attempt_id, "sent", message_id="m_1") for row in claims.rows]
    answers = json.dumps([answer.row() for answer in given])
    found = scans(stage, queries("recipient").record.sql, campaign_id=campaign, sender="me", answers=answers)
    assert len(found) >= 3
    assert [how for how in found if "subscriber_id" not in how and "token_id" not in how] == []


def test_a_claim_goes_on_where_the_last_one_ended(stage: Stage) -> None:
    stage.opt_in(400)
    stage.run(stage.planned("first"))
    stage.sql("ANALYZE otn.recipient")
    stage.opt_in(200)
    values = {"campaign_id": stage.planned("second"), "chunk": 1, "after": 5, "most": 50, "lease_s": 9, "sender": "me"}
    found = scans(stage, queries("recipient").claim.sql, **values)
    assert len(found) >= 2
    assert [how for how in found if "subscriber_id" not in how] == []
    for how in scans(stage, queries("recipient").is_due.sql, **values):
        assert "subscriber_id > '5'" in how or "subscriber_id > 5" in how
