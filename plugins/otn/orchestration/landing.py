"""The task of ``otn_ingest`` that takes in landed files, through Airflow's ObjectStoragePath."""

from __future__ import annotations

import io
import logging
import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from airflow.sdk import task

from otn.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

    from otn.intake.landed import Figures
    from otn.intake.landing import Found
    from otn.intake.landing_place import LandingPlace

log = logging.getLogger(__name__)

HANGING = timedelta(hours=1)
BUDGET_S = 45.0  # the next run of otn_ingest waits for this one, and stop words with it
TOLD_EACH_S = 10.0
LISTED = 1000  # files at a time
BUFFER = 1 << 20
# What stores call that which changes with a file. Of a folder inode and time; its size is always among them.
MARKS = (
    "ETag",
    "etag",
    "generation",
    "content_md5",
    "LastModified",
    "last_modified",
    "updated",
    "mtime",
    "ino",
    "created",
)
VERSION_CHARACTERS = 300


class ProviderMissingError(ConfigurationError):
    """Nothing here can read such an address. Install the Airflow provider that docs/landing.md names for it."""


def is_set() -> bool:
    """Whether there is a landing at all, right or wrong."""
    return bool(os.environ.get("OTN_LANDING_URL", "").strip())


@task(execution_timeout=HANGING)
def land() -> dict[str, int]:
    """Take in files that others dropped below ``OTN_LANDING_URL``; what cannot be read is marked, and tried again.

    Raises:
        LandingError: not everything could be listed; what was found was taken.
    """
    from otn.intake.landing import pull
    from otn.intake.landing_place import LandingUrlError, read_place
    from otn.orchestration.hook import make_engine, read_keyring
    from otn.orchestration.ingesting import apply_journals

    place = read_place()
    if place is None:  # the DAG was parsed where there is one
        raise LandingUrlError(
            "OTN_LANDING_URL is not set on this worker. Give it to every part of Airflow, or to none."
        )
    engine, keyring = make_engine(), read_keyring()
    apply_journals(engine, keyring)
    end = time.monotonic() + BUDGET_S
    pulled = pull(engine, keyring, ObjectStore(place), over=lambda: time.monotonic() > end, progress=_Teller().tell)
    log.info("%s", pulled)
    return asdict(pulled)


class _Teller:
    """Says every few seconds how far a file is."""

    def __init__(self) -> None:
        self._told_at = time.monotonic()

    def tell(self, file: int, figures: Figures) -> None:
        if time.monotonic() - self._told_at > TOLD_EACH_S:
            self._told_at = time.monotonic()
            log.info("file %s so far: %s", file, figures)


class ObjectStore:
    """A landing as Airflow reaches it.

    Args:
        place: where it is.

    Raises:
        ConnectionMissingError: its connection is not defined.
        ProviderMissingError: no provider for its scheme is installed.
    """

    def __init__(self, place: LandingPlace) -> None:
        from airflow.sdk import ObjectStoragePath

        from otn.orchestration.hook import read_connection

        self.url = place.url
        if place.connection_id is not None:
            read_connection(place.connection_id)
        self._is_folder = place.scheme == "file"
        try:
            self._root: ObjectStoragePath = ObjectStoragePath(place.url, conn_id=place.connection_id)
            self._files: Any = self._root.fs
        except (ImportError, ValueError) as error:
            raise ProviderMissingError(
                f"Nothing here can read {place.scheme}:// ({type(error).__name__}). Install the Airflow provider that"
                " docs/landing.md names for it."
            ) from None
        self._path = self._root.path.rstrip("/")

    def listing(self) -> Iterator[list[Found]]:
        """Files of ours below the landing, some at a time.

        Raises:
            ListingError: some folders could not be listed; the others were.
        """
        from otn.intake.landing import ListingError

        failures: list[str] = []
        found = (one for infos in self._folders(failures) for one in map(self._found, infos) if one is not None)
        while batch := list(islice(found, LISTED)):
            yield batch
        if failures:
            raise ListingError(failures[-1])

    def _folders(self, failures: list[str]) -> Iterator[list[Mapping[str, Any]]]:
        """What lies in each folder. Links are not followed: they are no folders."""
        from otn.intake.landing import reason_of

        self._files.invalidate_cache()
        folders = [self._path]
        while folders:
            folder = folders.pop()
            try:
                infos = self._files.ls(folder, detail=True)
            except Exception as error:  # noqa: BLE001 - each store has errors of its own; the other folders are listed
                if folder != self._path or not self._is_empty(error):
                    failures.append(reason_of(error))
                continue
            inside = [info for info in infos if len(info["name"].rstrip("/")) > len(folder)]
            folders += [info["name"].rstrip("/") for info in inside if info["type"] == "directory"]
            yield [info for info in inside if info["type"] != "directory"]

    def _is_empty(self, error: Exception) -> bool:
        """A store has no folders: where nothing lies below a prefix, the prefix is not there either."""
        if self._is_folder or not isinstance(error, FileNotFoundError):
            return False
        return bool(self._files.exists(self._path.strip("/").split("/")[0]))

    def _found(self, info: Mapping[str, Any]) -> Found | None:
        """A file as it is listed; None where it is not for us."""
        from otn.intake.landing import Found
        from otn.intake.landing_place import fault_of, is_ours, shown

        name = info["name"].strip("/").removeprefix(self._path.strip("/")).strip("/")
        link = bool(info.get("islink"))
        if not link and not is_ours(name):
            return None
        error = "is_a_link" if link else fault_of(name)
        if error is None and info["type"] != "file":
            error = "no_regular_file"
        marks = " ".join(f"{mark}={info[mark]}" for mark in MARKS if info.get(mark) not in (None, ""))
        version = "link" if link else f"size={info.get('size')} {marks}"[:VERSION_CHARACTERS]
        return Found(shown(name), int(info.get("size") or 0), version, error)

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """A file, for bytes.

        Raises:
            OSError: it cannot be opened, or it may not.
        """
        from otn.intake.landing_place import fault_of

        if fault_of(name) is not None:
            raise PermissionError(name)
        path = f"{self._path}/{name}"
        if self._is_folder:
            with _opened(Path(path), Path(self._path)) as plain:
                yield plain
            return
        # Not ObjectStoragePath.open(): for each line that is read it would tell Airflow's lineage.
        with self._files.open(path, "rb") as raw, io.BufferedReader(raw, BUFFER) as file:
            yield cast("BinaryIO", file)


@contextmanager
def _opened(path: Path, root: Path) -> Iterator[BinaryIO]:
    """A file of a folder; no link leads out of it, and nothing in it makes the reader wait."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb", BUFFER) as file:
        is_regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        if not is_regular or not path.resolve().is_relative_to(root.resolve()):
            raise PermissionError(str(path))
        yield file
