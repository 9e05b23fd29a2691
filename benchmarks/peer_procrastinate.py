"""A procrastinate job for each send."""

from __future__ import annotations

import os

from procrastinate import App, PsycopgConnector

from benchmarks.peer_calls import Call

app = App(connector=PsycopgConnector(conninfo=os.environ["PEER_DSN"]))
call = Call.here()


@app.task
def send(number: int) -> None:
    """Send to one person, in a thread of the worker."""
    call.send(number)
