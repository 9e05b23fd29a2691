"""The folder of segments: shared by all receivers of an installation, bounded, oldest first."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from otn.crypto import DecryptionError, Keyring
from otn.web.spool.receipt import HEAD_BYTES, LONGEST, PURPOSE, Receipt, rest_length
from otn.web.spool.segment import SET_ASIDE, SUFFIX, Adopted, Segment, adopt, born_at, sync_folder

SEGMENT_BYTES = 16_000_000  # a segment is begun anew behind this; it is read whole when it is emptied
MEASURED_S = 1.0  # the folder is measured again after this: other receivers write into it too
FAILED_S = 5.0  # a disk that failed is believed to fail for so long
ASIDE_S = 30 * 86_400.0  # what could not be read is kept as long as a raw webhook
_log = structlog.get_logger("otn.receiver")


@dataclass(frozen=True)
class Figures:
    """What is in the spool.

    Args:
        events: webhooks that wait to be stored.
        bytes: size of all segments.
        oldest_age_s: age of the oldest segment, in seconds; 0 where there is none.
        set_aside: files with bytes that could not be read.
        room: bytes that may still be written; 0 where the folder cannot be written into.
    """

    events: int
    bytes: int
    oldest_age_s: float
    set_aside: int
    room: int


class Spool:
    """Where receipts wait for Postgres. One thread appends, one empties, one looks.

    Args:
        folder: made when it is first written to; may be shared with other receivers of the same installation.
        limit: bytes of all segments together.
        keyring: what cannot be opened with it belongs to somebody else, and is left alone.
    """

    def __init__(self, folder: Path, limit: int, keyring: Keyring) -> None:
        self.folder = folder
        self._limit = limit
        self._keyring = keyring
        self._foreign: set[str] = set()
        self._lock = threading.Lock()  # of the segment that is being written
        self._active: Segment | None = None
        self._failed_at = -FAILED_S
        self._measured_at = -MEASURED_S
        self._measured = 0
        self._counted: dict[str, tuple[int, int]] = {}

    def append(self, receipts: Sequence[Receipt]) -> int:
        """Write receipts; how many, from the first one on, are on disk now. Fewer than given: the spool is full.

        Raises:
            OSError: none of them is: the disk is full or broken, or the folder is not ours.
        """
        with self._lock:
            fitting = self._fitting([receipt.to_bytes() for receipt in receipts])
            if fitting:
                self._write(b"".join(fitting))
        _log.info("spooled", receipts=len(fitting), refused=len(receipts) - len(fitting))
        return len(fitting)

    def _fitting(self, pieces: Sequence[bytes]) -> list[bytes]:
        free = self._limit - self._size()
        fitting: list[bytes] = []
        for piece in pieces:
            free -= len(piece)
            if free < 0:
                break
            fitting.append(piece)
        return fitting

    def _write(self, data: bytes) -> None:
        try:
            if self._active is None or self._active.size >= SEGMENT_BYTES:
                self._seal()
                self._make_folder()
                self._active = Segment(self.folder)
            self._active.append(data)
        except OSError:
            self._failed_at = time.monotonic()
            self._seal()
            raise
        self._failed_at = -FAILED_S
        self._measured += len(data)

    def _make_folder(self) -> None:
        if not self.folder.exists():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync_folder(self.folder.parent)

    def _seal(self) -> None:
        if self._active is not None:
            active, self._active = self._active, None
            active.close()

    def _size(self) -> int:
        if time.monotonic() - self._measured_at >= MEASURED_S:
            self._measured = sum(size for _, size in self._segments())
            self._measured_at = time.monotonic()
        return self._measured

    def _segments(self) -> list[tuple[Path, int]]:
        return sorted(self._files(SUFFIX))

    def _files(self, suffix: str) -> Iterator[tuple[Path, int]]:
        with suppress(FileNotFoundError):
            for entry in os.scandir(self.folder):
                if entry.name.endswith(suffix):
                    with suppress(FileNotFoundError):  # another receiver has just emptied it
                        yield Path(entry.path), entry.stat().st_size

    def oldest(self) -> Adopted | None:
        """The oldest segment that nobody holds, now held by us; the one being written is closed for it if it is alone.

        Raises:
            OSError: the folder cannot be looked into.
        """
        for path, _ in self._segments():
            if (found := self._adopted(path)) is not None:
                return found
        with self._lock:
            if self._active is None:
                return None
            path = self._active.path
            self._seal()
        return self._adopted(path)

    def _adopted(self, path: Path) -> Adopted | None:
        if path.name in self._foreign:
            return None
        try:
            found = adopt(path)
        except OSError as error:
            _log.error("a segment cannot be read", file=path.name, error=error.strerror)
            return None
        if found is None or self._opens(found):
            return found
        found.release()
        self._foreign.add(path.name)
        _log.error("a segment was written with a key that is not here; put it back and restart", file=path.name)
        return None

    def _opens(self, found: Adopted) -> bool:
        try:
            for receipt in found.take(1, 0):
                self._keyring.decrypt(receipt.body, PURPOSE)
        except DecryptionError:
            return False
        return True

    def close(self) -> None:
        """Leave everything to the next receiver."""
        with self._lock:
            self._seal()

    def forget_set_aside(self) -> None:
        """Delete what was set aside long ago: it may be a person's words.

        Raises:
            OSError: it cannot be done.
        """
        for path, _ in self._files(SET_ASIDE):
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > ASIDE_S:
                    path.unlink()

    def figures(self) -> Figures:
        """Count what waits. Where the folder cannot be looked into, there is no room either."""
        try:
            segments = self._segments()
            aside = sum(1 for _ in self._files(SET_ASIDE))
            events = sum(self._events(path, size) for path, size in segments)
        except OSError:
            return Figures(0, 0, 0.0, 0, 0)
        self._counted = {path.name: self._counted[path.name] for path, _ in segments if path.name in self._counted}
        size = sum(one for _, one in segments)
        oldest = max(0.0, time.time() - born_at(segments[0][0])) if segments else 0.0
        return Figures(events, size, round(oldest, 1), aside, self._room(size))

    def _events(self, path: Path, size: int) -> int:
        """Receipts in a segment by their heads, going on where the last look ended."""
        offset, events = self._counted.get(path.name, (0, 0))
        if offset < size:
            with suppress(FileNotFoundError), path.open("rb") as file:
                while offset < size:
                    file.seek(offset)
                    length = rest_length(file.read(HEAD_BYTES))
                    if length is None or offset + HEAD_BYTES + length > size:
                        break
                    offset, events = offset + HEAD_BYTES + length, events + 1
        self._counted[path.name] = (offset, events)
        return events

    def _room(self, size: int) -> int:
        place = next((one for one in (self.folder, *self.folder.parents) if one.exists()), None)
        failed = time.monotonic() - self._failed_at < FAILED_S
        if failed or place is None or not os.access(place, os.W_OK | os.X_OK):
            return 0
        try:
            room = min(self._limit - size, shutil.disk_usage(place).free)
        except OSError:
            return 0
        return room if room >= LONGEST else 0
