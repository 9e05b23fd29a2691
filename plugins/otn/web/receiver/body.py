"""Reading a request's body without trusting its length, its pace or its headers."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

BODY_LIMIT = 5_000_000  # bytes; a full aggregate of 1,000 updates stays well below
SMALL_BYTES = 65_536  # a body up to here is what the platform sends day by day
BODY_SECONDS = 10.0  # a sender that takes longer than this for one body is not the platform
LINGER_BYTES = 32_000_000
LINGER_SECONDS = 2.0


class BodyRefusedError(Exception):
    """A body that is not taken, with the answer that says why."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class Allowance:
    """Memory that all bodies in flight may take together: strangers can open many connections.

    Args:
        limit: bytes.
        kept: bytes of them that only small bodies may take, so that a few large ones never keep the many small out.
    """

    def __init__(self, limit: int, kept: int = 0) -> None:
        self._free = limit
        self._kept = kept

    def take(self, size: int, *, small: bool = True) -> None:
        """Reserve bytes.

        Args:
            size: how many.
            small: for a body of at most ``SMALL_BYTES``.

        Raises:
            BodyRefusedError: too much is in flight.
        """
        if size > self._free - (0 if small else self._kept):
            raise BodyRefusedError(503, "Busy. Send it again.")
        self._free -= size

    def give(self, size: int) -> None:
        """Hand reserved bytes back."""
        self._free += size


class Body:
    """The bytes of one request, counted against the allowance until they are let go.

    Args:
        allowance: of all requests together.
        limit: bytes of this one.
    """

    def __init__(self, allowance: Allowance, limit: int = BODY_LIMIT) -> None:
        self._allowance = allowance
        self._limit = limit
        self._chunks: list[bytes] = []
        self.size = 0

    async def read(self, request: Request) -> bytes:
        """Read it whole, giving up as soon as it is too long or too slow.

        Raises:
            BodyRefusedError: longer than the limit, slower than ``BODY_SECONDS``, or no memory for it.
            ClientDisconnect: the sender went away.
        """
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and (len(announced) > 15 or int(announced) > self._limit):
            raise BodyRefusedError(413, f"The body is larger than {self._limit} bytes.")
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for chunk in request.stream():
                    self._add(chunk)
        except TimeoutError:
            raise BodyRefusedError(408, f"The body took longer than {BODY_SECONDS:.0f} s.") from None
        return b"".join(self._chunks)

    def _add(self, chunk: bytes) -> None:
        if self.size + len(chunk) > self._limit:
            raise BodyRefusedError(413, f"The body is larger than {self._limit} bytes.")
        self._allowance.take(len(chunk), small=self.size + len(chunk) <= SMALL_BYTES)
        self.size += len(chunk)
        self._chunks.append(chunk)

    def release(self) -> None:
        """Let the bytes go."""
        self._allowance.give(self.size)
        self._chunks.clear()


class ClosingResponse(PlainTextResponse):
    """An answer to a body that was not read to its end.

    The rest is thrown away for a moment before the connection is closed: closing on unread bytes makes the
    kernel reset the connection, and the sender would never see the answer.
    """

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Answer at once, then linger."""
        headers = [*self.raw_headers, (b"connection", b"close")]
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": bytes(self.body), "more_body": True})
        with suppress(TimeoutError, ClientDisconnect):
            async with asyncio.timeout(LINGER_SECONDS):
                await _discard(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _discard(receive: Receive) -> None:
    left = LINGER_BYTES
    while left > 0:
        message = await receive()
        if message["type"] != "http.request" or not message.get("more_body"):
            return
        left -= len(message.get("body", b""))
