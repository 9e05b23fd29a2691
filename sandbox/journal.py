"""An append-only file of records: what a restart is rebuilt from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sandbox.wire import line, read_json


class Journal:
    """Records in JSON, one a line.

    A record is handed to the operating system before the call that caused it is answered, so that the death of the
    process loses nothing that anybody was told.

    Args:
        path: the file, or None to remember nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._waiting: list[bytes] = []
        self._file: int | None = None

    def replay(self) -> Iterator[list[Any]]:
        """Yield the records written so far, then open the file for more.

        A last line without its end was never answered to anybody: it is cut off.
        """
        if self._path is None:
            return
        end = 0
        if self._path.exists():
            with self._path.open("rb") as file:
                for raw in file:
                    if not raw.endswith(b"\n"):
                        break
                    end += len(raw)
                    yield read_json(raw)
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.ftruncate(self._file, end)
        os.lseek(self._file, end, os.SEEK_SET)

    def add(self, record: list[Any]) -> None:
        """Remember a record until the next write."""
        if self._file is not None:
            self._waiting.append(line(record))

    def write(self) -> None:
        """Hand all waiting records to the operating system."""
        if self._waiting and self._file is not None:
            rest = memoryview(b"".join(self._waiting))
            self._waiting.clear()
            while rest:
                rest = rest[os.write(self._file, rest) :]

    def clear(self) -> None:
        """Forget everything."""
        self._waiting.clear()
        if self._file is not None:
            os.ftruncate(self._file, 0)
            os.lseek(self._file, 0, os.SEEK_SET)

    def close(self) -> None:
        """Write what waits and close."""
        self.write()
        if self._file is not None:
            os.close(self._file)
            self._file = None
