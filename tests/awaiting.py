"""What happens by and by is waited for, not slept for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
PATIENCE_S = 60.0  # a busy machine may stand still for seconds


def eventually(happened: Callable[[], T], what: str, patience_s: float = PATIENCE_S, poll_s: float = 0.02) -> T:
    """Wait until something has happened, and answer it.

    Args:
        happened: asked again and again; anything true ends the wait.
        what: to say when it does not.
        patience_s: for how long.
        poll_s: between two looks.

    Raises:
        AssertionError: it does not happen.
    """
    end = time.monotonic() + patience_s
    while not (found := happened()):
        assert time.monotonic() < end, f"{what}: not within {patience_s:.0f} s"
        time.sleep(poll_s)
    return found
