"""The erasure journal: a file outside the database that outlives a restored backup.

One JSON line an erasure: the keyed hash of the person and a time. Lines are only ever appended.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from otn.errors import ConfigurationError, OtnError

VARIABLE = "OTN_ERASURE_JOURNAL"
FILE = "erasures.jsonl"
HASH_BYTES = 32
_TAIL_BYTES = 4096


class JournalError(OtnError):
    """The erasure journal cannot be read or written. Look at its file and disk."""


@dataclass(frozen=True)
class JournalState:
    """How far a journal goes; another state is another content.

    Args:
        size: in bytes.
        tail: a hash of its end.
    """

    size: int
    tail: bytes


@dataclass(frozen=True)
class JournalContent:
    """What stands in a journal.

    Args:
        erasures: keyed hash of each person, and when that was written.
        unreadable: lines that are none, such as the last one after a crash.
    """

    erasures: dict[bytes, datetime]
    unreadable: int


@dataclass(frozen=True)
class Journal:
    """The journal of one installation.

    Args:
        path: its file; made at the first erasure.
    """

    path: Path

    def append(self, erasures: Iterable[tuple[bytes, datetime | None]]) -> None:
        """Write erasures down; on the disk when this returns.

        Args:
            erasures: keyed hash of each person (32 bytes), and when it was; None: now.

        Raises:
            JournalError: it cannot be written; then nobody may be erased.
        """
        now = datetime.now(UTC)
        lines = "".join(
            json.dumps({"psid_hash": psid_hash.hex(), "at": (at or now).isoformat(timespec="seconds")}) + "\n"
            for psid_hash, at in erasures
        )
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fresh = not self.path.exists()
            handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                torn = _is_torn(handle)
                _write(handle, (("\n" if torn else "") + lines).encode())
                os.fsync(handle)
            finally:
                os.close(handle)
            if fresh:
                _sync_folder(self.path.parent)
        except OSError as error:
            raise _failed("written", self.path, error) from None

    def state(self) -> JournalState:
        """How far it goes; a file that is not there is an empty one.

        Raises:
            JournalError: it cannot be read.
        """
        try:
            with self.path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _TAIL_BYTES))
                tail = file.read(size - file.tell())
        except FileNotFoundError:
            size, tail = 0, b""
        except OSError as error:
            raise _failed("read", self.path, error) from None
        return JournalState(size, hashlib.sha256(tail).digest())

    def read(self) -> JournalContent:
        """Everything in it. A line torn by a crash was never acknowledged, and is passed over.

        Raises:
            JournalError: it cannot be read.
        """
        try:
            lines = self.path.read_bytes().splitlines()
        except FileNotFoundError:
            lines = []
        except OSError as error:
            raise _failed("read", self.path, error) from None
        erasures: dict[bytes, datetime] = {}
        unreadable = 0
        for line in filter(None, map(bytes.strip, lines)):
            try:
                psid_hash, at = _parsed(line)
            except (ValueError, TypeError, KeyError, AttributeError):
                unreadable += 1
            else:
                erasures.setdefault(psid_hash, at)
        return JournalContent(erasures, unreadable)


def read_journal(environ: Mapping[str, str] | None = None) -> Journal | None:
    """The journal that ``OTN_ERASURE_JOURNAL`` names, else that of the home; None where neither is known.

    Args:
        environ: the environment; the process's own by default.

    Raises:
        ConfigurationError: the variable names no absolute path.
    """
    values = os.environ if environ is None else environ
    named = values.get(VARIABLE, "").strip()
    if named:
        if not Path(named).is_absolute():
            raise ConfigurationError(
                f"{VARIABLE} is {named!r}, which is another file in each working directory. Give an absolute path."
            )
        return Journal(Path(named))
    home = values.get("OTN_HOME", "").strip()
    return Journal(Path(home) / FILE) if home else None


def needed_journal(environ: Mapping[str, str] | None = None) -> Journal:
    """The journal, without which nobody is erased.

    Raises:
        ConfigurationError: none is known.
    """
    journal = read_journal(environ)
    if journal is None:
        raise ConfigurationError(
            f"{VARIABLE} is not set, and without a journal a restored backup would bring erased people back."
            " Set it to a file that is not on the database's disk."
        )
    return journal


def _parsed(line: bytes) -> tuple[bytes, datetime]:
    found = json.loads(line)
    psid_hash, at = bytes.fromhex(found["psid_hash"]), datetime.fromisoformat(found["at"])
    if len(psid_hash) != HASH_BYTES or at.tzinfo is None:
        raise ValueError
    return psid_hash, at


def _is_torn(handle: int) -> bool:
    size = os.fstat(handle).st_size
    return size > 0 and os.pread(handle, 1, size - 1) != b"\n"


def _write(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _failed(what: str, path: Path, error: OSError) -> JournalError:
    return JournalError(
        f"The erasure journal {path} cannot be {what} ({error.strerror or type(error).__name__})."
        f" Correct {VARIABLE}, or the file's rights and disk; until then nobody is erased."
    )
