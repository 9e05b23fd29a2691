from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
import requests

from otn.database import Engine, transaction
from otn.messenger.signature import sign
from otn.web.receiver import app as app_module
from otn.web.receiver import body as body_module

from .conftest import APP_SECRET, ENVIRON, VERIFY_TOKEN, Receiver, page_variable, signed

OPTIN = json.dumps(
    {
        "object": "page",
        "entry": [
            {
                "id": "1001",
                "time": 1458692752999,
                "messaging": [
                    {
                        "sender": {"id": "28777805391819468"},
                        "recipient": {"id": "1001"},
                        "timestamp": 1458692752478,
                        "optin": {
                            "type": "one_time_notif_req",
                            "payload": "<USER_DEFINED_PAYLOAD> äöå 🎉 a/b",
                            "one_time_notif_token": "<ONE_TIME_TOKEN>",
                        },
                    }
                ],
            }
        ],
    }
).encode()

# Signed by its looks, so that the body is read.
HEAD = b"POST /webhook HTTP/1.1\r\nHost: x\r\nX-Hub-Signature-256: sha256=" + b"0" * 64
HEAD += b"\r\nContent-Length: %d\r\n\r\n"

BODIES = {
    "optin, escaped": OPTIN,
    "optin, slashes escaped": OPTIN.replace(b"/", b"\\/"),
    "spaces kept": b' {"object" :\t"page",\r\n"entry":[]}\n',
    "truncated": OPTIN[:-20],
    "no JSON": b"hello",
    "another shape": b"[1, null, {}]",
    "empty": b"",
    "NUL": b'{"text":"a\x00b\\u0000"}',
    "lone surrogate": b'{"text":"\\ud800 \xed\xa0\x80"}',
    "no UTF-8": bytes(range(256)),
    "limit": b"x" * 5_000_000,
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_what_was_signed_is_stored_byte_for_byte(receiver: Receiver, body: bytes) -> None:
    answer = receiver.post(body)
    assert (answer.status_code, answer.text) == (200, "EVENT_RECEIVED")
    assert receiver.stored_in_the_end(1) == [body]


def test_the_stored_form_shows_nothing_and_has_the_day(receiver: Receiver) -> None:
    receiver.post(OPTIN)
    receiver.stored_in_the_end(1)
    with transaction(receiver.database) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT received_day, body, ingested_at, tableoid::regclass::text AS place FROM otn.webhook_event"
        )
        row = cursor.fetchone()
    assert abs(row.received_day - datetime.now(UTC).date()) <= timedelta(days=1)
    assert row.place == f"otn.webhook_event_{row.received_day:%Y%m%d}"
    assert row.ingested_at is None
    assert b"TOKEN" not in bytes(row.body)


def test_the_same_delivery_twice_is_two_receipts(receiver: Receiver) -> None:
    assert [receiver.post(OPTIN).status_code for _ in range(2)] == [200, 200]
    assert receiver.stored_in_the_end(2) == [OPTIN, OPTIN]


def test_the_vector_of_the_platform(receiver_at: Callable[..., Receiver], database_url: str) -> None:
    receiver = receiver_at(database_url, {"AIRFLOW_CONN_MESSENGER_DEFAULT": page_variable(app_secret="secret")})
    vector = "88aab3ede8d3adf94d26ab90d3bafd4a2083070c3bcce9c014ee04a443847c0b"
    assert receiver.post(b"hello", {"X-Hub-Signature-256": f"sha256={vector}"}).status_code == 200
    assert receiver.post(b"hello", {"X-Hub-Signature-256": vector}).status_code == 403
    assert receiver.stored_in_the_end(1) == [b"hello"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Hub-Signature-256": ""},
        {"X-Hub-Signature-256": "sha256="},
        {"X-Hub-Signature-256": sign(OPTIN, "another secret")},
        {"X-Hub-Signature-256": sign(OPTIN, "")},
        {"X-Hub-Signature-256": sign(OPTIN + b" ", APP_SECRET)},
        {"X-Hub-Signature-256": sign(OPTIN, APP_SECRET)[:-1]},
        {"X-Hub-Signature-256": "sha256=" + "é" * 64},
        {"X-Hub-Signature": "sha1=" + "0" * 40},
    ],
)
def test_a_wrong_or_missing_signature_is_refused_and_stores_nothing(
    receiver: Receiver, headers: dict[str, str]
) -> None:
    encoded = {name: value.encode("latin-1") for name, value in headers.items()}
    assert receiver.post(OPTIN, encoded).status_code == 403
    assert receiver.stored() == []


def test_every_registered_page_may_sign(
    receiver_at: Callable[..., Receiver], database: Engine, database_url: str
) -> None:
    register(database, "2002", "second_page")
    environ = ENVIRON | {"AIRFLOW_CONN_SECOND_PAGE": page_variable(app_secret="second")}
    environ |= {"AIRFLOW_CONN_STRANGER": page_variable(app_secret="third")}
    receiver = receiver_at(database_url, environ)
    answers = [receiver.post(OPTIN, signed(OPTIN, secret)).status_code for secret in (APP_SECRET, "second", "third")]
    assert answers == [200, 200, 403]


def test_a_page_registered_meanwhile_is_taken(
    receiver_at: Callable[..., Receiver], database: Engine, database_url: str
) -> None:
    environ = ENVIRON | {"AIRFLOW_CONN_SECOND_PAGE": page_variable(app_secret="second")}
    receiver = receiver_at(database_url, environ, refresh_seconds=0)
    assert receiver.post(OPTIN, signed(OPTIN, "second")).status_code == 403
    register(database, "2002", "second_page")
    assert receiver.post(OPTIN, signed(OPTIN, "second")).status_code == 200


def test_one_unreadable_connection_does_not_silence_the_others(
    receiver_at: Callable[..., Receiver], database: Engine, database_url: str
) -> None:
    register(database, "2002", "broken_page")
    register(database, "3003", "missing_page")
    receiver = receiver_at(database_url, ENVIRON | {"AIRFLOW_CONN_BROKEN_PAGE": "{no json"})
    assert receiver.post(OPTIN).status_code == 200


def test_what_has_no_signature_is_refused_before_its_body_is_read(receiver: Receiver) -> None:
    with socket.create_connection(("127.0.0.1", receiver.port), 30) as client:
        client.sendall(b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\r\n")
        assert client.recv(65_536).startswith(b"HTTP/1.1 403")


def test_ten_megabytes_are_refused_before_they_are_read(receiver: Receiver) -> None:
    answer = receiver.post(b"x" * 10_000_000)
    assert answer.status_code == 413
    assert answer.headers["connection"] == "close"
    assert receiver.stored() == []


def test_ten_megabytes_are_refused_on_the_announcement_alone(receiver: Receiver) -> None:
    with socket.create_connection(("127.0.0.1", receiver.port), 30) as client:
        client.sendall(HEAD % 10_000_000)
        assert client.recv(65_536).startswith(b"HTTP/1.1 413")


def test_ten_megabytes_without_content_length_are_refused_and_the_connection_closed(receiver: Receiver) -> None:
    body = b"x" * 10_000_000
    connection = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=30)
    pieces = (body[start : start + 65_536] for start in range(0, len(body), 65_536))
    connection.request("POST", "/webhook", pieces, signed(body), encode_chunked=True)
    answer = connection.getresponse()
    assert answer.status == 413
    assert answer.headers["connection"] == "close"
    answer.read()
    connection.close()
    assert receiver.stored() == []


def test_a_sender_that_goes_away_in_mid_body_leaves_nothing(receiver: Receiver) -> None:
    with socket.create_connection(("127.0.0.1", receiver.port), 30) as client:
        client.sendall(HEAD % 100 + b"half")
    assert receiver.post(OPTIN).status_code == 200
    assert receiver.stored_in_the_end(1) == [OPTIN]


def test_a_body_that_trickles_is_given_up(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_module, "BODY_SECONDS", 0.2)
    with socket.create_connection(("127.0.0.1", receiver.port), 30) as client:
        client.sendall(HEAD % 100 + b"half")
        answer = b"".join(iter(lambda: client.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 408")
    assert receiver.stored() == []


def test_bodies_together_take_no_more_memory_than_allowed(
    receiver_at: Callable[..., Receiver], database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "BODIES_IN_FLIGHT", 1_000)
    receiver = receiver_at(database_url)
    answers = [receiver.post(b"x" * size) for size in (1_001, 1_000, 1_000)]
    assert [answer.status_code for answer in answers] == [503, 200, 200]
    assert answers[0].headers["retry-after"] == "5"


def test_two_hundred_at_once_are_all_stored(receiver: Receiver) -> None:
    bodies = {b'{"number":%d}' % number for number in range(200)}
    with ThreadPoolExecutor(200) as clients:
        answers = list(clients.map(receiver.post, bodies))
    assert [answer.status_code for answer in answers] == [200] * 200
    receiver.settle()
    assert set(receiver.stored()) == bodies


def test_no_line_of_the_log_holds_a_secret_a_body_or_a_header(receiver_process: Receiver) -> None:
    receiver_process.post(OPTIN)
    receiver_process.post(OPTIN, {"X-Hub-Signature-256": "sha256=feed"})
    receiver_process.post(b"x" * 5_000_001)
    requests.get(f"{receiver_process.url}/webhook?hub.verify_token={quote(VERIFY_TOKEN)}", timeout=30)
    assert receiver_process.stored_in_the_end(1) == [OPTIN]
    receiver_process.settle()
    assert receiver_process.process is not None
    assert receiver_process.log is not None
    receiver_process.process.terminate()
    receiver_process.process.wait(60)
    lines = receiver_process.log.read_text().splitlines()
    statuses = [found[1] for line in lines if (found := re.search(r"event=webhook .*status=(\d+)", line))]
    assert statuses == ["403", "413"]
    told = len([line for line in lines if "event=stored receipts=1" in line])
    spooled = any("they go to the spool" in line for line in lines)  # Postgres was slow, and was asked once more
    assert told == 1 or (spooled and told == 2)
    assert not [
        line for line in lines if re.search(r"TOKEN|secret of|feed|sha256|page token|of the handshake|Traceback", line)
    ]


def register(database: Engine, page_id: str, connection_id: str) -> None:
    with transaction(database) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO otn.page (page_id, connection_id) VALUES (%s, %s)", (page_id, connection_id))
