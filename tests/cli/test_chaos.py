from __future__ import annotations

import json

from .conftest import Shell


def test_a_run_of_one_kill_prints_seed_table_and_verdict(otn: Shell) -> None:
    said = otn("chaos", "--kills", "1", "--seed", "3", "--json")
    found = json.loads(said.stdout)
    assert "seed 3" in said.stderr
    assert found["kills"] - found["kills_by_step"].get("postgres", 0) >= 1
    assert found["violations"] == {}
    assert found["postgres"] == {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}


def test_kills_and_seeds_that_are_no_numbers_are_refused(otn: Shell) -> None:
    assert "--kills" in otn("chaos", "--kills", "0", code=2).stderr
    assert "--seed" in otn("chaos", "--seed", "-1", code=2).stderr
