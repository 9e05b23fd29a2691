"""Work on one line to the database, one piece at a time, each given up in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from otn.web.receiver.line import Line

Result = TypeVar("Result")


class Desk:
    """A line, the thread that uses it, and those who wait for it.

    Args:
        line: used by this desk alone.
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        self._thread = ThreadPoolExecutor(1, "desk")
        self._turn = asyncio.Lock()

    async def ask(self, work: Callable[[], Result], seconds: float) -> Result:
        """Have work done that waits for the database on this desk's line.

        Args:
            work: run in the desk's thread.
            seconds: patience, the time spent waiting for one's turn included.

        Raises:
            TimeoutError: it took longer. The line is cut, so that the next one finds the thread free.
        """
        async with asyncio.timeout(seconds), self._turn:
            try:
                return await asyncio.get_running_loop().run_in_executor(self._thread, work)
            except asyncio.CancelledError:
                self._line.cut()
                raise

    def close(self) -> None:
        """Give up what is still going on."""
        self._line.cut()
        self._thread.shutdown(wait=False, cancel_futures=True)
