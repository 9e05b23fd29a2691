"""Load on a webhook address, from a process of its own: ``python -m benchmarks.load`` reads its orders on stdin."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import uvloop

from benchmarks.wire import request_bytes

PATIENCE = 20.0  # seconds; longer than any answer may take, so that late ones are seen as late
BREATH = 0.02  # seconds before a connection that failed is opened again


@dataclass(frozen=True)
class Orders:
    """What to send.

    Args:
        port: on the loopback interface.
        secret: signs the bodies.
        name: begins each event's number, so that two loads never share one.
        seconds: how long.
        connections: kept open, each with one request at a time.
        rate: requests a second on all connections together; None: as fast as the answers come.
        path: of the address.
    """

    port: int
    secret: str
    name: str
    seconds: float
    connections: int
    rate: float | None = None
    path: str = "/webhook"


@dataclass
class Result:
    """What came back.

    Args:
        answers: how often each status.
        errors: how often each failure without an answer.
        seconds: each answer's time, in seconds.
        acknowledged: numbers of the events that were answered with 200.
        lasted: seconds from the first request to the last answer.
    """

    answers: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    lasted: float = 0.0


class Client:
    """One connection that sends event after event.

    Args:
        orders: what to send.
        number: which of the connections.
        result: of all of them.
    """

    def __init__(self, orders: Orders, number: int, result: Result) -> None:
        self._orders = orders
        self._number = number
        self._result = result
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def run(self, began: float) -> None:
        """Send until the time is over."""
        count = 0
        while (moment := time.monotonic()) < began + self._orders.seconds:
            if self._orders.rate:
                due = began + (count * self._orders.connections + self._number) / self._orders.rate
                await asyncio.sleep(max(0.0, due - moment))
            await self._send(f"{self._orders.name}-{self._number}-{count}")
            count += 1
        if self._streams:
            self._streams[1].close()

    async def _send(self, event: str) -> None:
        data = request_bytes(event, self._orders.secret, self._orders.path)
        started = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE):
                status = await self._exchange(data)
        except (OSError, EOFError, TimeoutError) as error:
            self._result.errors[type(error).__name__] += 1
            if self._streams:
                self._streams[1].close()
                self._streams = None
            await asyncio.sleep(BREATH)
            return
        self._result.seconds.append(time.monotonic() - started)
        self._result.answers[status] += 1
        if status == "200":
            self._result.acknowledged.append(event)

    async def _exchange(self, data: bytes) -> str:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._orders.port)
        reader, writer = self._streams
        writer.write(data)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        await reader.readexactly(int(head.partition("content-length:")[2].partition("\r\n")[0]))
        return head[9:12]


async def run(orders: Orders) -> Result:
    """Carry out orders."""
    result = Result()
    began = time.monotonic()
    await asyncio.gather(*(Client(orders, number, result).run(began) for number in range(orders.connections)))
    result.lasted = time.monotonic() - began
    return result


def main() -> None:
    """Read orders from stdin and print the result, both as JSON."""
    orders: dict[str, Any] = json.load(sys.stdin)
    json.dump(vars(uvloop.run(run(Orders(**orders)))), sys.stdout)


if __name__ == "__main__":
    main()
