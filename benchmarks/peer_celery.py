"""A Celery task for each send."""

from __future__ import annotations

import os

from celery import Celery

from benchmarks.peer_calls import Call

app = Celery("peer", broker=os.environ["PEER_BROKER"], task_ignore_result=True)
call = Call.here()  # it connects at its first send, in the process that sends


@app.task
def send(number: int) -> None:
    """Send to one person."""
    call.send(number)
