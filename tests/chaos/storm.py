"""A storm: many scenes at once, a Postgres that is killed under them, then calm, then the checker's verdict."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from benchmarks.stage import Cluster
from otn.database import migrate
from otn.errors import OtnError
from otn.local.postgres import PostgresError
from sandbox.process import start
from tests.chaos.checker import Findings, check
from tests.chaos.lives import Lives
from tests.chaos.nemesis import FAULTS, PEOPLE, TWO_TOKENS, Nemesis
from tests.chaos.scene import Place, Scene, new_keys

KILLS_PER_SEED = 10
SEEDS_AT_ONCE = 20  # of one round: a storm, a calm
SCENES_AT_ONCE = 10
ACTS_PER_KILL = 4
POSTGRES_EVERY_S = 16.0
STARTS = 40
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}

Tell = Callable[[int], None]


class NotDurableError(OtnError):
    """The Postgres of the run does not keep what it commits. Run it with its usual settings."""


@dataclass
class Verdict:
    """What a run found.

    Args:
        seeds: of the scenes.
        kills: of senders, by the step at which they died; and of Postgres.
        acts: what else befell them.
        findings: of each seed.
        settings: of Postgres, as it said itself.
        seconds: it took.
    """

    seeds: list[int] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    acts: Counter[str] = field(default_factory=Counter)
    findings: dict[int, Findings] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def violations(self) -> dict[int, list[str]]:
        """By seed; empty: the promise held."""
        return {
            seed: [str(one) for one in found.violations] for seed, found in self.findings.items() if found.violations
        }

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        figures: Counter[str] = Counter()
        undecidable: Counter[str] = Counter()
        for found in self.findings.values():
            figures.update(found.figures)
            undecidable.update(found.undecidable)
        return {
            "seeds": self.seeds,
            "kills": self.kills.total(),
            "kills_by_step": dict(self.kills.most_common()),
            "acts": dict(self.acts.most_common()),
            "figures": dict(figures),
            "undecidable": dict(undecidable),
            "woken_calls": sum(found.woken_calls for found in self.findings.values()),
            "violations": {str(seed): said for seed, said in self.violations.items()},
            "postgres": self.settings,
            "seconds": round(self.seconds, 1),
        }


def run(
    kills: int, seed: int, tell: Tell = lambda _: None, *, also: Sequence[int] = (), within_s: float = 3_600.0
) -> Verdict:
    """Kill so many senders on scenes of ``seed``, ``seed + 1``, …; its Postgres and its sandbox end with it.

    Args:
        kills: at least so many, Postgres not counted.
        seed: of the first scene.
        tell: told how many were killed so far.
        also: seeds that are played besides, before all others.
        within_s: no round begins later.

    Raises:
        NotDurableError: Postgres would forget what it commits.
        OtnError: a sender did what none should do.
    """
    verdict, began = Verdict(), time.monotonic()
    with _place() as (cluster, place):
        verdict.settings = _durable(place)
        while verdict.kills.total() - verdict.kills["postgres"] < kills and time.monotonic() - began < within_s:
            left = kills - (verdict.kills.total() - verdict.kills["postgres"])
            count = min(SEEDS_AT_ONCE, max(1, -(-left // KILLS_PER_SEED)))
            known = [] if verdict.seeds else [one for one in also if not seed <= one < seed + count]
            _round(cluster, place, [*known, *range(seed, seed + count)], min(left, KILLS_PER_SEED), verdict, tell)
            seed += count
    verdict.seconds = time.monotonic() - began
    return verdict


def _round(cluster: Cluster, place: Place, seeds: Sequence[int], kills: int, verdict: Verdict, tell: Tell) -> None:
    place.sandbox.faults(FAULTS)
    scenes = [Scene(place, PEOPLE, TWO_TOKENS) for _ in seeds]
    nemeses = [Nemesis(scene, seed) for scene, seed in zip(scenes, seeds, strict=True)]
    try:
        with ThreadPoolExecutor(SCENES_AT_ONCE) as threads:
            with _postgres_killed(cluster, seeds[0], verdict):
                storms = [threads.submit(one.storm, kills, kills * ACTS_PER_KILL) for one in nemeses]
                before = verdict.kills.total() - verdict.kills["postgres"]
                while not all(storm.done() for storm in storms):
                    tell(before + sum(one.kills.total() for one in nemeses))
                    time.sleep(0.2)
            for storm in storms:
                storm.result()
            place.sandbox.clear_faults()
            for calm in [threads.submit(one.scene.settle) for one in nemeses]:
                calm.result()
        for nemesis in nemeses:
            verdict.seeds.append(nemesis.seed)
            verdict.kills.update(nemesis.kills)
            verdict.acts.update(nemesis.acts)
            verdict.findings[nemesis.seed] = check(nemesis.scene.history())
        tell(verdict.kills.total() - verdict.kills["postgres"])
    finally:
        for scene in scenes:
            scene.close()


@contextmanager
def _postgres_killed(cluster: Cluster, seed: int, verdict: Verdict) -> Iterator[None]:
    """Meanwhile Postgres is killed now and then, and started again."""
    over, chance = threading.Event(), random.Random(seed)  # noqa: S311 - repeatable, not unpredictable

    def nemesis() -> None:
        while not over.wait(chance.uniform(0.5, 1.0) * POSTGRES_EVERY_S):
            cluster.kill()
            verdict.kills["postgres"] += 1
            over.wait(chance.uniform(0, 1))
            _start(cluster)

    with ThreadPoolExecutor(1) as thread:
        killing = thread.submit(nemesis)
        try:
            yield
        finally:
            over.set()
            killing.result()


def _start(cluster: Cluster) -> None:
    """Start Postgres again: what it left behind may live on for a moment, and it does not start beside that."""
    for attempt in range(1, STARTS + 1):
        try:
            cluster.start()
        except PostgresError:
            if attempt == STARTS:
                raise
            time.sleep(0.5)
        else:
            return


@contextmanager
def _place() -> Iterator[tuple[Cluster, Place]]:
    environ, keyring = new_keys()
    with Cluster() as cluster:
        url = cluster.server.url()
        migrate(url)
        sandbox = start(seed=1)
        try:
            with Lives(url, environ) as lives:
                yield cluster, Place(url, cluster.folder / "epoch.json", sandbox.control, lives, keyring)
        finally:
            sandbox.stop()


def _durable(place: Place) -> dict[str, str]:
    scene = Scene(place, 1)
    try:
        said = {name: str(scene.sql(f"SHOW {name}")[0][0]) for name in DURABLE}
    finally:
        scene.close()
    if said != DURABLE:
        raise NotDurableError(f"Postgres says {said}. Run it with its usual settings, or the kills prove nothing.")
    return said
