"""Segments: files of receipts. Who writes or empties one holds its lock, which ends with the process."""

from __future__ import annotations

import fcntl
import os
import time
import uuid
from collections import deque
from contextlib import suppress
from pathlib import Path

import structlog

from otn.web.spool.receipt import Damage, Receipt, read_receipts

SUFFIX = ".segment"
SET_ASIDE = ".aside"
_UNBORN = ".unborn"
_NAME_DIGITS = 20  # nanoseconds since the epoch: names sort by age
_log = structlog.get_logger("otn.receiver")


class Segment:
    """A new segment that is being written.

    Args:
        folder: where.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"{time.time_ns():0{_NAME_DIGITS}d}-{uuid.uuid4().hex[:8]}{SUFFIX}"
        unborn = self.path.with_suffix(_UNBORN)
        self._handle = os.open(unborn, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.size = 0
        try:
            # Locked before it has its name: nobody can take it for one that a dead receiver left.
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            unborn.rename(self.path)
            sync_folder(folder)
        except BaseException:
            self.close()
            unborn.unlink(missing_ok=True)
            self.path.unlink(missing_ok=True)
            raise

    def append(self, data: bytes) -> None:
        """Add bytes; they are on disk when this returns.

        Raises:
            OSError: they are not, and the segment is as it was before. Do not use it any more: what a disk says after
                a failed fsync means nothing.
        """
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(self._handle, left) :]
            os.fdatasync(self._handle)
        except OSError:
            with suppress(OSError):  # what then stays behind is stepped over by the reader
                os.ftruncate(self._handle, self.size)
            raise
        self.size += len(data)

    def close(self) -> None:
        """Leave it to whoever empties it."""
        os.close(self._handle)


class Adopted:
    """A segment that nobody writes any more, held by us alone until it is empty.

    Args:
        path: which.
        handle: open and locked.
    """

    def __init__(self, path: Path, handle: int) -> None:
        self.path = path
        self._handle = handle
        self._data = _read(handle)
        found = list(read_receipts(self._data))
        self.damages = [one for one in found if isinstance(one, Damage)]
        self._receipts = deque(one for one in found if isinstance(one, Receipt))

    def take(self, most: int, most_bytes: int) -> list[Receipt]:
        """The next receipts, without letting go of them; one at least, none where it is empty.

        Args:
            most: receipts.
            most_bytes: all bodies together.
        """
        taken: list[Receipt] = []
        size = 0
        for receipt in self._receipts:
            size += len(receipt.body)
            if taken and (len(taken) == most or size > most_bytes):
                break
            taken.append(receipt)
        return taken

    def drop(self, count: int) -> None:
        """Let go of the first ones: they are stored."""
        for _ in range(count):
            self._receipts.popleft()

    @property
    def left(self) -> int:
        """Receipts that are still to be stored."""
        return len(self._receipts)

    def remove(self) -> None:
        """Delete the emptied segment; what could not be read is kept beside it.

        Raises:
            OSError: it cannot be done now.
        """
        for damage in self.damages:
            self._set_aside(damage)
        self.path.unlink()
        sync_folder(self.path.parent)
        self.release()

    def release(self) -> None:
        """Leave it to the next one who looks."""
        os.close(self._handle)

    def _set_aside(self, damage: Damage) -> None:
        path = self.path.with_name(f"{self.path.stem}-{damage.start}{SET_ASIDE}")
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(self._data[damage.start : damage.end])
            file.flush()
            os.fsync(file.fileno())
        tell = _log.warning if damage.torn else _log.error
        what = "a torn end was set aside: it was never acknowledged" if damage.torn else "damaged bytes were set aside"
        tell(what, file=path.name, bytes=damage.end - damage.start)


def adopt(path: Path) -> Adopted | None:
    """Take a segment that nobody holds; None where somebody does, or where it is gone.

    Raises:
        OSError: it cannot be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(handle).st_nlink:  # else another one emptied it between the two lines above
            return Adopted(path, handle)
    except BlockingIOError:
        pass
    except BaseException:
        os.close(handle)
        raise
    os.close(handle)
    return None


def born_at(path: Path) -> float:
    """When a segment was begun, in seconds since the epoch; now, where its name does not tell."""
    digits = path.name[:_NAME_DIGITS]
    return int(digits) / 1_000_000_000 if digits.isdecimal() else time.time()


def sync_folder(path: Path) -> None:
    """Make names in a folder survive a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read(handle: int) -> bytes:
    with os.fdopen(os.dup(handle), "rb") as file:
        return file.read()
