"""A landing in memory: files that lie there, change, fail, and are read in pieces."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO
from zlib import crc32

from otn.crypto import Keyring
from otn.database import Engine
from otn.intake.landing import Found, ListingError, Pulled, pull
from tests.consent.inbox import NOW, PAGE, Inbox


def line(token: str, **changes: Any) -> dict[str, Any]:
    fields = {"psid": f"9{len(token)}{token[-3:]}".replace("-", "0"), "token": token, "payload": "sale"}
    return fields | {"opted_in_at": NOW.isoformat(), "source": "crm"} | changes


def content(*lines: Any, end: str = "\n") -> bytes:
    texts = [one if isinstance(one, str) else json.dumps(one) for one in lines]
    return ("\n".join(texts) + end).encode()


@dataclass
class Shelf:
    """Files by name; a value that is an error is raised when the file is opened."""

    files: dict[str, bytes | Exception] = field(default_factory=dict)
    url: str = "s3://vendor/optins"
    failure: str = ""
    opened: list[str] = field(default_factory=list)
    reading: Callable[[BinaryIO], BinaryIO] = lambda file: file

    def listing(self) -> Iterator[list[Found]]:
        yield [
            Found(name, len(data), f"crc={crc32(data)}") if isinstance(data, bytes) else Found(name, 0, "none")
            for name, data in self.files.items()
        ]
        if self.failure:
            raise ListingError(self.failure)

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        self.opened.append(name)
        data = self.files[name]
        if isinstance(data, Exception):
            raise data
        yield self.reading(io.BytesIO(data))


@dataclass
class Landing:
    """A shelf, and what became of its files."""

    inbox: Inbox
    shelf: Shelf = field(default_factory=Shelf)

    @property
    def engine(self) -> Engine:
        return self.inbox.database

    @property
    def keyring(self) -> Keyring:
        return self.inbox.keyring

    def put(self, name: str, *lines: Any, end: str = "\n") -> None:
        self.shelf.files[name] = content(*lines, end=end)

    def pull(self, **options: Any) -> Pulled:
        return pull(self.engine, self.keyring, self.shelf, **options)

    def pass_time(self) -> None:
        """As if every file had waited long enough for its next try."""
        self.inbox.rows("UPDATE otn.landing_file SET due_at = clock_timestamp() WHERE state = 'waiting'")

    def file(self, name: str) -> Any:
        return self.inbox.rows("SELECT * FROM otn.landing_file WHERE name = %s", name)[0]

    def figures(self, name: str) -> tuple[Any, ...]:
        """State, lines, imported, webhooks, duplicate, expired, reasons."""
        row = self.file(name)
        assert row.lines == row.imported + row.webhooks + row.duplicate + row.expired + sum(row.reasons.values())
        assert row.refused == sum(row.reasons.values())
        return row.state, row.lines, row.imported, row.webhooks, row.duplicate, row.expired, row.reasons


FOLDER = "messenger_default"
__all__ = ["FOLDER", "PAGE", "Landing", "Shelf", "content", "line"]
