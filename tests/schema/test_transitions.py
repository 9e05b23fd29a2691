"""A campaign goes only where the schema's table of transitions lets it."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import psycopg2
import pytest

from tests.schema.rules import CAMPAIGNS, campaign

KNOWN = {
    "draft": {"awaiting_approval", "scheduled", "cancelled"},
    "awaiting_approval": {"scheduled", "cancelled"},
    "scheduled": {"sending", "awaiting_approval", "finished", "cancelled"},
    "sending": {"paused", "halted", "interrupted", "finished", "cancelled"},
    "paused": {"sending", "cancelled"},
    "halted": {"sending", "cancelled"},
    "interrupted": {"sending", "finished", "cancelled"},
    "finished": {"sending"},
    "cancelled": set(),
}


def move(state: str) -> str:
    values = {"finished_at": "NULL", "halt_reason": "NULL", **CAMPAIGNS[state], "needs_approval": "false"}
    changes = ", ".join(f"{column} = {value}" for column, value in values.items())
    return f"UPDATE otn.campaign SET state = '{state}', {changes} WHERE key = 'new'"


@pytest.mark.parametrize(("before", "after"), list(permutations(CAMPAIGNS, 2)))
def test_a_step_is_taken_or_refused_as_the_table_says(ground: Any, before: str, after: str) -> None:
    ground.execute(campaign(before))
    if after in KNOWN[before]:
        ground.execute(move(after))
        assert ground.rowcount == 1
        return
    with pytest.raises(psycopg2.IntegrityError, match=f"cannot go from {before} to {after}") as refusal:
        ground.execute(move(after))
    assert refusal.value.diag.constraint_name == "campaign_transition_is_known"


@pytest.mark.parametrize("state", CAMPAIGNS)
def test_staying_is_no_step(ground: Any, state: str) -> None:
    ground.execute(campaign(state))
    ground.execute(move(state))
    assert ground.rowcount == 1


def test_the_table_holds_these_steps_and_no_other(ground: Any) -> None:
    ground.execute("SELECT from_state::text, to_state::text FROM otn.campaign_transition")
    assert set(ground.fetchall()) == {(before, after) for before, afters in KNOWN.items() for after in afters}
    ground.execute("SELECT unnest(enum_range(NULL::otn.campaign_state))::text")
    assert {state for (state,) in ground.fetchall()} == set(KNOWN)
