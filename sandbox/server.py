"""The HTTP server: Graph at the root, the control API under ``/_sandbox/``."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sandbox.control import PREFIX, Control
from sandbox.crowd import Crowd
from sandbox.faults import Faults
from sandbox.graph import Graph
from sandbox.journal import Journal
from sandbox.outbox import Outbox
from sandbox.refusal import Answer
from sandbox.send import SendApi
from sandbox.world import World

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Protocol(HttpToolsProtocol):
    """HTTP whose connection can be cut without an answer."""

    def on_headers_complete(self) -> None:
        """Hand the connection to the application."""
        self.scope["state"]["transport"] = self.transport
        super().on_headers_complete()


class Application:
    """The ASGI application.

    Args:
        graph: answers Graph calls.
        control: answers the control API.
    """

    def __init__(self, graph: Graph, control: Control) -> None:
        self._graph = graph
        self._control = control

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        if scope["type"] != "http":
            return
        body = await _body(receive)
        if body is None:
            return
        if scope["path"].startswith(PREFIX):
            await self._control.answer(scope, body, send)
            return
        headers = dict(scope["headers"])
        path, query = scope["raw_path"].decode("latin-1"), scope["query_string"].decode("latin-1")
        answer = self._graph.call(scope["method"], path, query, headers, body)
        self._graph.world.commit()
        if answer.delay_ms:
            await asyncio.sleep(answer.delay_ms / 1000)
        if answer.lost:
            scope["state"]["transport"].abort()
            await receive()
        else:
            await _respond(answer, send)


async def _body(receive: Receive) -> bytes | None:
    """Return the body, or None if the caller went away before its end."""
    message = await receive()
    if not message.get("more_body"):
        return message["body"] if message["type"] == "http.request" else None
    chunks = [message["body"]]
    while message.get("more_body"):
        message = await receive()
        if message["type"] != "http.request":
            return None
        chunks.append(message["body"])
    return b"".join(chunks)


async def _respond(answer: Answer, send: Send) -> None:
    raw = answer.body.encode()
    headers = [
        (b"content-type", answer.content_type.encode()),
        (b"content-length", str(len(raw)).encode()),
        (b"facebook-api-version", b"v26.0"),
        *((name.lower().encode(), value.encode()) for name, value in answer.headers),
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": raw})


class Server(uvicorn.Server):
    """Tells where it listens once it does."""

    url = ""
    port_file: Path | None = None
    outbox: Outbox

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell the port."""
        await super().startup(sockets)
        self.outbox.resume()
        if self.port_file is not None:
            half = self.port_file.with_name(self.port_file.name + ".part")
            half.write_text(self.url.rpartition(":")[2] + "\n")
            half.replace(self.port_file)
        print(f"sandbox listens on {self.url}", flush=True)  # noqa: T201 - how the starter learns the address

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Give up the webhooks on their way, then end."""
        await self.outbox.close()
        await super().shutdown(sockets)


def run(host: str, port: int, port_file: Path | None, journal_path: Path | None, seed: int) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        host: address to bind.
        port: port to bind; 0 takes a free one.
        port_file: where the port is written once it is listened on.
        journal_path: where the state is kept over restarts; None keeps it in memory only.
        seed: of everything random.
    """
    journal = Journal(journal_path)
    world = World(journal, seed)
    world.commit()
    faults = Faults(seed)
    outbox = Outbox(world)
    send_api = SendApi(world, faults, Crowd(world, outbox), outbox)
    control = Control(send_api)
    control.restore()
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise SystemExit(f"The sandbox cannot listen on {host} port {port}: {error.strerror}. Take another.") from None
    config = uvicorn.Config(
        Application(Graph(send_api), control),
        http=Protocol,
        loop="uvloop",
        lifespan="off",
        log_level="warning",
        access_log=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=2,
        server_header=False,
    )
    server = Server(config)
    server.outbox = outbox
    server.port_file = port_file
    shown = f"[{host}]" if ":" in host else host
    server.url = f"http://{shown}:{listener.getsockname()[1]}"
    # The state is large and lives on: full collections would stop the clock of every caller for nothing.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 1000)
    # uvicorn raises the signal again once it has ended; an orderly end is no error.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    server.run(sockets=[listener])
    world.close()
