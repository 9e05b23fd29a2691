"""The responder's process."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Mapping

import structlog

from otn.crypto import read_keyring
from otn.database import make_engine
from otn.responder.loop import Responder
from otn.responder.pages import Voices
from otn.settings import SENDER_CONNECTION, database_url, read_database_connection

APPLICATION_NAME = "otn responder"  # by it doctor and otn_watch see in pg_stat_activity that somebody answers
CONNECTIONS = 12


def serve(environ: Mapping[str, str] | None = None) -> None:
    """Run the responder until it is told to stop by SIGTERM or SIGINT; what is in call is finished first.

    Args:
        environ: connections and keys; the process's own by default.

    Raises:
        ConfigurationError: the database's connection or a key is missing.
    """
    _configure_log()
    keyring = read_keyring(environ)
    engine = make_engine(
        database_url(read_database_connection(SENDER_CONNECTION, environ)),
        pool_size=CONNECTIONS,
        application_name=APPLICATION_NAME,
    )
    stop = threading.Event()
    for word in (signal.SIGTERM, signal.SIGINT):
        signal.signal(word, lambda *_: stop.set())
    log = structlog.get_logger("otn.responder")
    log.info("listening")
    try:
        Responder(engine, keyring, Voices(engine, environ), environ).run(stop)
    finally:
        engine.dispose()
        log.info("stopped")


def _configure_log() -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    structlog.configure(
        processors=[
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
