"""What senders ask does not depend on what Postgres believes: a campaign is planned, and sent a moment later."""

from __future__ import annotations

import re
from typing import Any

import pytest

from otn.campaign import plan
from otn.database import transaction
from tests.campaign.stage import Stage
from tests.clean import database, emptied_url
from tests.named_queries import sql_of

__all__ = ["database", "emptied_url"]

EACH_WITH_EACH = re.compile(r"Join Filter: .*\br(_\d+)?\.subscriber_id")  # of recipients
ATTEMPT = "00000000-0000-0000-0000-000000000000"
ASKED: dict[str, dict[str, Any]] = {
    "claim": {"chunk": 1, "after": 0, "most": 2000, "lease_s": 60, "sender": "one"},
    "claim_doubtful": {"most": 2000, "lease_s": 60, "sender": "one"},
    "renew_leases": {"lease_s": 60, "subscriber_ids": [1] * 2000, "attempt_ids": [ATTEMPT] * 2000},
    "record": {"answers": '[{"subscriber_id": 1, "outcome": "sent"}]', "sender": "one"},
}


@pytest.fixture
def unknown_campaign(stage: Stage) -> int:
    """Statistics know of one campaign, and say that it is everything."""
    stage.opt_in(2000)
    plan.plan(stage.engine, stage.open("known", max_recipients=1000), messages_per_second=None)
    stage.sql("ANALYZE")
    campaign = stage.open("unknown")
    plan.plan(stage.engine, campaign, messages_per_second=None)
    return campaign


def test_rows_of_a_campaign_that_statistics_do_not_know_are_looked_up(stage: Stage, unknown_campaign: int) -> None:
    for name, values in ASKED.items():
        with transaction(stage.engine) as connection, connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {sql_of('recipient', name)}", {"campaign_id": unknown_campaign} | values)
            explained = "\n".join(row[0] for row in cursor.fetchall())
        assert "recipient" in explained
        assert not EACH_WITH_EACH.search(explained), f"{name}:\n{explained}"
