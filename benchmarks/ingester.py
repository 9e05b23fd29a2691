"""A process that ingests: ``python -m benchmarks.ingester`` with orders on standard input, keys in its environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass

from benchmarks.sender import peak_mb
from otn.campaign.evidence import settle
from otn.crypto import read_keyring
from otn.database import make_engine
from otn.database.schema import check_schema
from otn.intake.ingest import ingest_pending
from otn.local.supervision import python_path


@dataclass(frozen=True)
class Orders:
    """What to ingest.

    Args:
        url: of the database.
    """

    url: str


@dataclass(frozen=True)
class Taken:
    """What became of it.

    Args:
        webhooks: taken in.
        seconds: that it took.
        more_mb: memory in use at most, over what the process had before.
    """

    webhooks: int
    seconds: float
    more_mb: float


def ingest(orders: Orders, keys: dict[str, str]) -> Taken:
    """Ingest in a process of its own, as a task does.

    Args:
        orders: what.
        keys: the keyring's variables.

    Raises:
        CalledProcessError: it failed; why stands on standard error.
    """
    said = subprocess.run(
        [sys.executable, "-m", "benchmarks.ingester"],
        input=json.dumps(asdict(orders)),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": python_path()} | keys,
    ).stdout
    return Taken(**json.loads(said.splitlines()[-1]))


def main() -> None:
    """Take the orders, ingest, tell."""
    orders = Orders(**json.loads(sys.stdin.readline()))
    engine, keyring = make_engine(orders.url, application_name="otn bench"), read_keyring()
    check_schema(engine)
    idle_mb, began = peak_mb(), time.monotonic()
    balance = ingest_pending(engine, keyring, on_events=settle)
    seconds = time.monotonic() - began
    engine.dispose()
    sys.stdout.write(json.dumps(asdict(Taken(balance.webhooks, seconds, peak_mb() - idle_mb))))


if __name__ == "__main__":
    main()
