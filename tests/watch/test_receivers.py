"""Receivers, asked over HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from otn.errors import ConfigurationError
from otn.watch import receivers
from otn.watch.look import may_resubscribe, receiver_urls

Answering = Callable[[int, Any], str]


@pytest.fixture
def answering() -> Iterator[Answering]:
    """Starts a receiver that gives one answer; answers its address."""
    servers: list[ThreadingHTTPServer] = []

    def start(status: int, body: Any) -> str:
        text = body if isinstance(body, bytes) else json.dumps(body).encode()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status if self.path == "/healthz" else 404)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def spool(events: int, age: float, *, draining: bool = False) -> dict[str, Any]:
    return {"events": events, "bytes": 1, "oldest_age_s": age, "draining": draining, "room": True}


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, {"status": "ok", "database": "ok", "spool": spool(0, 0)}, {"receiver": "ok", "spool": "ok"}),
        (200, {"status": "ok", "database": "ok"}, {"receiver": "ok", "spool": "ok"}),
        (
            200,
            {"status": "spooling", "database": "does not answer", "spool": spool(9, 20)},
            {"receiver": "ok", "spool": "warn"},
        ),
        (200, {"status": "spooling", "database": "x", "spool": spool(9, 900)}, {"receiver": "ok", "spool": "alarm"}),
        (200, {"status": "ok", "spool": spool(9, 20, draining=True)}, {"receiver": "ok", "spool": "ok"}),
        (200, {"status": "ok", "spool": spool(9, 9000, draining=True)}, {"receiver": "ok", "spool": "alarm"}),
        (503, {"status": "unavailable", "spool": spool(9, 900)}, {"receiver": "alarm", "spool": "alarm"}),
        (200, {"status": "ok", "spool": {"events": "many", "oldest_age_s": None}}, {"receiver": "ok", "spool": "ok"}),
        (200, b"<html>", {"receiver": "alarm"}),
        (200, ["ok"], {"receiver": "alarm"}),
        (200, b"[" * 200_000, {"receiver": "alarm"}),
    ],
    ids=[str(n) for n in range(11)],
)
def test_what_it_says_of_itself(answering: Answering, status: int, body: Any, expected: dict[str, str]) -> None:
    found = receivers.findings([answering(status, body)])
    assert {one.kind: one.level for one in found} == expected


def test_nobody_there_is_an_alarm_that_shows_no_password() -> None:
    (one,) = receivers.findings(["http://me:secret@127.0.0.1:1"])
    assert one.level == "alarm"
    assert "secret" not in one.sentence + one.subject


def test_each_receiver_is_a_subject(answering: Answering) -> None:
    urls = [answering(200, {"status": "ok"}), "http://127.0.0.1:1"]
    assert [(one.kind, one.level) for one in receivers.findings(urls)] == [
        *[("receiver", "ok"), ("spool", "ok"), ("receiver", "alarm")],
    ]


def test_where_receivers_are() -> None:
    assert receiver_urls({}) == []
    assert receiver_urls({"OTN_RECEIVER_PORT": "8081"}) == ["http://127.0.0.1:8081"]
    assert receiver_urls({"OTN_RECEIVER_PORT": "8081", "OTN_RECEIVER_HOST": "::"}) == ["http://127.0.0.1:8081"]
    assert receiver_urls({"OTN_RECEIVER_PORT": "1", "OTN_RECEIVER_URL": "http://a, http://b,"}) == [
        "http://a",
        "http://b",
    ]


def test_whether_subscriptions_are_repaired() -> None:
    assert may_resubscribe({})
    assert may_resubscribe({"OTN_RESUBSCRIBE": "On"})
    assert not may_resubscribe({"OTN_RESUBSCRIBE": "0"})
    with pytest.raises(ConfigurationError, match="on or off"):
        may_resubscribe({"OTN_RESUBSCRIBE": "perhaps"})
