"""Fixtures that every area shares: one real Postgres, a migrated template cloned per test, keys."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from otn.crypto import Keyring, new_key, read_keyring
from otn.database import Engine, make_engine, migrate
from otn.local.postgres import temporary_server

TEMPLATE = "otn_template"
TESTS = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What shares one system, or one Airflow, stays on one worker."""
    for item in items:
        if item.get_closest_marker("system"):
            area = item.path.relative_to(TESTS).parts[0]
            group = area if area in ("system", "scheduled", "operators") else "homes"
            item.add_marker(pytest.mark.xdist_group(group))
        elif (area := item.path.relative_to(TESTS).parts[0]) in ("dags", "looks"):
            item.add_marker(pytest.mark.xdist_group(area))


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of a real server's maintenance database; it holds a migrated template.

    A thousand databases come and go, and to wait for the disk at each costs more than all the tests in them. What is
    about durability has a server of its own.
    """
    with temporary_server({"fsync": "off", "full_page_writes": "off"}) as url:
        _administer(url, f'CREATE DATABASE "{TEMPLATE}"')
        migrate(_named(url, TEMPLATE))
        yield url


@pytest.fixture
def database_url(postgres: str) -> Iterator[str]:
    """URL of a fresh database with the whole schema."""
    name = f"test_{uuid.uuid4().hex}"
    _administer(postgres, f'CREATE DATABASE "{name}" TEMPLATE "{TEMPLATE}" STRATEGY FILE_COPY')
    yield _named(postgres, name)
    _administer(postgres, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def database(database_url: str) -> Iterator[Engine]:
    engine = make_engine(database_url, pool_size=10)
    yield engine
    engine.dispose()


@pytest.fixture
def keyring() -> Keyring:
    return read_keyring({"OTN_ENCRYPTION_KEYS": new_key(), "OTN_HASH_KEY": new_key()})


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("OTN_", "AIRFLOW_CONN_")):
            monkeypatch.delenv(name)


def _named(url: str, name: str) -> str:
    return make_url(url).set(database=name).render_as_string(hide_password=False)


def _administer(url: str, statement: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()
