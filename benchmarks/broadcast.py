"""Broadcasting: claimed, sent and recorded for each person, beside the bare client and beside what others would use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks import peers
from benchmarks.peers import Ground, PeerAbsentError, Run
from benchmarks.shop import Shop, settle
from benchmarks.stage import Cluster
from benchmarks.team import lasted, send
from otn.campaign.send import SendLimits
from otn.crypto import new_key, read_keyring
from otn.local.progress import Progress, Silence
from sandbox.process import start

PEOPLE = 20_000
ROUNDS = 5
SENDERS = 1  # tasks at once: one has up to 300,000 people where the pace is off
SHARE = 20  # a peer sends to so many times fewer people, or it would take minutes
SIDES = ("limit", "ours")


@dataclass
class Side:
    """What one of them did, round by round.

    Args:
        name: of it.
        people: of each round.
        per_s: messages a second, in each.
    """

    name: str
    people: int
    per_s: list[float] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        """Median and spread."""
        return {
            "name": self.name,
            "people": self.people,
            "per_s": round(median(self.per_s)),
            "least_per_s": round(min(self.per_s)),
            "most_per_s": round(max(self.per_s)),
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
    with shop() as (cluster, one, environment), ExitStack() as stack:
        ready, absent = _peers(stack, Ground(cluster, one), progress)
        sides |= {name: Side(name, few) for name in ready}
        for number in range(rounds):
            for name in SIDES:
                progress.stage(f"round {number + 1} of {rounds}, {name}")
                sides[name].per_s.append(people / _send(name, one, people, senders, environment))
            for name, peer in ready.items():
                progress.stage(f"round {number + 1} of {rounds}, {name}")
                sides[name].per_s.append(few / peer(few))
    return _figures(sides, absent) | {"rounds": rounds, "senders": senders, "threads": SendLimits().threads}


@contextmanager
def shop() -> Iterator[tuple[Cluster, Shop, dict[str, str]]]:
    """A database, a platform and a page between them; and the environment of a sender there."""
    keys = {"OTN_ENCRYPTION_KEYS": new_key(), "OTN_HASH_KEY": new_key()}
    with Cluster() as cluster, start(seed=1) as sandbox:
        environment = keys | {"OTN_EPOCH_FILE": str(cluster.folder / "epoch")}
        before = os.environ.get("OTN_EPOCH_FILE")
        os.environ["OTN_EPOCH_FILE"] = environment["OTN_EPOCH_FILE"]  # planning looks at it too
        one = Shop.open(cluster, sandbox.control, read_keyring(keys))
        try:
            yield cluster, one, environment
        finally:
            one.engine.dispose()
            del os.environ["OTN_EPOCH_FILE"]
            os.environ |= {"OTN_EPOCH_FILE": before} if before is not None else {}


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


def _send(name: str, one: Shop, people: int, senders: int, environment: dict[str, str]) -> float:
    campaign = one.planned(people, senders)
    settle(one.engine)
    done = send(name, one, campaign, senders, environment)
    reached = sum(each.people for each in done)
    if reached != people:
        raise RuntimeError(f"{name} reached {reached} of {people} people.")
    return lasted(done)


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
