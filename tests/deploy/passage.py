"""A way to a server that can be cut, as a network is: without a word."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import Self

from otn.local.ports import HOST

CHUNK = 1 << 16
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Passage:
    """Carries connections to a port of this machine.

    Where it is cut, nothing passes and nobody is told: what was on its way is lost, connections stay open, new ones are
    taken and get no answer. When it is mended, the old connections break, and new ones go through.

    Args:
        target: port that it leads to.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.refused = 0  # connections that were taken while it was cut
        self._open = True
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._writers: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._take, HOST, 0), self._loop).result()
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def cut(self) -> int:
        """Let nothing pass from now on; answers how many connections that caught."""
        return self._do(self._set(is_open=False))

    def mend(self) -> int:
        """Let new connections through, and break those that were caught; answers how many."""
        return self._do(self._set(is_open=True))

    def _do(self, work: object) -> int:
        return int(asyncio.run_coroutine_threadsafe(work, self._loop).result(10))  # type: ignore[arg-type]

    async def _set(self, *, is_open: bool) -> int:
        caught = len(self._writers) // 2
        if is_open and not self._open:
            self._break()
        self._open = is_open
        for pump in self._pumps:
            pump.cancel()
        return caught

    def _break(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _close(self) -> int:
        self._server.close()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        self._break()
        return 0

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        if not self._open:
            self.refused += 1
            return
        try:
            there = await asyncio.open_connection(HOST, self.target)
        except OSError:
            self._drop(writer)
            return
        self._writers.add(there[1])
        for one, other in (((reader, writer), there), (there, (reader, writer))):
            pump = self._loop.create_task(self._carry(one, other))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    async def _carry(self, one: Streams, other: Streams) -> None:
        try:
            with suppress(OSError):
                while data := await one[0].read(CHUNK):
                    other[1].write(data)
                    await other[1].drain()
        except asyncio.CancelledError:  # cut: both ends stay open, and hear nothing
            return
        self._drop(one[1])
        self._drop(other[1])

    def _drop(self, writer: asyncio.StreamWriter) -> None:
        self._writers.discard(writer)
        writer.close()
