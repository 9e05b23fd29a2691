"""Broadcasting: claimed, sent and recorded for each person, beside the bare client and beside what others would use."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks import peers
from benchmarks.market import opened
from benchmarks.meter import Meter
from benchmarks.peers import Ground, PeerAbsentError, Run
from benchmarks.shop import Shop, settle
from benchmarks.team import lasted, send
from otn.campaign.send import SendLimits
from otn.local.progress import Progress, Silence

PEOPLE = 20_000
ROUNDS = 5
SENDERS = 1  # tasks at once: one has up to 300,000 people where the pace is off
SHARE = 20  # a peer sends to so many times fewer people, or it would take minutes
SIDES = ("limit", "ours")
COMPUTING = ("sender", "postgres", "platform")


@dataclass
class Side:
    """What one of them did, round by round.

    Args:
        name: of it.
        people: of each round.
        per_s: messages a second, in each.
        cpu_us: microseconds that the sender, Postgres and the platform computed for a message, in each; not of peers.
    """

    name: str
    people: int
    per_s: list[float] = field(default_factory=list)
    cpu_us: list[tuple[float, ...]] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        """Median and spread."""
        return {
            "name": self.name,
            "people": self.people,
            "per_s": round(median(self.per_s)),
            "least_per_s": round(min(self.per_s)),
            "most_per_s": round(max(self.per_s)),
            "cpu_us": dict(
                zip(COMPUTING, (round(median(each)) for each in zip(*self.cpu_us, strict=True)), strict=False)
            ),
        }


def run(
    progress: Progress | None = None, rounds: int = ROUNDS, people: int = PEOPLE, senders: int = SENDERS
) -> dict[str, Any]:
    """Measure all sides in turns.

    Args:
        progress: told what happens.
        rounds: how often each.
        people: who get the message of a round from the engine and from the bare client.
        senders: processes of these two.
    """
    progress, few = progress or Silence(), max(20, people // SHARE)
    sides = {name: Side(name, people) for name in SIDES}
    with opened() as (cluster, one, environment, meter), ExitStack() as stack:
        ready, absent = _peers(stack, Ground(cluster, one), progress)
        sides |= {name: Side(name, few) for name in ready}
        for number in range(rounds):
            for name in SIDES:
                progress.stage(f"round {number + 1} of {rounds}, {name}")
                _send(sides[name], one, senders, environment, meter)
            for name, peer in ready.items():
                progress.stage(f"round {number + 1} of {rounds}, {name}")
                sides[name].per_s.append(few / peer(few))
    return _figures(sides, absent) | {"rounds": rounds, "senders": senders, "threads": SendLimits().threads}


def _peers(stack: ExitStack, ground: Ground, progress: Progress) -> tuple[dict[str, Run], dict[str, str]]:
    ready: dict[str, Run] = {}
    absent: dict[str, str] = {}
    for name in peers.PEERS:
        progress.stage(f"getting {name} ready")
        try:
            ready[name] = stack.enter_context(peers.of(name, ground))
        except PeerAbsentError as error:
            absent[name] = str(error)
        else:
            ready[name](20)  # no side pays for its first imports and connections
    return ready, absent


def _send(side: Side, one: Shop, senders: int, environment: dict[str, str], meter: Meter) -> None:
    campaign = one.planned(side.people, senders)
    settle(one.engine)
    before = meter.read()
    done = send(side.name, one, campaign, senders, environment)
    others = [after - earlier for earlier, after in zip(before, meter.read(), strict=True)]
    reached = sum(each.people for each in done)
    if reached != side.people:
        raise RuntimeError(f"{side.name} reached {reached} of {side.people} people.")
    side.per_s.append(side.people / lasted(done))
    computed = [sum(each.cpu_s for each in done), *others]
    side.cpu_us.append(tuple(seconds / side.people * 1e6 for seconds in computed))


def _figures(sides: dict[str, Side], absent: dict[str, str]) -> dict[str, Any]:
    ours, limit = sides["ours"], sides["limit"]
    found = [side.figures() for side in sides.values()]
    rivals = [one for one in found if one["name"] not in SIDES]
    best = max(rivals, key=lambda one: one["per_s"], default=None)
    ratios = [mine / theirs for mine, theirs in zip(ours.per_s, limit.per_s, strict=True)]
    return {
        "sides": found,
        "absent": absent,
        "to_limit": round(median(ratios), 2),
        "to_limit_least": round(min(ratios), 2),
        "to_limit_most": round(max(ratios), 2),
        "best_peer": best["name"] if best else None,
        "to_best_peer": round(median(ours.per_s) / best["per_s"], 1) if best else None,
    }
