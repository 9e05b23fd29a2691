"""Strangers at the receiver's door: endless, slow, smuggled, many. What is signed is taken meanwhile."""

from __future__ import annotations

import hashlib
import select
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest
import requests

from otn.messenger.signature import sign
from otn.web.receiver import app as app_module
from otn.web.receiver import body as body_module
from otn.web.receiver import door, telling
from tests.clean import database, emptied_url  # noqa: F401 - fixtures
from tests.receiver.conftest import (  # noqa: F401 - fixtures
    APP_SECRET,
    Receiver,
    process_environ,
    receiver_at,
    receiver_process,
    signed,
)

BODY = b'{"object":"page","entry":[]}'
FORGED = "sha256=" + hashlib.sha256(BODY).hexdigest()
PATIENCE_S = 5  # of the platform (Meta docs, Messenger webhooks)
FORGERS = 16
ENDLESS = 6_000_000  # bytes, far more than is read
SIGNED = 60


@pytest.fixture
def database_url(emptied_url: str) -> str:  # noqa: F811 - a fixture
    return emptied_url


@pytest.fixture
def receiver(receiver_at: Callable[..., Receiver], database_url: str) -> Receiver:  # noqa: F811 - a fixture
    return receiver_at(database_url)


@pytest.fixture
def many() -> Iterator[ExitStack]:
    """Sockets that are closed at the end."""
    with ExitStack() as stack:
        yield stack


def dial(receiver: Receiver) -> socket.socket:
    return socket.create_connection(("127.0.0.1", receiver.port), 20)


def answers(receiver: Receiver, *pieces: bytes) -> bytes:
    """All that is said to these bytes until the connection is closed."""
    with dial(receiver) as client:
        with suppress(ConnectionError):
            for piece in pieces:
                client.sendall(piece)
        said = b""
        with suppress(ConnectionError):
            while data := client.recv(65_536):
                said += data
        return said


def readable(sockets: set[socket.socket], patience_s: float = 30) -> list[socket.socket]:
    """Those of them to which something is said, as soon as it is said to one."""
    return select.select(list(sockets), [], [], patience_s)[0]


def head(*lines: bytes, target: bytes = b"POST /webhook") -> bytes:
    return b"\r\n".join([target + b" HTTP/1.1", b"Host: x", *lines, b"", b""])


def status(said: bytes) -> int:
    assert said.startswith(b"HTTP/1.1 "), said[:100]
    return int(said[9:12])


def taken(receiver: Receiver) -> bool:
    answer = requests.post(f"{receiver.url}/webhook", data=BODY, headers=signed(BODY), timeout=PATIENCE_S)
    return answer.status_code == 200


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        pytest.param(head(b"X-A: " + b"a" * 20_000), 431, id="one header"),
        pytest.param(head(*[b"X-%d: a" % number for number in range(70)]), 431, id="many headers"),
        pytest.param(head(target=b"GET /" + b"a" * 20_000), 414, id="address"),
        pytest.param(b"GET / HTTP/1.1\r\nX-A: " + b"a" * ENDLESS, 431, id="a header without end"),
        pytest.param(b"G" * 100, 400, id="no request"),
        pytest.param(head(b"Content-Length: 5", b"Transfer-Encoding: chunked") + b"0\r\n\r\n", 400, id="CL.TE"),
        pytest.param(head(b"Transfer-Encoding: chunked", b"Content-Length: 5") + b"0\r\n\r\n", 400, id="TE.CL"),
        pytest.param(head(b"Content-Length: 5", b"Content-Length: 6") + b"hello!", 400, id="two lengths"),
        pytest.param(head(b"Content-Length: -1"), 400, id="a length below nothing"),
        pytest.param(head(b"Content-Length : 5") + b"hello", 400, id="a space before the colon"),
        pytest.param(head(b"X-A: a\x00b"), 400, id="NUL"),
        pytest.param(head(b"X-A: a", b" b: folded"), 400, id="a folded line"),
    ],
)
def test_a_head_that_is_endless_or_ambiguous_is_refused_and_the_connection_closed(
    receiver: Receiver, sent: bytes, code: int
) -> None:
    said = answers(receiver, sent)
    if said or len(sent) < ENDLESS:  # bytes that are still under way may make the kernel forget the answer
        assert status(said) == code
        assert said.count(b"HTTP/1.1 ") == 1
        assert b"X-A" not in said
    assert taken(receiver)


@pytest.mark.parametrize("started", [b"", b"POST /webhook HTTP/1.1\r\nX-A: ", b"\r\n"], ids=["nothing", "half", "CRLF"])
def test_a_head_that_does_not_come_is_not_waited_for(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, started: bytes
) -> None:
    monkeypatch.setattr(door, "HEAD_SECONDS", 0.2)
    with dial(receiver) as client:
        client.sendall(started)
        assert status(client.recv(65_536)) == 408
        assert client.recv(65_536) == b""


def test_a_body_that_nobody_wants_does_not_hold_the_connection(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "HEAD_SECONDS", 0.2)
    with dial(receiver) as client:
        client.sendall(head(b"Content-Length: 1000000000000", target=b"POST /nothing") + b"x")
        assert status(client.recv(65_536)) == 404
        with suppress(ConnectionError):
            assert client.recv(65_536) == b""


def test_an_encoding_that_is_not_known_is_given_up(receiver: Receiver) -> None:
    said = answers(receiver, head(b"Transfer-Encoding: xchunked") + b"0\r\n\r\n")
    assert said == b"", "the connection is closed without an answer"
    assert taken(receiver)


def test_trailers_without_end_are_given_up(receiver: Receiver) -> None:
    said = head(b"X-Hub-Signature-256: " + FORGED.encode(), b"Transfer-Encoding: chunked") + b"1\r\nx\r\n0\r\n"
    trailers = [b"X-Trailer: " + b"a" * 1_000 + b"\r\n"] * 5_000
    assert answers(receiver, said, *trailers) == b"", "the connection is closed without an answer"
    assert taken(receiver)


def test_requests_sent_ahead_are_not_piled_up(receiver: Receiver) -> None:
    said = answers(receiver, head(target=b"GET /healthz") * 5_000)
    assert said.count(b"HTTP/1.1 ") <= 2 * door.QUEUED
    assert taken(receiver)


def test_no_other_protocol_is_spoken(receiver: Receiver) -> None:
    wanted = (b"Upgrade: websocket", b"Connection: Upgrade, close", b"Sec-WebSocket-Version: 13")
    said = answers(receiver, head(*wanted, b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", target=b"GET /webhook"))
    assert status(said) == 403
    assert b"websocket" not in said.lower()


@pytest.mark.parametrize("started", [b"", b"POST /webhook HTTP/1.1\r\nX-A: ", None], ids=["idle", "head", "body"])
def test_whoever_keeps_us_waiting_longest_goes_and_a_signed_webhook_is_taken(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, many: ExitStack, started: bytes | None
) -> None:
    monkeypatch.setattr(door, "CONNECTIONS", 20)
    if started is None:
        started = head(b"X-Hub-Signature-256: " + FORGED.encode(), b"Content-Length: 100") + b"half"
    slow = [many.enter_context(dial(receiver)) for _ in range(60)]
    for client in slow:
        with suppress(ConnectionError):
            client.sendall(started)
    assert all(taken(receiver) for _ in range(5))
    slow[0].settimeout(10)
    with suppress(ConnectionError):
        assert slow[0].recv(100) == b"", "the first of them had to go"


def test_a_few_large_bodies_leave_the_memory_for_the_many_small_ones(
    receiver_at: Callable[..., Receiver],  # noqa: F811 - a fixture
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    many: ExitStack,
) -> None:
    monkeypatch.setattr(body_module, "SMALL_BYTES", 1_000)
    monkeypatch.setattr(app_module, "BODIES_IN_FLIGHT", 50_000)
    monkeypatch.setattr(app_module, "KEPT_FOR_SMALL", 25_000)
    monkeypatch.setattr(body_module, "BODY_SECONDS", 600)
    receiver = receiver_at(database_url)
    large = head(b"X-Hub-Signature-256: " + FORGED.encode(), b"Content-Length: 20000") + b"x" * 19_999
    holding = [many.enter_context(dial(receiver)) for _ in range(4)]
    for client in holding:
        client.sendall(large)
    refused: list[socket.socket] = []
    while len(refused) < 3 and (ready := readable(set(holding) - set(refused))):
        refused += ready
    assert [status(client.recv(100)) for client in refused] == [503] * 3, "one large body fits beside what is kept"
    (held,) = set(holding) - set(refused)
    assert all(taken(receiver) for _ in range(20))
    assert readable({held}, 0) == [], "it is still waited for"


class Forger(threading.Thread):
    """Posts what is not signed rightly, again and again, until it is told to stop."""

    def __init__(self, receiver: Receiver, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._receiver = receiver
        self._stopped = stop
        self.answers: Counter[int] = Counter()

    def run(self) -> None:
        with requests.Session() as session:
            while not self._stopped.is_set():
                with suppress(requests.RequestException):
                    answer = session.post(
                        f"{self._receiver.url}/webhook",
                        data=BODY,
                        headers={"X-Hub-Signature-256": FORGED},
                        timeout=PATIENCE_S,
                    )
                    self.answers[answer.status_code] += 1


@contextmanager
def flood(receiver: Receiver) -> Iterator[list[Forger]]:
    """Forgers at work, told to stop whatever becomes of the test."""
    stop = threading.Event()
    forgers = [Forger(receiver, stop) for _ in range(FORGERS)]
    for forger in forgers:
        forger.start()
    try:
        yield forgers
    finally:
        stop.set()
        for forger in forgers:
            forger.join(30)


def test_a_flood_of_forgeries_does_not_starve_what_is_signed(receiver_process: Receiver) -> None:  # noqa: F811
    """Connections are served in turn: beside each signed request no more forged ones than there are forgers."""
    waits = []
    with flood(receiver_process) as forgers, requests.Session() as session:
        for number in range(SIGNED):
            body = b'{"number":%d}' % number
            began = time.monotonic()
            answer = session.post(
                f"{receiver_process.url}/webhook",
                data=body,
                headers={"X-Hub-Signature-256": sign(body, APP_SECRET)},
                timeout=PATIENCE_S,
            )
            waits.append(time.monotonic() - began)
            assert answer.status_code == 200
    forged = sum((forger.answers for forger in forgers), Counter())
    ratio = forged[403] / SIGNED
    print(f"{SIGNED} signed, all taken, beside {forged[403]} forged: 1 in {ratio:.1f}; longest {max(waits):.3f} s")
    assert set(forged) == {403}
    assert forged[403] > SIGNED, "it was a flood"
    receiver_process.settle()
    assert len(receiver_process.stored()) == SIGNED
    assert receiver_process.log is not None
    lines = receiver_process.log.read_text().count("status=403")
    assert lines <= telling.LINES, "a flood does not fill the disk with lines"
    told = receiver_process.log.read_text()
    assert not [secret for secret in (APP_SECRET, FORGED[7:], "page token") if secret in told]


def test_a_connection_that_is_torn_leaves_nothing_behind(receiver: Receiver) -> None:
    for _ in range(50):
        client = dial(receiver)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sendall(head(b"X-Hub-Signature-256: " + FORGED.encode(), b"Content-Length: 100") + b"half")
        client.close()
    assert taken(receiver)
