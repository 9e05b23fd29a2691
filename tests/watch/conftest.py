"""A page, a topic and people, written as the ingest leaves them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from otn.consent import pages
from otn.database import Engine, transaction
from otn.watch.alarms import merge
from otn.watch.finding import Finding
from sandbox.control_client import Sandbox
from sandbox.process import start
from tests.clean import database, emptied_url

__all__ = ["database", "emptied_url"]


@dataclass
class Place:
    """An installation with one page."""

    engine: Engine
    page_row: int
    topic_row: int

    def sql(self, statement: str, *values: Any) -> list[Any]:
        with transaction(self.engine) as conn, conn.cursor() as cursor:
            cursor.execute(statement, values or None)
            return list(cursor.fetchall()) if cursor.description else []

    def value(self, statement: str, *values: Any) -> Any:
        return self.sql(statement, *values)[0][0]

    def pages(self) -> list[pages.Page]:
        with transaction(self.engine) as conn:
            return pages.listing(conn)

    def person(self) -> int:
        return int(
            self.value(
                "INSERT INTO otn.subscriber (page_id, psid) VALUES (%s, gen_random_uuid()::text) RETURNING id",
                self.page_row,
            )
        )

    def token(self, person: int, days: float) -> int:
        """A token that ends in so many days."""
        return int(
            self.value(
                "INSERT INTO otn.token (subscriber_id, topic_id, token_hash, token_encrypted, opted_in_at, expires_at)"
                " VALUES (%s, %s, sha256(gen_random_uuid()::text::bytea), 'x', now() - interval '300 days',"
                " now() + make_interval(secs => %s)) RETURNING id",
                *(person, self.topic_row, days * 86_400),
            )
        )

    def campaign(self, state: str = "sending", key: str = "spring") -> int:
        return int(
            self.value(
                "INSERT INTO otn.campaign (page_id, topic_id, key, message, content_hash, needs_approval, state,"
                " planned_at, started_at, chunks, halt_reason) VALUES (%s, %s, %s, '{}', sha256('x'), false, %s,"
                " now() - interval '1 day', now() - interval '1 day', 1, %s) RETURNING id",
                *(self.page_row, self.topic_row, key, state, "a rule" if state == "halted" else None),
            )
        )

    def events(self, *quarters_ago: float, page: int | None = None) -> None:
        """An event in each of these quarters of an hour before now."""
        self.sql(
            "INSERT INTO otn.event (fingerprint, page_id, kind, occurred_at, webhook_day, webhook_id, created_at)"
            " SELECT sha256(gen_random_uuid()::text::bytea), %s, 'other', now(), '2000-01-01', gen_random_uuid(),"
            " now() - make_interval(mins => (15 * n)::integer) FROM unnest(%s::float8[]) AS n",
            *(page or self.page_row, list(quarters_ago)),
        )

    def merge(self, *findings: Finding) -> tuple[int, int]:
        with transaction(self.engine) as conn:
            done = merge(conn, findings)
        return done.open, done.ended


@pytest.fixture
def place(database: Engine) -> Place:
    with transaction(database) as conn, conn.cursor() as cursor:
        cursor.execute("INSERT INTO otn.page (page_id, connection_id) VALUES ('1001', 'shop') RETURNING id")
        page = cursor.fetchone()[0]
        cursor.execute(
            "INSERT INTO otn.topic (page_id, key, title, payload, registered_at)"
            " VALUES (%s, 'restock', 'Back', 'restock', now()) RETURNING id",
            (page,),
        )
        return Place(database, page, cursor.fetchone()[0])


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    handle = start(seed=5)
    yield handle.control
    handle.stop()
