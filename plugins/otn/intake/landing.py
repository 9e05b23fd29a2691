"""Landing: files that others drop below a URL are taken in, each line once, whatever dies in between."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import BinaryIO, Protocol

import structlog

from otn.crypto import Keyring
from otn.database import DatabaseAwayError, DatabaseError, Engine, queries, transaction
from otn.errors import OtnError
from otn.intake.landed import Figures, Landed
from otn.intake.landing_lines import Piece, Stream
from otn.intake.landing_place import folder_of
from otn.intake.loading import Tally
from otn.intake.taking import AnotherRunError, Taking

MOST_TRIES = 10  # without anything read in between: four hours
_CONFLICT_TRIES = 5
_ROLLED_BACK = {"40001", "40P01"}  # serialization failure, deadlock

_REASONS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
    (FileNotFoundError, "not_found"),
    (PermissionError, "no_rights"),
    (EOFError, "truncated"),
    ((gzip.BadGzipFile, zlib.error), "not_gzip"),
    (TimeoutError, "timeout"),
)

_log = structlog.get_logger("otn.landing")


class ListingError(OtnError):
    """The landing cannot be listed, or not all of it."""


class LandingError(OtnError):
    """The landing could not be listed in full; what was found was taken."""


@dataclass(frozen=True)
class Found:
    """A file that lies there.

    Args:
        name: below the landing, with slashes.
        size: bytes.
        version: changes when the file does.
        error: why it may not be opened; None: it may.
    """

    name: str
    size: int
    version: str
    error: str | None = None


class Store(Protocol):
    """What a landing is read through."""

    @property
    def url(self) -> str:
        """Without credentials."""

    def listing(self) -> Iterator[Sequence[Found]]:
        """The files, some at a time; at the end it raises ListingError if some could not be listed."""

    def open(self, name: str) -> AbstractContextManager[BinaryIO]:
        """A file, for bytes."""


@dataclass(frozen=True)
class Pulled:
    """What one run did.

    Args:
        met: files that are new or changed.
        taken: files read to their end.
        failed: files that could not be read to their end.
        lines: read in this run ...
        imported: ... of which new opt-ins
        webhooks: ... and new webhooks, which the next ingest reads.
        left_out: expired or refused.
    """

    met: int = 0
    taken: int = 0
    failed: int = 0
    lines: int = 0
    imported: int = 0
    webhooks: int = 0
    left_out: int = 0


def pull(
    engine: Engine,
    keyring: Keyring,
    store: Store,
    *,
    over: Callable[[], bool] = lambda: False,
    progress: Callable[[int, Figures], None] = lambda _file, _figures: None,
) -> Pulled:
    """Take in what lies below a URL; safe twice, at once, and after a crash.

    Lines are stored some at a time, in one transaction with the place where they end. So a file is gone on with where
    it was left, and its figures are exact. A file that cannot be read is marked and harms no other.

    Args:
        engine: the database.
        keyring: seals tokens and webhooks, hashes people.
        store: through which files are listed and opened.
        over: whether the time of this run has gone; the next one goes on in the same file.
        progress: is told a file's number and its figures after each piece.

    Raises:
        LandingError: not everything could be listed.
    """
    work = _Pull(engine, keyring, store, over, progress)
    failure = work.look()
    work.take_all()
    if failure is not None:
        raise LandingError(
            f"The landing cannot be listed in full ({failure}). What was found was taken. Check OTN_LANDING_URL,"
            " and the rights of its connection."
        )
    return work.done


class _Pull:
    """One run over a landing."""

    def __init__(
        self,
        engine: Engine,
        keyring: Keyring,
        store: Store,
        over: Callable[[], bool],
        progress: Callable[[int, Figures], None],
    ) -> None:
        self._engine = engine
        self._keyring = keyring
        self._store = store
        self._over = over
        self._progress = progress
        with transaction(engine) as conn:
            self._landing_id = queries("landing").meet_landing(conn, url=store.url)
        self.done = Pulled()

    def look(self) -> str | None:
        """List everything; answers why that failed."""
        with transaction(self._engine) as conn:
            began = queries("landing").now(conn)
        try:
            for found in self._store.listing():
                self._meet(found)
        except ListingError as error:
            failure = str(error)
            with transaction(self._engine) as conn:
                queries("landing").not_looked(conn, landing_id=self._landing_id, error=failure)
            return failure
        with transaction(self._engine) as conn:
            queries("landing").miss_files(conn, landing_id=self._landing_id, before=began)
            queries("landing").looked(conn, landing_id=self._landing_id)
        return None

    def _meet(self, found: Sequence[Found]) -> None:
        with transaction(self._engine) as conn:
            met = queries("landing").meet_files(
                conn,
                landing_id=self._landing_id,
                names=[one.name for one in found],
                sizes=[one.size for one in found],
                versions=[one.version for one in found],
                errors=[one.error for one in found],
            )
            queries("landing").see_files(conn, landing_id=self._landing_id, names=[one.name for one in found])
        self.done = replace(self.done, met=self.done.met + met)

    def take_all(self) -> None:
        """Take what is due, until nothing is or the time has gone."""
        while not self._over():
            with transaction(self._engine) as conn:
                queries("landing").give_up(conn, landing_id=self._landing_id, most=MOST_TRIES)
                row = queries("landing").begin_next(conn, landing_id=self._landing_id, most=MOST_TRIES)
            if row is None:
                return
            self._take(Taking(row))

    def _take(self, taking: Taking) -> None:
        try:
            while not self._read(taking):
                _log.info("something else stands there than was read before; from the beginning", file=taking.id)
        except AnotherRunError:
            _log.info("another run is further in this file, or it has changed", file=taking.id)
        except DatabaseAwayError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one file is no harm to the others
            self._fail(taking, reason_of(error))

    def _fail(self, taking: Taking, reason: str) -> None:
        _log.warning("a file cannot be taken", file=taking.id, reason=reason)
        with transaction(self._engine) as conn:
            taking.fail(conn, reason)
        self.done = replace(self.done, failed=self.done.failed + 1)

    def _read(self, taking: Taking) -> bool:
        """Read on; False where it must be opened anew, and read from the beginning."""
        with self._store.open(taking.name) as file:
            stream = Stream(file, taking.name)
            if taking.stale or not stream.skip(taking.position):
                with transaction(self._engine) as conn:
                    taking.start_over(conn)
                return False
            landed = Landed(self._keyring, str(taking.id), taking.day, folder_of(taking.name))
            for piece in stream.pieces():
                self._count(piece, self._settle(taking, landed, piece))
                self._progress(taking.id, taking.figures)
                if not piece.last and self._over():
                    with transaction(self._engine) as conn:
                        taking.put_off(conn)
                    break
        return True

    def _settle(self, taking: Taking, landed: Landed, piece: Piece) -> Tally:
        """Store one piece, and where it ends."""
        for left in reversed(range(_CONFLICT_TRIES)):
            try:
                with transaction(self._engine) as conn:
                    taking.hold(conn)
                    tally = landed.load(conn, piece.lines)
                    after = taking.advance(conn, piece, tally)
            except DatabaseError as error:
                if error.sqlstate not in _ROLLED_BACK or not left:
                    raise
                # Somebody keeps another order of locks: nothing was stored, and it may be tried again at once.
                _log.warning("rolled back by Postgres, tried again", sqlstate=error.sqlstate)
            else:
                break
        taking.position, taking.figures = piece.end, after
        return tally

    def _count(self, piece: Piece, tally: Tally) -> None:
        self.done = replace(
            self.done,
            taken=self.done.taken + piece.last,
            lines=self.done.lines + tally.lines,
            imported=self.done.imported + tally.imported,
            webhooks=self.done.webhooks + tally.webhooks,
            left_out=self.done.left_out + len(tally.left_out),
        )


def reason_of(error: Exception) -> str:
    """Why a file cannot be read, in a word. Never the error's own text: it may hold an address with a signature."""
    if isinstance(error, DatabaseError):
        return f"database ({error.sqlstate or 'unknown'})"
    for kinds, reason in _REASONS:
        if isinstance(error, kinds):
            return reason
    return f"unreadable ({type(error).__name__})"
