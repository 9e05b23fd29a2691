"""Broadcasting to many: what a recipient costs and what memory a sender takes, beside a small campaign; resuming."""

from __future__ import annotations

from statistics import median
from typing import Any

from benchmarks.market import opened
from benchmarks.shop import Shop, do, settle
from benchmarks.team import lasted, send
from otn.local.progress import Progress, Silence

SMALL, LARGE = 10_000, 1_000_000
ROUNDS = 5  # of small campaigns before the large one, and of as many after it
LEFT = 100  # people who are left when a large campaign is resumed
COST_BOUND, MEMORY_BOUND_MB, RESUME_BOUND_S = 1.1, 100.0, 5.0

# They wait elsewhere while the others are sent to, and come back into the chunk with the highest numbers of all, behind
# everybody who is done.
ASIDE = """
UPDATE otn.recipient SET chunk = 2 WHERE campaign_id = %(campaign)s AND subscriber_id IN (
    SELECT subscriber_id FROM otn.recipient WHERE campaign_id = %(campaign)s ORDER BY subscriber_id DESC LIMIT %(left)s)
"""
BACK = "UPDATE otn.recipient SET chunk = 1 WHERE campaign_id = %(campaign)s AND chunk = 2"


def run(
    progress: Progress | None = None, small: int = SMALL, large: int = LARGE, rounds: int = ROUNDS
) -> dict[str, Any]:
    """Measure small campaigns, a large one, small ones again, and the large one resumed; one sender each.

    Args:
        progress: told what happens.
        small: people of a small campaign.
        large: of the large one.
        rounds: small campaigns before it, and after it.
    """
    progress = progress or Silence()
    with opened() as (_, one, environment, _):
        costs: list[float] = []
        memory: list[float] = []

        def few(when: str) -> None:
            for number in range(rounds):
                progress.stage(f"{small:,} people {when} the large campaign, {number + 1} of {rounds}")
                cost, more_mb = _cost(one, one.planned(small, 1), small, environment)
                costs.append(cost)
                memory.append(more_mb)

        few("before")
        progress.stage(f"making {large:,} people and their plan")
        campaign = one.planned(large + LEFT, 1)
        do(one.engine, ASIDE, campaign=campaign, left=LEFT)
        progress.stage(f"sending to {large:,} people")
        cost, more_mb = _cost(one, campaign, large, environment)
        resumed_s = _resumed(one, campaign, environment)
        few("after")
    return {
        "small": small,
        "large": large,
        "rounds": 2 * rounds,
        "small_us": round(median(costs), 1),
        "small_least_us": round(min(costs), 1),
        "small_most_us": round(max(costs), 1),
        "large_us": round(cost, 1),
        "cost_ratio": round(cost / median(costs), 2),
        "cost_bound": COST_BOUND,
        "small_more_mb": round(max(memory), 1),
        "large_more_mb": round(more_mb, 1),
        "memory_bound_mb": MEMORY_BOUND_MB,
        "left": LEFT,
        "resumed_s": round(resumed_s, 2),
        "resume_bound_s": RESUME_BOUND_S,
    }


def _cost(one: Shop, campaign: int, people: int, environment: dict[str, str]) -> tuple[float, float]:
    """Microseconds that each recipient takes, and megabytes more than an idle sender has."""
    settle(one.engine)
    done = send("ours", one, campaign, 1, environment)
    if sum(each.people for each in done) != people:
        raise RuntimeError(f"Not everybody was reached: {sum(each.people for each in done)} of {people}.")
    return lasted(done) / people * 1e6, max(each.peak_mb - each.idle_mb for each in done)


def _resumed(one: Shop, campaign: int, environment: dict[str, str]) -> float:
    """Seconds from the engine's start to its first call."""
    do(one.engine, BACK, campaign=campaign)
    (done,) = send("ours", one, campaign, 1, environment)
    if done.people != LEFT:
        raise RuntimeError(f"Not everybody was reached: {done.people} of {LEFT}.")
    return done.first - done.began
