"""The receiver's end of a connection: no stranger keeps it, feeds it without end, or crowds others out.

uvicorn bounds neither a request's head nor the time that it takes, and refuses everybody while too many connections
are open. Here a head is bounded in size and time, and of too many connections those go that have kept us waiting
longest: a signed webhook is there in milliseconds, so it never is one of them.
"""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

CONNECTIONS = 800  # beside files and lines to Postgres, within the 1,024 files that a process may usually open
HEAD_BYTES = 16_384  # address and headers of one request; the platform's have about 500
HEADERS = 64
HEAD_SECONDS = 10.0  # from the first byte, or from the connection, to the end of the headers
QUEUED = 8  # requests sent ahead on one connection
OVERHEAD_BYTES = 65_536  # of a body sent in chunks, beyond one byte for each of its own


class _RefusedError(Exception):
    """Ends the parsing; the answer was chosen before."""


class Door(HttpToolsProtocol):
    """A connection of somebody who may be anybody."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Let somebody in, for whom somebody else may have to go."""
        self._timer: asyncio.TimerHandle | None = None
        self._refusal = HTTPStatus.BAD_REQUEST
        self._in_head = True
        self._head = 0  # bytes of address and headers, trailers included
        self._headers = 0
        self._overhead = 0  # bytes received that were no part of a body
        self._begun = False
        self._since = time.monotonic()
        super().connection_made(transport)
        self._wait()
        if len(self.connections) > CONNECTIONS:
            _make_room(self)

    @property
    def waits(self) -> bool:
        """Whether it is the other side's turn."""
        return self.cycle is None or self.cycle.response_complete or self.cycle.more_body

    @property
    def since(self) -> float:
        """When the other side's turn began."""
        return self._since

    def leave(self) -> None:
        """Close at once, whatever is under way."""
        self.connections.discard(self)
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget about it."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, as long as it stays within bounds."""
        self._begun = False
        super().data_received(data)
        if self.transport.is_closing():
            return
        if not self._begun:
            self._overhead += len(data)
        if self._overhead > (HEAD_BYTES if self._in_head else OVERHEAD_BYTES):
            self._refusal = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            self._close_with_refusal()
            return
        if self.cycle is None or self.cycle.response_complete:
            self._wait()

    def on_message_begin(self) -> None:
        """Another request begins."""
        if len(self.pipeline) >= QUEUED:
            raise _RefusedError
        self._begun = self._in_head = True
        self._head = self._headers = self._overhead = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A piece of the address."""
        self._count(len(url), HTTPStatus.REQUEST_URI_TOO_LONG)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer behind a body."""
        self._headers += 1
        self._count(len(name) + len(value), HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is there: the request's own limits of time take over."""
        self._in_head = False
        self._overhead = 0
        self._since = time.monotonic()
        self._stop_waiting()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if not self._begun:
            self._overhead -= 2 * len(body)
        super().on_body(body)

    def on_response_complete(self) -> None:
        """It was answered; the next request may come, or the rest of a body that nobody wants."""
        self._since = time.monotonic()
        super().on_response_complete()
        if not self.transport.is_closing() and self.cycle.response_complete and self.cycle.more_body:
            self._unset_keepalive_if_required()  # it would be forgotten with the next byte
            self._wait()

    def send_400_response(self, msg: str) -> None:
        """What cannot be read, or not be borne, is refused; the parser tells no reason."""
        del msg
        self._close_with_refusal()

    def _count(self, size: int, refusal: HTTPStatus) -> None:
        self._head += size
        if self._head > HEAD_BYTES or self._headers > HEADERS:
            self._refusal = refusal
            raise _RefusedError

    def _wait(self) -> None:
        if self._timer is None and self.timeout_keep_alive_task is None:
            self._timer = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        if self._in_head:
            self._refusal = HTTPStatus.REQUEST_TIMEOUT
            self._close_with_refusal()
        else:
            self.leave()

    def _close_with_refusal(self) -> None:
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:  # else an answer may be half written
            text = self._refusal.phrase.encode()
            head = f"HTTP/1.1 {self._refusal.value} {self._refusal.phrase}\r\n".encode()
            length = f"content-length: {len(text)}\r\n".encode()
            kind = b"content-type: text/plain; charset=utf-8\r\n"
            self.transport.write(head + kind + length + b"connection: close\r\n\r\n" + text)
        self.transport.close()


def _make_room(newcomer: Door) -> None:
    """Close the connection that has kept us waiting longest; the newcomer, if all others are being worked for."""
    waiting = (one for one in newcomer.connections if isinstance(one, Door) and one.waits)
    min(waiting, key=lambda one: one.since, default=newcomer).leave()
