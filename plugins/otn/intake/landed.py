"""What stands in landed files becomes people, tokens and webhooks; or is only judged."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, BinaryIO, Self

from otn.consent import pages
from otn.consent.pages import Page
from otn.crypto import Keyring
from otn.database import Engine, PsycopgConnection, queries, transaction
from otn.intake.import_lines import ImportFileError
from otn.intake.landing_lines import Line, Stream, seal_bodies, sort
from otn.intake.loading import Loader, Provenance, Tally

SOURCE = "file"  # of opt-ins that do not say where they come from


@dataclass(frozen=True)
class Figures:
    """What became of the lines of a file: lines = imported + webhooks + duplicate + expired + everyone refused.

    Args:
        lines: with something in them.
        imported: opt-ins stored for the first time.
        webhooks: bodies handed to ingest.
        duplicate: known already, or twice in the file.
        expired: opt-ins older than a year; not stored.
        refused: by reason.
    """

    lines: int = 0
    imported: int = 0
    webhooks: int = 0
    duplicate: int = 0
    expired: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, row: Any) -> Self:
        """From a row of ``landing_file``."""
        return cls(row.lines, row.imported, row.webhooks, row.duplicate, row.expired, dict(row.reasons))

    def plus(self, tally: Tally) -> Figures:
        """With some more lines."""
        return Figures(
            self.lines + tally.lines,
            self.imported + tally.imported,
            self.webhooks + tally.webhooks,
            self.duplicate + tally.duplicate,
            self.expired + tally.expired,
            dict(sorted((Counter(self.refused) + tally.refused()).items())),
        )

    @property
    def left_out(self) -> int:
        """Lines that are expired or refused."""
        return self.expired + sum(self.refused.values())


class Landed:
    """The lines of one file.

    Args:
        keyring: seals tokens and webhooks, hashes people.
        mark: names the file in the provenance of its tokens.
        day: under which its webhooks are kept.
        folder: the first one in its name, if any; the page's, where it is called as the page's connection.
        dry_run: judge everything, write nothing.
    """

    def __init__(
        self, keyring: Keyring, mark: str, day: date, folder: str | None = None, *, dry_run: bool = False
    ) -> None:
        self._keyring = keyring
        self._provenance = Provenance("landing", SOURCE, mark)
        self._day = day
        self._folder = folder
        self._dry_run = dry_run
        self._loaders: dict[int, Loader] = {}
        self._bodies: set[str] = set()  # of a dry run: ids of webhooks of earlier pieces

    def load(self, conn: PsycopgConnection, lines: Sequence[Line]) -> Tally:
        """Load some lines.

        Args:
            conn: a connection in a transaction.
            lines: of the file.
        """
        known = pages.listing(conn)
        owner = next((page for page in known if page.connection_id == self._folder), None)
        found = sort(lines, known, owner)
        tally = Tally(lines=len(found.refused) + len(found.bodies), left_out=found.refused)
        for page in sorted(found.optins, key=lambda page: page.id):
            tally += self._loader(page).load(conn, found.optins[page])
        tally.webhooks = self._store(conn, found.bodies)
        tally.duplicate += len(found.bodies) - tally.webhooks
        return tally

    def _loader(self, page: Page) -> Loader:
        if page.id not in self._loaders:
            self._loaders[page.id] = Loader(self._keyring, page, self._provenance, dry_run=self._dry_run)
        return self._loaders[page.id]

    def _store(self, conn: PsycopgConnection, bodies: Sequence[bytes]) -> int:
        if not bodies:
            return 0
        sealed = seal_bodies(self._keyring, bodies)
        if self._dry_run:
            fresh = sealed.keys() - self._bodies
            self._bodies |= fresh
            return len(fresh)
        return int(
            queries("landing").store_webhooks(conn, day=self._day, ids=list(sealed), bodies=list(sealed.values()))
        )


def check_file(
    engine: Engine,
    keyring: Keyring,
    path: Path,
    page: Page | None = None,
    on_refusal: Callable[[int, str], None] | None = None,
) -> Figures:
    """Judge a file as if it had landed; writes nothing.

    Args:
        engine: the database.
        keyring: the installation's.
        path: of the file.
        page: of the folder in which it shall land; None: each line names its page.
        on_refusal: is told number and reason of each line left out.

    Raises:
        ImportFileError: it cannot be read.
    """
    landed = Landed(keyring, "check", date.min, page.connection_id if page else None, dry_run=True)
    try:
        with path.open("rb") as file:
            return _check(engine, landed, file, path.name, on_refusal or (lambda _line, _reason: None))
    except (OSError, EOFError, zlib.error) as error:
        why = getattr(error, "strerror", None) or "it ends too early, is damaged, or is not packed by gzip"
        raise ImportFileError(f"{path} cannot be read ({why}). Check the file and the rights.") from None


def _check(
    engine: Engine, landed: Landed, file: BinaryIO, name: str, on_refusal: Callable[[int, str], None]
) -> Figures:
    figures = Figures()
    for piece in Stream(file, name).pieces():
        with transaction(engine) as conn:
            tally = landed.load(conn, piece.lines)
        figures = figures.plus(tally)
        for line, reason in sorted(tally.left_out):
            on_refusal(line, reason)
    return figures
