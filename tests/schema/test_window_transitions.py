"""What is sent inside the window goes only where the schema's table of transitions lets it."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import psycopg2
import pytest

from tests.schema.consent_rules import WINDOW_MESSAGES, window_message

KNOWN = {
    "waiting": {"sending", "skipped", "sent", "unknown"},
    "sending": {"sent", "refused", "waiting", "unknown", "skipped"},
    "sent": set(),
    "refused": {"sent"},
    "unknown": {"sent"},
    "skipped": {"sent"},
}


def move(state: str) -> str:
    plain = {"lease_until": "NULL", "evidence": "NULL", "message_id": "NULL", "sent_at": "NULL"}
    changes = ", ".join(f"{column} = {value}" for column, value in {**plain, **WINDOW_MESSAGES[state]}.items())
    return f"UPDATE otn.window_message SET state = '{state}', {changes} WHERE event_id = 2"


@pytest.mark.parametrize(("before", "after"), list(permutations(WINDOW_MESSAGES, 2)))
def test_a_step_is_taken_or_refused_as_the_table_says(ground: Any, before: str, after: str) -> None:
    ground.execute(window_message(before))
    if after in KNOWN[before]:
        ground.execute(move(after))
        assert ground.rowcount == 1
        return
    with pytest.raises(psycopg2.IntegrityError, match=f"cannot go from {before} to {after}") as refusal:
        ground.execute(move(after))
    assert refusal.value.diag.constraint_name == "window_message_transition_is_known"


def test_the_table_holds_these_steps_and_no_other(ground: Any) -> None:
    ground.execute("SELECT from_state::text, to_state::text FROM otn.window_transition")
    assert set(ground.fetchall()) == {(before, after) for before, afters in KNOWN.items() for after in afters}
    ground.execute("SELECT unnest(enum_range(NULL::otn.window_state))::text")
    assert {state for (state,) in ground.fetchall()} == set(KNOWN)
