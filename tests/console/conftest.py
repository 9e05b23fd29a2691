"""The console on a real database; Airflow's login is asked for real, only who has logged in is made up."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests import airflow_home  # isort: skip - Airflow reads its environment once

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of other people's imports
    import pygments.formatters.html  # noqa: F401
    from airflow.api_fastapi.app import create_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.api_fastapi.core_api.security import get_user
    from fastapi.testclient import TestClient

    from otn.console.app import create_app

from otn.console.database import engine, owners_engine
from otn.database import Engine, transaction
from tests.console.shop import Shop

ORIGIN = {"origin": "http://testserver"}
ROLES = ("viewer", "user", "op", "admin")

__all__ = ["airflow_home"]


@pytest.fixture(scope="session")
def _airflows_login() -> None:
    create_auth_manager()


@pytest.fixture
def visit(database: Engine, _airflows_login: None) -> Iterator[Callable[..., TestClient]]:
    """Makes a browser of somebody with a role of Airflow's simple login; None: of nobody."""
    clients: list[TestClient] = []

    def open_browser(role: str | None = "user", name: str | None = None) -> TestClient:
        app = create_app()
        app.dependency_overrides[engine] = app.dependency_overrides[owners_engine] = lambda: database
        if role is not None:
            app.dependency_overrides[get_user] = lambda: SimpleAuthManagerUser(username=name or role, role=role)
        client = TestClient(app, headers=ORIGIN, follow_redirects=False)
        clients.append(client)
        return client

    yield open_browser
    for client in clients:
        client.close()


@pytest.fixture
def write(database: Engine) -> Callable[..., Any]:
    """Runs a statement; answers its first value, if there is one."""

    def run(statement: str, *values: Any) -> Any:
        with transaction(database) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
            row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None

    return run


@pytest.fixture
def shop(database: Engine) -> Shop:
    return Shop.open(database)
