"""Blows that a campaign gets while it is sending, and what is known of how it went on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psutil

from tests.system.machinery import System, eventually
from tests.system.scenes import Scene

TAKE_UP_S = 120.0  # a killed sender's work goes on within two minutes

PROGRESS = """
    SELECT count(*) FILTER (WHERE step = 'intent') AS intents, count(*) FILTER (WHERE step = 'answer') AS answers,
           array_agg(DISTINCT sender) AS senders, (array_agg(sender ORDER BY at DESC))[1] AS last_sender
    FROM otn.attempt WHERE campaign_id = %s
"""
NEXT_ANSWER = """
    SELECT min(at) FROM otn.attempt WHERE campaign_id = %s AND step = 'answer' AND at > %s AND sender <> ALL (%s)
"""


@dataclass
class Hit:
    """One campaign and its blow.

    Args:
        scene: whose.
        at: by the clock of this machine, which is the database's too.
        senders: whose answers do not count as taking the work up; empty where they live on.
        in_doubt: calls that had begun and were not answered.
        left: people who had not been called yet.
        run: the run of ``otn_broadcast`` that is to bring it to its end.
    """

    scene: Scene
    at: datetime
    senders: list[str]
    in_doubt: int
    left: int
    run: str = ""


def progress(system: System, scene: Scene) -> Any:
    """Calls so far and who made them; None before the campaign is planned."""
    found = system.rows("SELECT id FROM otn.campaign WHERE key = %s AND planned_at IS NOT NULL", scene.name)
    return system.rows(PROGRESS, found[0].id)[0] if found else None


def is_in_mid_chunk(system: System, scene: Scene) -> bool:
    """Whether a fifth of the people are answered and a call is under way; a campaign past that is a missed chance."""
    now = progress(system, scene)
    if not now or now.answers < len(scene.people) / 5:
        return False
    assert now.answers < len(scene.people), f"{scene.name} was over before the blow"
    return bool(now.intents > now.answers)


def in_mid_chunk(system: System, scene: Scene) -> None:
    """Wait until it is."""
    eventually(lambda: is_in_mid_chunk(system, scene), f"{scene.name} in mid-chunk")


def sender(system: System, scene: Scene) -> psutil.Process:
    """The process that makes the calls, by the name that it gives itself in the attempt log."""
    return psutil.Process(int(progress(system, scene).last_sender.rpartition("/")[2]))


def frozen_in_mid_chunk(system: System, scene: Scene) -> psutil.Process:
    """The sender, stopped while a call of its is unanswered: between a look and a blow the answer may come."""

    def stopped() -> psutil.Process | None:
        process = sender(system, scene)
        process.suspend()
        if is_in_mid_chunk(system, scene):
            return process
        process.resume()
        return None

    return eventually(stopped, f"{scene.name} stopped in mid-chunk")


def hit(system: System, scene: Scene, blow: Callable[[], object], *, senders_die: bool = True) -> Hit:
    """Let the blow fall while the campaign is in mid-chunk."""
    in_mid_chunk(system, scene)
    blow()
    at = datetime.now().astimezone()
    now = eventually(lambda: progress(system, scene), f"what became of {scene.name}")
    called = system.one(
        "SELECT count(*) FROM otn.recipient WHERE campaign_id = %s AND attempts > 0", system.campaign_id(scene)
    )
    senders = list(now.senders) if senders_die else []
    return Hit(scene, at, senders, now.intents - now.answers, len(scene.people) - called)


def hit_each(
    system: System,
    blows: Mapping[str, Callable[[], object]],
    survivors: Collection[str],
    stopped: Mapping[str, psutil.Process],
) -> dict[str, Hit]:
    """Let each campaign's blow fall when it is in mid-chunk, whichever is first.

    Args:
        system: the running system.
        blows: by scene.
        survivors: scenes whose sender lives on.
        stopped: by scene, a sender that its blow has stopped, and that goes on after it.
    """
    hits: dict[str, Hit] = {}

    def all_hit() -> bool:
        for name in blows.keys() - hits.keys():
            scene = system.scenes[name]
            if is_in_mid_chunk(system, scene):
                hits[name] = hit(system, scene, blows[name], senders_die=name not in survivors)
                if name in stopped:
                    stopped[name].resume()
        return hits.keys() == blows.keys()

    eventually(all_hit, f"{', '.join(blows)} in mid-chunk")
    return hits


def take_up_s(system: System, found: Hit) -> float:
    """Seconds from the blow to the first answer that somebody else recorded; waits for it."""
    campaign_id = system.campaign_id(found.scene)

    def answered() -> datetime | None:
        return system.rows(NEXT_ANSWER, campaign_id, found.at, found.senders)[0][0]

    moment = eventually(answered, f"{found.scene.name} taken up", TAKE_UP_S * 2)
    return (moment - found.at).total_seconds()
