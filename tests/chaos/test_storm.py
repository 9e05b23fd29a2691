"""The short run: at least 190 senders killed, and Postgres under them; a seed that once failed is played for ever."""

from __future__ import annotations

import json

import pytest

from tests.chaos import storm

pytestmark = pytest.mark.xdist_group("storm")  # one fixture storms for all
KILLS = 190
SEED = 1
KNOWN_SEEDS: tuple[int, ...] = ()  # that once broke the promise


@pytest.fixture(scope="module")
def verdict() -> storm.Verdict:
    found = storm.run(KILLS, SEED, also=KNOWN_SEEDS)
    print(json.dumps(found.to_dict(), indent=2))
    return found


@pytest.mark.timeout(600)
def test_nobody_sees_twice_nobody_is_lost_and_nothing_stated_is_false(verdict: storm.Verdict) -> None:
    assert verdict.violations == {}, f"seeds {sorted(verdict.violations)}"
    figures = verdict.to_dict()["figures"]
    assert figures["visible"] > 0.8 * figures["planned"]
    assert figures["calls"] > figures["planned"]


def test_senders_died_at_every_kind_of_moment(verdict: storm.Verdict) -> None:
    kills = verdict.kills
    assert kills.total() - kills["postgres"] >= KILLS
    assert kills["postgres"]
    deadly = (
        "inside claim",
        "after claim",
        "before call",
        "on the wire",
        "after answer",
        "before record",
        "after record",
    )
    assert {step for step in deadly if not kills[step]} == set()
    assert verdict.acts["held longer than the lease"]


def test_postgres_kept_what_it_committed(verdict: storm.Verdict) -> None:
    assert verdict.settings == storm.DURABLE
