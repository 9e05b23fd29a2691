"""The console on a port of its own, without the rest of Airflow: who looks stands in a header."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.api_fastapi.core_api.security import get_user
from fastapi import FastAPI, HTTPException, Request

from otn.console.app import create_app
from otn.console.database import engine, owners_engine
from otn.database import Engine

ROLE = "x-role"
NOBODY = "nobody"


def _who(request: Request) -> SimpleAuthManagerUser:
    role = request.headers.get(ROLE, NOBODY)
    if role == NOBODY:
        raise HTTPException(401)
    return SimpleAuthManagerUser(username="ann", role=role)


def _answering(database: Engine) -> Callable[[], Engine]:
    return lambda: database


@contextmanager
def open_site(databases: dict[str, Engine]) -> Iterator[str]:
    """The console at ``/<name>/otn`` for each database.

    Args:
        databases: name to database.

    Yields:
        URL without a path.
    """
    outside = FastAPI()
    for name, database in databases.items():
        app = create_app()
        app.dependency_overrides[engine] = app.dependency_overrides[owners_engine] = _answering(database)
        app.dependency_overrides[get_user] = _who
        outside.mount(f"/{name}/otn", app)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(outside, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
