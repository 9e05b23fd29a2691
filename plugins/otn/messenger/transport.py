"""One HTTP call, bounded in time and size, of which it is known afterwards whether the platform can have seen it.

`requests` alone bounds each wait on the socket but not their sum, and its exceptions do not tell whether a byte was
written. Both are watched here, on the connection itself.
"""

from __future__ import annotations

import http.client
import io
import logging
import socket
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
import requests.adapters
import requests.auth
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

ANSWER_LIMIT = 4 * 1024 * 1024
_PIECE = 16 * 1024
# Routers forget quiet connections without a word; a request written into one is in doubt for the whole read limit.
_IDLE_LIMIT_S = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer, whatever it says."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class UnansweredError(Exception):
    """No complete answer came.

    Args:
        reason: A short word for it.
        written: Whether a byte of the request may have left; if not, it is proven that nothing happened.
        status: The HTTP status, if that much came.
    """

    def __init__(self, reason: str, *, written: bool, status: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.written = written
        self.status = status


@dataclass(slots=True)
class _Call:
    """The call that the current thread is in."""

    deadline: float
    read_timeout_s: float
    written: bool = False
    status: int | None = None

    def left(self) -> float:
        seconds = self.deadline - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("The time limit of the whole call is reached.")
        return seconds


_CALL: ContextVar[_Call | None] = ContextVar("otn_messenger_call", default=None)


def _current() -> _Call:
    call = _CALL.get()
    if call is None:
        raise RuntimeError("A connection of the transport was used outside of a call.")
    return call


class _BoundedReader(io.RawIOBase):
    """Reads from the socket, waiting no longer than the call has left."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        self._raw = raw
        self._sock = sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        call = _current()
        self._sock.settimeout(min(call.left(), call.read_timeout_s))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _BoundedResponse(http.client.HTTPResponse):
    """An answer whose status line and headers, too, are read against the limit of the whole call."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_BoundedReader(self.fp.detach(), sock))


class _WatchedConnection(HTTPConnection):
    """A connection that never starts writing after the limit, and that notes when it has begun to write."""

    response_class = _BoundedResponse
    last_used: float = 0.0

    def connect(self) -> None:
        call = _current()
        written = call.written
        if isinstance(self.timeout, (int, float)):
            self.timeout = min(self.timeout, call.left())
        try:
            super().connect()
        finally:
            call.written = written  # what was said to a proxy on the way is no part of the request

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        pieces = (data[at : at + _PIECE] for at in range(0, len(data), _PIECE)) if isinstance(data, bytes) else [data]
        for piece in pieces:
            call = _current()
            self.sock.settimeout(call.left())
            call.written = True
            super().send(piece)


class _WatchedTLSConnection(_WatchedConnection, HTTPSConnection):
    """The same over TLS."""


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _WatchedConnection

    def _get_conn(self, timeout: float | None = None) -> Any:
        connection = super()._get_conn(timeout)
        if isinstance(connection, _WatchedConnection) and time.monotonic() - connection.last_used > _IDLE_LIMIT_S:
            connection.close()
        return connection

    def _put_conn(self, conn: Any) -> None:
        if isinstance(conn, _WatchedConnection):
            conn.last_used = time.monotonic()
        super()._put_conn(conn)


class _TLSPool(_Pool, urllib3.HTTPSConnectionPool):
    ConnectionCls = _WatchedTLSConnection


POOLS: Mapping[str, type[_Pool]] = {"http": _Pool, "https": _TLSPool}  # by scheme, for use within ``bounded``


class _Adapter(requests.adapters.HTTPAdapter):
    """Watched connections, directly or through an HTTP proxy; never a second try."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = dict(POOLS)

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
        if proxy.lower().startswith("socks"):
            raise requests.exceptions.InvalidProxyURL("SOCKS proxies are not supported.")
        manager = super().proxy_manager_for(proxy, **proxy_kwargs)
        manager.pool_classes_by_scheme = dict(POOLS)
        return manager


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """Follow nothing: the access token goes to the platform's address and to no other."""


class _Bearer(requests.auth.AuthBase):
    """Set as the session's auth, which also keeps a netrc of the machine from overwriting the header."""

    def __init__(self, access_token: str) -> None:
        self._access_token = access_token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._access_token}"
        return request


class Transport:
    """Calls under one base address with one access token. Threads may share it.

    Args:
        base_url: Scheme, host and the API version, without a slash at the end.
        access_token: Goes into the ``Authorization`` header and nowhere else.
        connect_timeout_s: Limit for connecting. Looking up the name is bounded by the machine's resolver.
        read_timeout_s: Limit for each wait for bytes; the whole call has connect and read limit together.
        pool_size: How many connections are kept open.
    """

    def __init__(
        self, base_url: str, access_token: str, *, connect_timeout_s: float, read_timeout_s: float, pool_size: int
    ) -> None:
        self._base_url = base_url
        self._connect_timeout_s = connect_timeout_s
        self._read_timeout_s = read_timeout_s
        self._session = _Session()
        # Threads share the session because nothing in it changes after this: no cookies, no history.
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._session.auth = _Bearer(access_token)
        self._session.headers.clear()
        # Answers are small: without compression no answer can be larger than what was read.
        self._session.headers.update({"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "otn"})
        adapter = _Adapter(pool_connections=2, pool_maxsize=pool_size, max_retries=0)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def close(self) -> None:
        """Close the idle connections."""
        self._session.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        form: Mapping[str, str] | str | None = None,
        files: Mapping[str, tuple[str, bytes, str]] | None = None,
        read_timeout_s: float | None = None,
    ) -> Answer:
        """Make one request, once.

        Args:
            method: ``GET`` or ``POST``.
            path: Below the base address, beginning with a slash.
            query: Nothing secret: addresses end up in logs of others.
            form: Fields of the body, or a form that is written already.
            files: Field name to file name, content and MIME type.
            read_timeout_s: In place of the usual one.

        Raises:
            UnansweredError: No complete answer came within the limits.
        """
        read_timeout_s = read_timeout_s or self._read_timeout_s
        with (
            bounded(self._connect_timeout_s, read_timeout_s) as call,
            self._session.request(
                method,
                self._base_url + path,
                params=query,
                data=form.encode("ascii") if isinstance(form, str) else form,
                headers={"Content-Type": "application/x-www-form-urlencoded"} if isinstance(form, str) else None,
                files=files,
                timeout=(self._connect_timeout_s, read_timeout_s),
                allow_redirects=False,
                stream=True,
            ) as response,
        ):
            call.status = response.status_code
            return Answer(response.status_code, response.headers, _body(response))


class _TooLargeError(ValueError):
    """The answer is larger than any real one."""


_FAILURES = (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError)


def _body(response: requests.Response) -> bytes:
    pieces, size = [], 0
    for piece in response.iter_content(_PIECE):
        size += len(piece)
        if size > ANSWER_LIMIT:
            raise _TooLargeError
        pieces.append(piece)
    return b"".join(pieces)


@contextmanager
def bounded(connect_timeout_s: float, read_timeout_s: float) -> Iterator[_Call]:
    """Make one call on connections of ``POOLS``, which ends in time whatever the other side does.

    Args:
        connect_timeout_s: Limit for connecting; the whole call has both limits together.
        read_timeout_s: Limit for each wait for bytes.

    Raises:
        UnansweredError: No complete answer came within the limits.
    """
    call = _Call(time.monotonic() + connect_timeout_s + read_timeout_s, read_timeout_s)
    token = _CALL.set(call)
    try:
        yield call
    except _FAILURES as error:
        # "from None": the texts of these errors carry the address, and so perhaps a person's id.
        raise UnansweredError(_reason(error, call), written=call.written, status=call.status) from None
    finally:
        _CALL.reset(token)


def _reason(error: Exception, call: _Call) -> str:
    """Name the cause in one word, from the innermost error that says something."""
    if time.monotonic() >= call.deadline:
        return "total_timeout"
    chain = list(_chain(error))
    for kinds, reason in _REASONS:
        if any(isinstance(link, kinds) for link in chain):
            return reason
    if any(isinstance(link, (TimeoutError, urllib3.exceptions.TimeoutError)) for link in chain):
        return "read_timeout" if call.written else "connect_timeout"
    return "connection_cut" if call.written else "not_connected"


_REASONS: Sequence[tuple[type[BaseException] | tuple[type[BaseException], ...], str]] = (
    (_TooLargeError, "answer_too_large"),
    ((socket.gaierror, urllib3.exceptions.NameResolutionError), "name_not_resolved"),
    (ConnectionRefusedError, "connection_refused"),
    ((ssl.SSLEOFError, ssl.SSLZeroReturnError), "connection_cut"),
    ((ssl.SSLError, urllib3.exceptions.SSLError, ssl.CertificateError), "tls"),
    ((requests.exceptions.InvalidURL, requests.exceptions.InvalidProxyURL), "address_invalid"),
    ((ConnectionResetError, BrokenPipeError, http.client.RemoteDisconnected), "connection_cut"),
    ((http.client.IncompleteRead, urllib3.exceptions.IncompleteRead), "connection_cut"),
    ((http.client.HTTPException, urllib3.exceptions.InvalidHeader, urllib3.exceptions.DecodeError), "malformed_http"),
)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Walk the causes, which urllib3 and requests hand on in ``args`` and ``reason`` as well."""
    waiting, seen = [error], set[int]()
    while waiting:
        link = waiting.pop()
        if not isinstance(link, BaseException) or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        waiting += [link.__cause__, link.__context__, getattr(link, "reason", None), *link.args]


# urllib3 writes each address into the debug log and, on odd headers, into a warning; ours may name a person.
for _name in ("urllib3.connectionpool", "urllib3.connection"):
    logging.getLogger(_name).addFilter(lambda _record: _CALL.get() is None)
