"""The erasure journal: a file outside the database that outlives a restored backup.

One JSON line an erasure: the keyed hash of the person and a time. Lines are only ever appended.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from otn.errors import ConfigurationError
from otn.journal import VARIABLE, JournalError, JournalState, append_lines, erasure_path, read_lines, state_of

__all__ = ["VARIABLE", "Journal", "JournalContent", "JournalError", "JournalState", "needed_journal", "read_journal"]

HASH_BYTES = 32


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
            append_lines(self.path, lines)
        except OSError as error:
            raise _failed("written", self.path, error) from None

    def state(self) -> JournalState:
        """How far it goes; a file that is not there is an empty one.

        Raises:
            JournalError: it cannot be read.
        """
        try:
            return state_of(self.path)
        except OSError as error:
            raise _failed("read", self.path, error) from None

    def read(self) -> JournalContent:
        """Everything in it. A line torn by a crash was never acknowledged, and is passed over.

        Raises:
            JournalError: it cannot be read.
        """
        try:
            lines, _ = read_lines(self.path)
        except OSError as error:
            raise _failed("read", self.path, error) from None
        erasures: dict[bytes, datetime] = {}
        unreadable = 0
        for line in lines:
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
    path = erasure_path(environ)
    return None if path is None else Journal(path)


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


def _failed(what: str, path: Path, error: OSError) -> JournalError:
    return JournalError(
        f"The erasure journal {path} cannot be {what} ({error.strerror or type(error).__name__})."
        f" Correct {VARIABLE}, or the file's rights and disk; until then nobody is erased."
    )
