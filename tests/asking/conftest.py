"""A page on the sandbox with people whose window is open, and the same people in the database."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from otn.crypto import Keyring
from otn.database import Engine, transaction
from otn.messenger.client import MessengerClient, PageCredentials
from otn.settings import PageSettings
from sandbox.control_client import Sandbox
from sandbox.process import start
from tests.asking.desk import Desk


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    handle = start(seed=11)
    yield handle.control
    handle.stop()


@pytest.fixture
def make_desk(database: Engine, keyring: Keyring, sandbox: Sandbox) -> Iterator[Callable[..., Desk]]:
    clients: list[MessengerClient] = []

    def make(messages_per_second: float | None = None, connection_id: str = "messenger_default", **page: Any) -> Desk:
        facts = sandbox.page(str(10**15 + uuid.uuid4().int % 10**14), **page)
        settings = PageSettings(
            connection_id=connection_id,
            base_url=sandbox.base_url,
            page_id=facts["page_id"],
            access_token=facts["access_token"],
            app_secret=facts["app_secret"],
            messages_per_second=messages_per_second,
        )
        credentials = PageCredentials(settings.base_url, settings.page_id, settings.access_token, settings.app_secret)
        client = MessengerClient(credentials, connect_timeout_s=5, read_timeout_s=10)
        clients.append(client)
        with transaction(database) as connection, connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO otn.page (page_id, connection_id) VALUES (%s, %s) RETURNING id",
                (settings.page_id, connection_id),
            )
            page_row = cursor.fetchone()[0]
            cursor.execute(
                "INSERT INTO otn.topic (page_id, key, title, payload, registered_at)"
                " VALUES (%s, 'restock', 'Back in stock', 'restock', clock_timestamp()) RETURNING id",
                (page_row,),
            )
            topic_row = cursor.fetchone()[0]
        return Desk(database, keyring, sandbox, settings, client, page_row, topic_row)

    yield make
    for client in clients:
        client.close()
    sandbox.clear_faults()


@pytest.fixture
def desk(make_desk: Callable[..., Desk]) -> Desk:
    return make_desk()
