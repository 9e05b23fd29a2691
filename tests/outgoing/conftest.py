"""A page with a campaign, and a system somewhere else that gets its results over real HTTP."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

import pytest

from otn.consent import pages
from otn.consent.pages import Page
from otn.crypto import Keyring
from otn.database import Engine, transaction
from otn.outgoing import delivering, endpoints, packing
from otn.outgoing.delivering import Delivered
from tests.clean import database, emptied_url

__all__ = ["database", "emptied_url"]


@dataclass
class Request:
    """What a system got."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        return json.loads(self.body)  # type: ignore[no-any-return]


@dataclass
class System:
    """Somebody else's system; it does what a test wants."""

    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    before: Callable[[Request], None] = lambda _: None
    cut: bool = False  # it ends the connection without a word
    hang: Event | None = None  # it says nothing until then
    tls: ssl.SSLContext | None = None
    got: list[Request] = field(default_factory=list)
    server: ThreadingHTTPServer = field(init=False)

    def __post_init__(self) -> None:
        system = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                request = Request(self.path, dict(self.headers), body)
                system.before(request)
                system.got.append(request)
                if system.hang is not None:
                    system.hang.wait(30)
                if system.cut:
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self.send_response(system.status)
                for name, value in system.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if self.tls is not None:
            self.server.socket = self.tls.wrap_socket(self.server.socket, server_side=True)
        Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://localhost:{self.server.server_port}/hook"

    @property
    def events(self) -> list[dict[str, Any]]:
        return [request.event for request in self.got]

    @property
    def results(self) -> list[tuple[int, str]]:
        found = [event.get("results", []) for event in self.events]
        return [(row["subscriber"], row["state"]) for rows in found for row in rows]


@dataclass
class House:
    """Our side."""

    engine: Engine
    keyring: Keyring
    page: Page
    campaign: int
    people: list[int]

    def sql(self, statement: str, *values: Any) -> list[Any]:
        with transaction(self.engine) as conn, conn.cursor() as cursor:
            named = len(values) == 1 and isinstance(values[0], dict)
            cursor.execute(statement, values[0] if named else values or None)
            return list(cursor.fetchall()) if cursor.description else []

    def add(self, system: System, key: str = "crm", **options: Any) -> endpoints.Added:
        return endpoints.add(self.engine, self.keyring, self.page, key, system.url, actor="me", private=True, **options)

    def settle(self, state: str = "sent", people: list[int] | None = None) -> None:
        """What senders write."""
        self.sql(
            "UPDATE otn.recipient SET state = %(state)s::otn.recipient_state, attempt_id = gen_random_uuid(),"
            " attempts = 1, unanswered = (%(state)s = 'unknown')::integer,"
            " evidence = CASE WHEN %(state)s = 'sent' THEN 'answer'::otn.evidence END, message_id = 'm_secret',"
            " sent_at = CASE WHEN %(state)s = 'sent' THEN now() END,"
            " error_code = CASE WHEN %(state)s = 'refused' THEN 551 END,"
            " reason = CASE WHEN %(state)s = 'unknown' THEN 'no_answer' END"
            " WHERE campaign_id = %(campaign)s AND (%(people)s::bigint[] IS NULL OR subscriber_id = ANY (%(people)s))",
            {"state": state, "campaign": self.campaign, "people": people},
        )

    def move(self, state: str) -> None:
        self.sql(
            "UPDATE otn.campaign SET state = %s::otn.campaign_state, halt_reason = %s,"
            " finished_at = CASE WHEN %s IN ('finished', 'cancelled') THEN now() END WHERE id = %s",
            *(state, "a rule" if state == "halted" else None, state, self.campaign),
        )

    def endpoint(self, key: str = "crm") -> Any:
        (row,) = self.sql("SELECT * FROM otn.endpoint WHERE key = %s", key)
        return row

    def due(self, key: str = "crm") -> None:
        """The time until the next try is over."""
        self.sql("UPDATE otn.endpoint SET due_at = now() WHERE key = %s", key)

    def deliver(self, key: str = "crm", *, private: bool = True) -> Delivered | None:
        packing.pack(self.engine)
        return delivering.deliver(self.engine, self.keyring, self.endpoint(key).id, private=private)


@pytest.fixture
def systems() -> Iterator[Callable[..., System]]:
    made: list[System] = []

    def make(**options: Any) -> System:
        made.append(System(**options))
        return made[-1]

    yield make
    for one in made:
        if one.hang is not None:
            one.hang.set()
        one.server.shutdown()
        one.server.server_close()


@pytest.fixture
def system(systems: Callable[..., System]) -> System:
    return systems()


@pytest.fixture
def house(database: Engine, keyring: Keyring) -> House:
    return make_house(database, keyring, 5)


def make_house(engine: Engine, keyring: Keyring, people: int) -> House:
    with transaction(engine) as conn, conn.cursor() as cursor:
        cursor.execute("INSERT INTO otn.page (page_id, connection_id) VALUES ('100200300', 'shop') RETURNING id")
        page = cursor.fetchone()[0]
        cursor.execute(
            "INSERT INTO otn.topic (page_id, key, title, payload, registered_at)"
            " VALUES (%s, 'restock', 'Back in stock', 'restock', now()) RETURNING id",
            (page,),
        )
        topic = cursor.fetchone()[0]
        cursor.execute(
            "INSERT INTO otn.campaign (page_id, topic_id, key, message, content_hash, needs_approval, state,"
            " planned_at, started_at, chunks)"
            " VALUES (%s, %s, 'spring', '{}', sha256('x'), false, 'sending', now(), now(), 1) RETURNING id",
            (page, topic),
        )
        campaign = cursor.fetchone()[0]
        cursor.execute(
            "WITH p AS (INSERT INTO otn.subscriber (page_id, psid, first_name)"
            " SELECT %s, 'psid-' || n, 'Ada' FROM generate_series(1, %s) n RETURNING id), t AS ("
            " INSERT INTO otn.token (subscriber_id, topic_id, token_hash, token_encrypted, opted_in_at, expires_at)"
            " SELECT id, %s, sha256(id::text::bytea), 'sealed', now(), now() + interval '300 days' FROM p"
            " RETURNING id, subscriber_id)"
            " INSERT INTO otn.recipient (campaign_id, subscriber_id, token_id, chunk)"
            " SELECT %s, subscriber_id, id, 1 FROM t"
            " RETURNING subscriber_id",
            (page, people, topic, campaign),
        )
        ids = sorted(row[0] for row in cursor.fetchall())
        return House(engine, keyring, pages.find(conn, "shop"), campaign, ids)
