"""Airflow with a home of its own, set before anything imports it; and a page on the sandbox to send to."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Iterator
from typing import Any

from tests.airflow_home import ROOT  # isort: skip - Airflow reads its environment once

import pytest
from sqlalchemy import make_url

from otn.crypto import Keyring, new_key, read_keyring
from otn.database import Engine, transaction
from otn.local.logins import SENDER
from otn.messenger.client import MessengerClient, PageCredentials
from otn.settings import PageSettings
from sandbox.control_client import Sandbox
from sandbox.process import start
from tests.campaign.stage import Stage
from tests.dags.airflow_runs import Airflow
from tests.logins import url_of


@pytest.fixture(scope="session")
def airflow() -> Airflow:
    """Airflow with a migrated metadata database and our DAGs."""
    from airflow.utils.db import initdb

    initdb()
    return Airflow(ROOT / "dags")


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    handle = start(seed=11)
    yield handle.control
    handle.stop()


@pytest.fixture
def keyring(monkeypatch: pytest.MonkeyPatch) -> Keyring:
    """The keys that tasks find in their environment."""
    monkeypatch.setenv("OTN_ENCRYPTION_KEYS", new_key())
    monkeypatch.setenv("OTN_HASH_KEY", new_key())
    return read_keyring()


@pytest.fixture
def stage(
    database: Engine, database_url: str, keyring: Keyring, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stage]:
    """A page with a topic, known to the sandbox, to the database and to Airflow's connections."""
    facts = sandbox.page(str(10**15 + uuid.uuid4().int % 10**14))
    settings = PageSettings(
        connection_id="messenger_default",
        base_url=sandbox.base_url,
        page_id=facts["page_id"],
        access_token=facts["access_token"],
        app_secret=facts["app_secret"],
        messages_per_second=None,
    )
    connect(monkeypatch, settings, database_url)
    client = MessengerClient(
        PageCredentials(
            base_url=settings.base_url,
            page_id=settings.page_id,
            access_token=settings.access_token,
            app_secret=settings.app_secret,
        )
    )
    with transaction(database) as connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO otn.page (page_id, connection_id) VALUES (%s, 'messenger_default') RETURNING id",
            (settings.page_id,),
        )
        page_row = cursor.fetchone()[0]
        cursor.execute(
            "INSERT INTO otn.topic (page_id, key, title, payload, registered_at)"
            " VALUES (%s, 'restock', 'Back in stock', 'restock', clock_timestamp()) RETURNING id",
            (page_row,),
        )
        topic_row = cursor.fetchone()[0]
    yield Stage(database, keyring, sandbox, settings, client, page_row, topic_row)
    client.close()
    sandbox.clear_faults()


def connect(monkeypatch: pytest.MonkeyPatch, settings: PageSettings, database_url: str) -> None:
    """Define the connections that tasks ask Airflow for. Tasks get the rights of senders and no more."""
    page = {
        "conn_type": "messenger",
        "host": settings.base_url,
        "login": settings.page_id,
        "password": settings.access_token,
        "extra": {"app_secret": settings.app_secret, "messages_per_second": settings.messages_per_second or 0},
    }
    monkeypatch.setenv("AIRFLOW_CONN_OTN_DB", json.dumps(postgres_connection(database_url)))
    monkeypatch.setenv(SENDER.variable, json.dumps(postgres_connection(url_of(SENDER, database_url))))
    monkeypatch.setenv("AIRFLOW_CONN_MESSENGER_DEFAULT", json.dumps(page))


def postgres_connection(database_url: str) -> dict[str, Any]:
    """A database as a connection says it."""
    url = make_url(database_url)
    return {
        "conn_type": "postgres",
        "host": url.query.get("host") or url.host,
        "port": url.port or url.query.get("port"),
        "login": url.username,
        "password": url.password,
        "schema": url.database,
    }


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Airflow logs a lot through structlog; pytest shows it only where a test fails."""
    level = logging.getLogger().level
    yield
    logging.getLogger().setLevel(level)
