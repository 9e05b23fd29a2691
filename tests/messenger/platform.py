"""A stand-in for the network side of the platform: a socket that says exactly what a test wants it to say."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

TOKEN = "EAAB-page-token"
SECRET = "app-secret"
PAGE = "1122334455"
SENT = b'{"recipient_id":"28777805391819468","message_id":"m_AG5Hz2U"}'


@dataclass
class Received:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.target).query).items()}

    @property
    def form(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.body.decode(), keep_blank_values=True).items()}


def http(status: int, body: bytes | str | object, *, headers: dict[str, str] | None = None) -> bytes:
    """Return a whole HTTP answer."""
    if not isinstance(body, bytes):
        body = (body if isinstance(body, str) else json.dumps(body)).encode()
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


Script = Callable[[Received, socket.socket], object]


@dataclass
class Platform:
    """Listens on loopback; ``script`` answers each request and may do to the socket what it likes."""

    script: Script = lambda _request, sock: sock.sendall(http(200, SENT))
    tls: ssl.SSLContext | None = None
    received: list[Received] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    hung_up: threading.Event = field(default_factory=threading.Event)
    accepted: int = 0

    def start(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self._spawn(self._accept)

    def stop(self) -> None:
        self.released.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def says(self, *answers: bytes) -> None:
        """Give these answers, in order, the last one for ever."""
        waiting = list(answers)
        self.script = lambda _request, sock: sock.sendall(waiting.pop(0) if len(waiting) > 1 else waiting[0])

    def _spawn(self, work: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self.accepted += 1
                self._open.append(sock)
                self._spawn(self._serve, sock, self.accepted)

    def _serve(self, sock: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError):
            if self.tls:
                sock = self.tls.wrap_socket(sock, server_side=True)
                self._open.append(sock)
            with sock, sock.makefile("rb") as stream:
                while request := self._request(stream, number):
                    self.received.append(request)
                    self.script(request, sock)
                    if sock.fileno() == -1:
                        break
        with contextlib.suppress(OSError):
            sock.close()
        self.hung_up.set()

    def _request(self, stream: object, number: int) -> Received | None:
        line = stream.readline().decode().split()
        if not line:
            return None
        headers = {}
        while (header := stream.readline().decode().strip()) != "":
            name, _, value = header.partition(":")
            headers[name.strip().lower()] = value.strip()
        body = stream.read(int(headers.get("content-length", 0)))
        return Received(line[0], line[1], headers, body, number)
