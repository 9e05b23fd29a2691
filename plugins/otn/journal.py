"""Journals: files of lines outside the database, only ever appended to, which outlive a restored backup."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from otn.errors import ConfigurationError, OtnError

VARIABLE = "OTN_ERASURE_JOURNAL"
ERASURES = "erasures.jsonl"
_TAIL_BYTES = 4096


class JournalError(OtnError):
    """A journal cannot be read or written. Look at its file and disk."""


@dataclass(frozen=True)
class JournalState:
    """How far a journal goes; another state is another content.

    Args:
        size: in bytes.
        tail: a hash of its end.
    """

    size: int
    tail: bytes


def append_lines(path: Path, lines: str) -> tuple[JournalState, JournalState]:
    """Add whole lines, after those of every other process; on the disk when this returns.

    Args:
        path: the file; made if it is not there.
        lines: each with its end.

    Returns:
        How far it went before, and how far it goes now.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = not path.exists()
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        before = _state(handle, os.fstat(handle).st_size)
        _write(handle, (("\n" if _is_torn(handle) else "") + lines).encode())
        os.fsync(handle)
        after = _state(handle, os.fstat(handle).st_size)
    finally:
        os.close(handle)
    if fresh:
        _sync_folder(path.parent)
    return before, after


def read_lines(path: Path, start: int = 0) -> tuple[list[bytes], JournalState]:
    """Lines from a place on, empty ones left out, and how far the file goes; one that is not there is an empty one.

    Args:
        path: the file.
        start: in bytes.

    Raises:
        OSError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            file.seek(start)
            content = file.read()
            state = _state(file.fileno(), start + len(content))
    except FileNotFoundError:
        return [], _nothing()
    return list(filter(None, map(bytes.strip, content.splitlines()))), state


def state_of(path: Path, size: int | None = None) -> JournalState:
    """How far a file goes, or went when it had that many bytes; one that is not there is an empty one.

    Args:
        path: the file.
        size: in bytes; None: all of it.

    Raises:
        OSError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            whole = os.fstat(file.fileno()).st_size
            return _state(file.fileno(), whole if size is None else min(size, whole))
    except FileNotFoundError:
        return _nothing()


def is_writable(path: Path) -> bool:
    """Whether lines can be added, told without writing: of the file itself, or of where it will be made."""
    try:
        if path.exists():
            return path.is_file() and os.access(path, os.W_OK)
        above = path.parent
        while not above.exists() and above != above.parent:
            above = above.parent
        return above.is_dir() and os.access(above, os.W_OK)
    except OSError:  # a folder on the way lets nobody through
        return False


def erasure_path(environ: Mapping[str, str] | None = None) -> Path | None:
    """The erasure journal that ``OTN_ERASURE_JOURNAL`` names, else that of the home; other journals lie beside it.

    Args:
        environ: the environment; the process's own by default.

    Returns:
        None where neither is known.

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
        return Path(named)
    home = values.get("OTN_HOME", "").strip()
    return Path(home) / ERASURES if home else None


def _nothing() -> JournalState:
    return JournalState(0, hashlib.sha256(b"").digest())


def _state(handle: int, size: int) -> JournalState:
    start = max(0, size - _TAIL_BYTES)
    return JournalState(size, hashlib.sha256(os.pread(handle, size - start, start)).digest())


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
