"""The pages that this process can send for: what is registered, as far as its connection is at hand."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from otn.asking.sending import Limits, Sender
from otn.database import Engine, queries, transaction
from otn.errors import ConfigurationError
from otn.messenger.client import MessengerClient, PageCredentials
from otn.settings import PageSettings, page_settings, read_connection

REFRESH_S = 10.0
CONNECT_S, READ_S = 3.0, 20.0  # a person waits: what takes longer is in doubt, and its echo settles it

_log = structlog.get_logger("otn.responder")


@dataclass(frozen=True)
class Voice:
    """Speaks for one page.

    Args:
        page_row_id: ``otn.page.id``.
        client: of the page.
        settings: what its connection says.
        sender: sends its answers.
    """

    page_row_id: int
    client: MessengerClient
    settings: PageSettings
    sender: Sender


class Voices:
    """One voice a page; pages registered while the process runs are taken up, those without a connection left out.

    A page that was registered with another connection speaks by that one from then on.

    Args:
        engine: the project's database.
        environ: where connections are defined; the process's own by default.
        limits: bounds of each sender.
    """

    def __init__(self, engine: Engine, environ: Mapping[str, str] | None = None, limits: Limits | None = None) -> None:
        self._engine = engine
        self._environ = environ
        self._limits = limits
        self._voices: dict[int, Voice] = {}
        self._retired: list[Voice] = []
        self._told: set[tuple[str, str]] = set()
        self._read_at = -REFRESH_S

    def all(self) -> list[Voice]:
        """Every page that can be spoken for.

        Raises:
            DatabaseError: the registered pages cannot be read.
        """
        if time.monotonic() - self._read_at >= REFRESH_S:
            with transaction(self._engine) as connection:
                pages = list(queries("page").list_pages(connection))
            for page in pages:
                voice = self._voices.get(page.id)
                if voice is not None and voice.settings.connection_id != page.connection_id:
                    self._retired.append(self._voices.pop(page.id))  # its calls are finished; closed at the end
                if page.id not in self._voices:
                    self._add(page)
            self._read_at = time.monotonic()
        return list(self._voices.values())

    def of(self, page_row_id: int) -> Voice | None:
        """The voice of a page, if there is one."""
        return next((voice for voice in self.all() if voice.page_row_id == page_row_id), None)

    def close(self) -> None:
        """Claim nothing more, finish what is in call."""
        for voice in (*self._voices.values(), *self._retired):
            voice.sender.close()
            voice.client.close()

    def _add(self, page: Any) -> None:
        try:
            settings = page_settings(read_connection(page.connection_id, self._environ))
        except ConfigurationError:
            self._warn("the connection is not defined here, or incomplete", page.connection_id)
            return
        if settings.page_id != page.page_id:
            self._warn("the connection names another page", page.connection_id)
            return
        limits = self._limits or Limits()
        credentials = PageCredentials(
            base_url=settings.base_url,
            page_id=settings.page_id,
            access_token=settings.access_token,
            app_secret=settings.app_secret,
            api_version=settings.api_version,
        )
        client = MessengerClient(
            credentials, connect_timeout_s=CONNECT_S, read_timeout_s=READ_S, pool_size=limits.threads
        )
        sender = Sender(self._engine, client, settings, page.id, limits=limits)
        self._voices[page.id] = Voice(page.id, client, settings, sender)

    def _warn(self, what: str, connection_id: str) -> None:
        if (what, connection_id) not in self._told:
            self._told.add((what, connection_id))
            _log.warning(what, connection=connection_id)
