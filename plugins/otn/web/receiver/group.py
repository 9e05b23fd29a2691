"""Writing together: one commit, or one fsync, for all that wait at the same time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import structlog

from otn.web.spool import Receipt

MOST = 500  # receipts in one write
MOST_BYTES = 4_000_000  # of bodies in one write, unless one alone is larger
_log = structlog.get_logger("otn.receiver")

Write = Callable[[Sequence[Receipt]], int]
_Waiting = tuple[Receipt, asyncio.Future[bool]]


class Group:
    """Gathers receipts while the writers are busy, and gives them what has gathered. For one event loop.

    Args:
        writers: each writes receipts and says how many, from the first one on, are safe. One thread each.
    """

    def __init__(self, *writers: Write) -> None:
        self._idle = list(writers)
        self._threads = ThreadPoolExecutor(len(writers), "writer")
        self._waiting: deque[_Waiting] = deque()
        self._scheduled = False

    async def write(self, receipt: Receipt, seconds: float) -> bool:
        """Have a receipt written; True once it is safe, False where it could not be.

        Raises:
            TimeoutError: it took longer than this. It is not begun any more; what was begun may still succeed.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bool] = loop.create_future()
        self._waiting.append((receipt, future))
        if self._idle and not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._start)  # what arrived in the same moment goes along
        async with asyncio.timeout(seconds):
            return await future

    @property
    def has_idle(self) -> bool:
        """Whether a write could begin at once."""
        return bool(self._idle)

    def give_up(self) -> None:
        """Tell all whose write has not begun that it failed."""
        while self._waiting:
            _settle(self._waiting.popleft()[1], safe=False)

    def _start(self) -> None:
        self._scheduled = False
        while self._idle and (batch := self._take()):
            writer = self._idle.pop()
            receipts = [receipt for receipt, _ in batch]
            work = asyncio.get_running_loop().run_in_executor(self._threads, writer, receipts)
            work.add_done_callback(partial(self._ended, writer, batch))

    def _take(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size = 0
        while self._waiting and len(batch) < MOST:
            receipt, future = self._waiting[0]
            if not future.done():  # else it was given up
                size += len(receipt.body)
                if batch and size > MOST_BYTES:
                    break
                batch.append((receipt, future))
            self._waiting.popleft()
        return batch

    def _ended(self, writer: Write, batch: Sequence[_Waiting], work: asyncio.Future[int]) -> None:
        self._idle.append(writer)
        safe = 0
        if not work.cancelled() and (error := work.exception()) is not None:
            _log.error("not written", receipts=len(batch), error=type(error).__name__)
        elif not work.cancelled():
            safe = work.result()
        for number, (_, future) in enumerate(batch):
            _settle(future, safe=number < safe)
        self._start()

    def close(self) -> None:
        """Begin nothing any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _settle(future: asyncio.Future[bool], *, safe: bool) -> None:
    if not future.done():
        future.set_result(safe)
