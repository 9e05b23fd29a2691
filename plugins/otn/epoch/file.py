"""The epoch's file: how far this installation has called, kept outside the database.

Two copies of one record stand in it and are written in turn, so that a crash in the middle leaves the other one. It is
never replaced by another file: its lock, and the folder that it is in, stay what they are.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from otn.errors import ConfigurationError, OtnError

VARIABLE = "OTN_EPOCH_FILE"
JOURNAL_VARIABLE = "OTN_ERASURE_JOURNAL"
FILE = "epoch.json"
COPY_BYTES = 4096
MOST_GAPS = 150  # of claims whose sender died before its first call
LOCK_S = 10.0
_POLL_S = 0.002


class EpochFileError(OtnError):
    """The epoch's file cannot be read or written, so nothing is sent from here."""


class EpochFileBrokenError(OtnError):
    """Neither copy in the epoch's file can be read."""


class NumberTakenError(OtnError):
    """Somebody else has called under this number: two databases send."""


@dataclass(frozen=True)
class Record:
    """What stands in the file.

    Args:
        number: of the newest claim whose calls may have been made.
        gaps: smaller numbers that nobody has called under yet.
        identity: where the database was, as ``otn.identity()`` tells.
        place: numbers of this file and of its folder on their disk; empty where they mean nothing.
        writes: so often it was written.
        adopted_after: the newest claim with calls, while ``number`` is that of an adoption and no claim; else None.
    """

    number: int
    identity: Mapping[str, Any] = field(default_factory=dict)
    gaps: tuple[int, ...] = ()
    place: tuple[int, ...] = ()
    writes: int = 0
    adopted_after: int | None = None

    @property
    def last_call(self) -> int:
        """The newest claim whose calls may have been made; an adoption makes none."""
        return self.number if self.adopted_after is None else self.adopted_after

    def called(self, number: int) -> Record:
        """The record after calls under ``number``.

        Raises:
            NumberTakenError: there were some already.
        """
        if number > self.number:
            gaps = (*self.gaps, *range(max(self.number + 1, number - MOST_GAPS), number))
            return replace(self, number=number, gaps=gaps[-MOST_GAPS:], adopted_after=None)
        if number not in self.gaps:
            raise NumberTakenError
        return replace(self, gaps=tuple(gap for gap in self.gaps if gap != number))


@dataclass(frozen=True)
class EpochFile:
    """The file of one installation, which all its senders share.

    Args:
        path: where.
        at_home: it lies in a home, on a disk of this machine: a copy of the home is known by its place.
    """

    path: Path
    at_home: bool = False

    def read(self) -> Record | None:
        """What stands in it; None: it is not there, or was never written.

        Raises:
            EpochFileError: it cannot be read.
            EpochFileBrokenError: it holds something else.
        """
        try:
            with self.path.open("rb") as file:
                return _newest(file.read(2 * COPY_BYTES + 1))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed("read", error) from None

    def make(self, number: int, identity: Mapping[str, Any]) -> None:
        """Write the first record, unless another process just did.

        Raises:
            EpochFileError: it cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise self._failed("written", error) from None
        with self._locked(os.O_CREAT) as handle:
            if _newest(_content(handle)) is None:
                _write(handle, Record(number, identity, place=self.place()))
                _sync_folder(self.path.parent)

    def call(self, number: int) -> None:
        """Note that calls under a number begin; on the disk when this returns.

        Raises:
            EpochFileError: it cannot be written, or is gone: then there must be no call.
            EpochFileBrokenError: it holds something else.
            NumberTakenError: there were calls under that number.
        """
        with self._locked() as handle:
            record = _newest(_content(handle))
            if record is None:
                raise EpochFileError(f"The file {self.path} was emptied while it was in use. Nothing is sent.")
            _write(handle, replace(record.called(number), writes=record.writes + 1))

    def adopt(self, number: int, identity: Mapping[str, Any]) -> None:
        """Begin anew at a number, whatever stood there.

        Raises:
            EpochFileError: it cannot be written.
        """
        with self._locked(os.O_CREAT) as handle:
            try:
                before = _newest(_content(handle))
            except EpochFileBrokenError:
                before = None
            writes = before.writes + 1 if before else 0
            adopted = Record(
                number, identity, place=self.place(), adopted_after=before.last_call if before else number - 1
            )
            os.ftruncate(handle, 0)
            for turn in (writes, writes + 1):  # both copies: an older one would speak when the newer one is torn
                _write(handle, replace(adopted, writes=turn))
            _sync_folder(self.path.parent)

    def is_copy(self, record: Record) -> bool:
        """Whether the file was copied to where it is now."""
        try:
            return self.at_home and bool(record.place) and record.place != self.place()
        except OSError as error:
            raise self._failed("read", error) from None

    def place(self) -> tuple[int, ...]:
        """Numbers of the file and of its folder on their disk."""
        return (self.path.stat().st_ino, self.path.parent.stat().st_ino) if self.at_home else ()

    @contextmanager
    def _locked(self, flags: int = 0) -> Iterator[int]:
        try:
            handle = os.open(self.path, os.O_RDWR | os.O_CLOEXEC | flags, 0o600)
            try:
                _lock(handle)
                yield handle
            finally:
                os.close(handle)
        except OSError as error:
            raise self._failed("written", error) from None

    def _failed(self, what: str, error: OSError) -> EpochFileError:
        return EpochFileError(
            f"The file {self.path}, which says how far this installation has called, cannot be {what}"
            f" ({error.strerror or type(error).__name__}). Nothing is sent without it: correct {VARIABLE}, or the"
            " file's rights, disk or volume."
        )


def epoch_file(environ: Mapping[str, str] | None = None) -> EpochFile | None:
    """The file that ``OTN_EPOCH_FILE`` names, else the one beside the erasure journal, else that of the home.

    Args:
        environ: the environment; the process's own by default.

    Returns:
        None where none of the three is known.

    Raises:
        ConfigurationError: the variable names no absolute path.
    """
    values = os.environ if environ is None else environ
    home = values.get("OTN_HOME", "").strip()
    named = values.get(VARIABLE, "").strip()
    journal = values.get(JOURNAL_VARIABLE, "").strip()
    path = Path(named) if named else Path(journal).parent / FILE if journal else Path(home) / FILE if home else None
    if path is None:
        return None
    if not path.is_absolute() and (named or journal):
        raise ConfigurationError(
            f"{VARIABLE if named else JOURNAL_VARIABLE} is {named or journal!r}, which is another file in each working"
            " directory. Give an absolute path."
        )
    return EpochFile(path, at_home=bool(home) and path.parent == Path(home))


def make_known(environ: Mapping[str, str]) -> None:
    """Let this process send as one of the installation whose settings these are.

    Args:
        environ: of the installation, such as a home's.
    """
    file = epoch_file(environ)
    if file:
        os.environ[VARIABLE] = str(file.path)


def _newest(content: bytes) -> Record | None:
    """The newer of the two copies that can be read."""
    if not content:
        return None
    copies = [_parsed(content[:COPY_BYTES]), _parsed(content[COPY_BYTES:])]
    records = [copy for copy in copies if copy is not None]
    if not records or len(content) > 2 * COPY_BYTES:
        raise EpochFileBrokenError
    return max(records, key=lambda record: record.writes)


def _parsed(text: bytes) -> Record | None:
    try:
        found = json.loads(text)
        check = found.pop("check")
        if check != _check(found):
            return None
        return Record(**found | {"gaps": tuple(found["gaps"]), "place": tuple(found["place"])})
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _check(values: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(values, sort_keys=True).encode())


def _content(handle: int) -> bytes:
    return os.pread(handle, 2 * COPY_BYTES + 1, 0)


def _write(handle: int, record: Record) -> None:
    values = asdict(record)
    values["identity"] = dict(record.identity)
    values = json.loads(json.dumps(values))
    data = json.dumps(values | {"check": _check(values)}).encode().ljust(COPY_BYTES - 1) + b"\n"
    at = record.writes % 2 * COPY_BYTES
    while data:
        written = os.pwrite(handle, data, at)
        data, at = data[written:], at + written
    os.fsync(handle)


def _lock(handle: int) -> None:
    # Not for ever: a sender that was stopped while it held the lock would stop all others without a word.
    give_up = time.monotonic() + LOCK_S
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > give_up:
                raise TimeoutError(0, "another process holds its lock") from None
            time.sleep(_POLL_S)
        else:
            return


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
