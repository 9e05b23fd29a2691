"""What the receiver is measured beside: a bare FastAPI route that does one INSERT a request, and one that does nothing.

As one would write it on a first day: uvicorn, a psycopg2 pool, the route in FastAPI's thread pool. No signature, no
encryption, no limits, no log.
"""

from __future__ import annotations

import os
from typing import Annotated

import psycopg2.pool
import uvicorn
from fastapi import Depends, FastAPI, Request, Response

POOL = 40  # as many as FastAPI has threads
TABLE = "CREATE TABLE IF NOT EXISTS bare (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body bytea NOT NULL)"


async def raw_body(request: Request) -> bytes:
    """The body as it arrived."""
    return await request.body()


def create_app(dsn: str) -> FastAPI:
    """The application.

    Args:
        dsn: libpq's URL of the database.
    """
    app = FastAPI()
    pool = psycopg2.pool.ThreadedConnectionPool(POOL, POOL, dsn)

    @app.post("/webhook")
    def take(body: Annotated[bytes, Depends(raw_body)]) -> Response:
        connection = pool.getconn()
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute("INSERT INTO bare (body) VALUES (%s)", [psycopg2.Binary(body)])
        finally:
            pool.putconn(connection)
        return Response("EVENT_RECEIVED")

    @app.post("/nothing")
    def nothing(body: Annotated[bytes, Depends(raw_body)]) -> Response:
        return Response(f"{len(body)}")

    return app


def main() -> None:
    """Serve on ``BARE_PORT`` with the database ``BARE_DSN``."""
    app = create_app(os.environ["BARE_DSN"])
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["BARE_PORT"]), log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
