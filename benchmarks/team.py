"""Several senders at once, let go together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import asdict
from typing import Self

from benchmarks.sender import READY, Orders, Sent
from benchmarks.shop import Shop
from otn.local.supervision import python_path

PATIENCE_S = 3_600.0


class Sender:
    """One process that sends a chunk, ready to go.

    Args:
        orders: what it does.
        environment: variables of its own, keys among them.
    """

    def __init__(self, orders: Orders, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.sender"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": python_path()} | environment,
        )
        self._say(json.dumps(asdict(orders)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def ready(self) -> None:
        """Wait until it is.

        Raises:
            RuntimeError: it ended instead; why stands on standard error.
        """
        if self._process.stdout is None or self._process.stdout.readline() != READY:
            raise RuntimeError("A sender did not get ready; what it says is on standard error.")

    def go(self) -> None:
        """Let it go."""
        self._say("go")

    def sent(self) -> Sent:
        """Wait for its end.

        Raises:
            RuntimeError: it failed; why stands on standard error.
        """
        said, _ = self._process.communicate(timeout=PATIENCE_S)
        if self._process.returncode != 0:
            raise RuntimeError("A sender failed; what it says is on standard error.")
        return Sent(**json.loads(said))

    def _say(self, line: str) -> None:
        if self._process.stdin is not None:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()


def send(side: str, shop: Shop, campaign: int, chunks: int, environment: dict[str, str]) -> list[Sent]:
    """Send all chunks of a campaign at once, a process each; answers what each of them says.

    Args:
        side: ``ours`` or ``limit``.
        shop: its page and database.
        campaign: ``otn.campaign.id``.
        chunks: from 1 to so many.
        environment: of the processes.
    """
    with ExitStack() as stack:
        senders = [
            stack.enter_context(Sender(Orders(side, shop.url, asdict(shop.settings), campaign, chunk), environment))
            for chunk in range(1, chunks + 1)
        ]
        for one in senders:
            one.ready()
        for one in senders:
            one.go()
        return [one.sent() for one in senders]


def lasted(all_of_them: list[Sent]) -> float:
    """Seconds from the first that was let go to the last that ended."""
    return max(one.ended for one in all_of_them) - min(one.began for one in all_of_them)
