"""A process that plans a campaign: ``python -m benchmarks.planner`` with its orders on standard input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass

from benchmarks.sender import peak_mb
from otn.campaign import plan as planning
from otn.database import make_engine
from otn.database.schema import check_schema
from otn.local.supervision import python_path


@dataclass(frozen=True)
class Orders:
    """What to plan.

    Args:
        url: of the database.
        campaign: ``otn.campaign.id``.
        per_second: messages that its senders may count on.
    """

    url: str
    campaign: int
    per_second: float


@dataclass(frozen=True)
class Made:
    """What became of it.

    Args:
        planned: people who are to get the message.
        excluded: people left out.
        seconds: that it took, its commit with it.
        more_mb: memory in use at most, over what the process had before.
    """

    planned: int
    excluded: int
    seconds: float
    more_mb: float


def plan(orders: Orders) -> Made:
    """Plan in a process of its own, as a task does.

    Raises:
        CalledProcessError: it failed; why stands on standard error.
    """
    said = subprocess.run(
        [sys.executable, "-m", "benchmarks.planner"],
        input=json.dumps(asdict(orders)),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": python_path()},
    ).stdout
    return Made(**json.loads(said))


def main() -> None:
    """Take the orders, plan, tell."""
    orders = Orders(**json.loads(sys.stdin.readline()))
    engine = make_engine(orders.url, application_name="otn bench")
    check_schema(engine)
    idle_mb, began = peak_mb(), time.monotonic()
    made = planning.plan(engine, orders.campaign, messages_per_second=orders.per_second)
    seconds = time.monotonic() - began
    engine.dispose()
    sys.stdout.write(json.dumps(asdict(Made(made.planned, made.excluded, seconds, peak_mb() - idle_mb))))


if __name__ == "__main__":
    main()
