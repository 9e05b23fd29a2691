"""The receiver's process."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Mapping

import structlog
import uvicorn
from starlette.applications import Starlette

from otn.crypto import read_keyring
from otn.errors import ConfigurationError
from otn.settings import (
    RECEIVER_CONNECTION,
    database_url,
    read_database_connection,
    read_public_url,
    read_spool_settings,
)
from otn.web.receiver.app import create_app
from otn.web.receiver.deletion import Deletions
from otn.web.receiver.door import Door
from otn.web.receiver.keeper import Keeper
from otn.web.receiver.line import Line
from otn.web.receiver.pages import Registry
from otn.web.spool import Spool

GRACE_SECONDS = 10
IDLE_SECONDS = 30


def serve(host: str, port: int, environ: Mapping[str, str] | None = None) -> None:
    """Run the receiver until it is told to stop; what is in flight is finished first.

    Args:
        host: address to listen on.
        port: port to listen on; 0 takes a free one, which is logged.
        environ: connections and keys; the process's own by default.

    Raises:
        ConfigurationError: a connection or key is missing, a figure cannot be read, no page has a secret, or the port
            is taken.
    """
    _configure_log()
    url = database_url(read_database_connection(RECEIVER_CONNECTION, environ))
    keyring, spooling = read_keyring(environ), read_spool_settings(environ)
    keeper = Keeper(url, keyring, Spool(spooling.folder, spooling.bytes, keyring))
    deletions = Deletions(Line(url), keyring, read_public_url(environ))
    app = create_app(keeper, Registry(Line(url), environ), deletions)
    config = server_config(app)
    with _listen(host, port) as listener:
        structlog.get_logger("otn.receiver").info("listening", host=host, port=listener.getsockname()[1])
        uvicorn.Server(config).run(sockets=[listener])


def server_config(app: Starlette) -> uvicorn.Config:
    """How the receiver's application is served."""
    return uvicorn.Config(
        app,
        http=Door,
        ws="none",  # another protocol would be another door
        log_config=None,
        log_level=logging.ERROR,  # a warning is what a stranger can cause, as often as he likes
        access_log=False,  # its lines would show the verify token
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        raise ConfigurationError(
            f"The receiver cannot listen on {host} port {port} ({error}). Choose another by --host and --port."
        ) from None


def _configure_log() -> None:
    structlog.configure(
        processors=[
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.add_log_level,
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
