"""A warmed process that forks a responder for each line it reads, and the responder kills itself at the named point.

One JSON line first (database, environment, limits); then one point a line. After each child's end its signal is told.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import structlog

from otn.asking import ledger
from otn.asking.sending import Limits
from otn.crypto import read_keyring
from otn.database import Engine, make_engine, queries
from otn.messenger.client import MessengerClient
from otn.responder import loop
from otn.responder.pages import Voices
from otn.settings import sql_folder

PATIENCE_S = 20.0
INTO_THE_CALL_S = 0.1


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def before(_real: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *_, **__: die()


def after(real: Callable[..., Any], reached: Callable[[Any], Any]) -> Callable[..., Any]:
    def work(*arguments: Any, **named: Any) -> Any:
        result = real(*arguments, **named)
        if reached(result):
            die()
        return result

    return work


def during(real: Callable[..., Any]) -> Callable[..., Any]:
    def work(*arguments: Any) -> Any:
        threading.Timer(INTO_THE_CALL_S, die).start()
        return real(*arguments)

    return work


POINTS: dict[str, tuple[Any, str, Callable[..., Any]]] = {
    "before ingest": (loop, "ingest_pending", before),
    "inside ingest": (loop, "settle", before),
    "after ingest": (loop, "ingest_pending", partial(after, reached=lambda balance: balance.webhooks)),
    "before claim": (ledger, "claim", before),
    "after claim": (ledger, "claim", partial(after, reached=lambda claims: claims.rows)),
    "before effect": (MessengerClient, "send", before),
    "inside the call": (MessengerClient, "send", during),
    "after effect": (MessengerClient, "send", partial(after, reached=bool)),
    "before record": (ledger, "record", before),
    "after record": (ledger, "record", partial(after, reached=bool)),
}


def arm(point: str) -> None:
    """Let the process die at this point."""
    place, name, deadly = POINTS[point]
    setattr(place, name, deadly(getattr(place, name)))


def respond(engine: Engine, config: dict[str, Any], point: str) -> None:
    """One life of a responder."""
    environ = config["environ"]
    voices = Voices(engine, environ, Limits(**config["limits"]))
    responder = loop.Responder(engine, read_keyring(environ), voices, environ)
    arm(point)
    give_up = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up:
        responder.step()
        time.sleep(0.005)


def warmed(config: dict[str, Any]) -> Engine:
    """An engine without a connection, in a process without threads, that has read what a responder reads at first."""
    for file in (sql_folder() / "queries").glob("*.sql"):
        queries(file.stem)
    engine = make_engine(config["database"], pool_size=4, application_name="otn responder")
    loop.ingest_pending(engine, read_keyring(config["environ"]))
    engine.dispose()
    return engine


def main() -> None:
    config = json.loads(sys.stdin.readline())
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))  # stdout is for answers
    engine = warmed(config)
    gc.collect()
    gc.freeze()  # a child that only reads what was there copies no page of it
    gc.disable()
    print("warm", flush=True)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            try:
                respond(engine, config, line.strip())
            finally:
                os._exit(3)
        _, status = os.waitpid(child, 0)
        print(os.WTERMSIG(status) if os.WIFSIGNALED(status) else f"exit {os.WEXITSTATUS(status)}", flush=True)


if __name__ == "__main__":
    main()
