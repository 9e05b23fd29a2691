"""A sandbox of its own for these tests, and a receiver that remembers what it was posted."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from sandbox import process


@dataclasses.dataclass
class Post:
    """One POST as it came in: raw bytes and headers."""

    raw: bytes
    headers: Mapping[str, str]
    status: int

    @property
    def events(self) -> list[dict[str, Any]]:
        return [event for entry in json.loads(self.raw)["entry"] for event in entry["messaging"]]


class Receiver:
    """Acknowledges webhooks while `answering`; `answers` holds statuses for the next POSTs, then it is 200."""

    def __init__(self) -> None:
        self.posts: list[Post] = []
        self.answers: list[int] = []
        self.handshakes: list[dict[str, list[str]]] = []
        self.challenge = True
        self.answering = threading.Event()
        self.answering.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                query = parse_qs(urlsplit(self.path).query)
                receiver.handshakes.append(query)
                self.say(200, query["hub.challenge"][0].encode() if receiver.challenge else b"no")

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                status = receiver.answers.pop(0) if receiver.answers else 200
                receiver.posts.append(Post(raw, dict(self.headers), status))
                receiver.answering.wait(60)
                self.say(status, b"")

            def say(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/webhook"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [event for post in self.posts if post.status == 200 for event in post.events]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if kind in event]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with contextlib.closing(Receiver()) as made:
        yield made


@pytest.fixture(scope="module")
def sandbox_process() -> Iterator[process.Handle]:
    with process.start(seed=7) as handle:
        yield handle


@pytest.fixture
def sandbox(sandbox_process: process.Handle) -> process.Handle:
    sandbox_process.control.reset()
    return sandbox_process


@dataclasses.dataclass
class Caller:
    """Calls the Graph API as a page."""

    url: str
    page: dict[str, Any]
    session: requests.Session

    @property
    def page_id(self) -> str:
        return self.page["page_id"]

    def post(self, path: str = "/v26.0/me/messages", **kwargs: Any) -> requests.Response:
        kwargs.setdefault("headers", {"Authorization": f"Bearer {self.page['access_token']}"})
        return self.session.post(self.url + path, timeout=30, **kwargs)

    def send(self, recipient: dict[str, Any], message: Any = None, **more: Any) -> requests.Response:
        message = {"text": "hello"} if message is None else message
        return self.post(json={"recipient": recipient, "message": message, **more})

    def spend(self, token: str, message: Any = None, **more: Any) -> requests.Response:
        return self.send({"one_time_notif_token": token}, message, **more)

    def batch(self, items: list[dict[str, Any]], **more: Any) -> requests.Response:
        return self.post("/v26.0/", data={"batch": json.dumps(items), **more})


@pytest.fixture
def caller(sandbox: process.Handle) -> Iterator[Caller]:
    with requests.Session() as session:
        session.trust_env = False
        yield Caller(sandbox.url, sandbox.control.page(name="A page"), session)


@pytest.fixture
def tokens(sandbox: process.Handle, caller: Caller) -> list[dict[str, Any]]:
    """Six people, one token each."""
    sandbox.control.people(caller.page_id, 6, profiles="plain")
    return sandbox.control.optins(caller.page_id, "news", list_tokens=True)["rows"]


def error_of(answer: requests.Response) -> tuple[int, int | None]:
    error = answer.json()["error"]
    return error["code"], error.get("error_subcode")


@pytest.fixture(name="error_of")
def _error_of() -> Any:
    return error_of
