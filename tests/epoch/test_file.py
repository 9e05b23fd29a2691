"""The epoch's file: durable, shared, and never taken for what it is not."""

from __future__ import annotations

import fcntl
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from otn.epoch import file as files
from otn.epoch.file import (
    COPY_BYTES,
    MOST_GAPS,
    EpochFile,
    EpochFileBrokenError,
    EpochFileError,
    NumberTakenError,
    Record,
    epoch_file,
)
from otn.errors import ConfigurationError

SOMEWHERE = {"server": "1", "tables": 2}


@pytest.fixture
def made(tmp_path: Path) -> EpochFile:
    file = EpochFile(tmp_path / "epoch.json")
    file.make(0, SOMEWHERE)
    return file


def record(file: EpochFile) -> Record:
    found = file.read()
    assert found is not None
    return found


def test_it_keeps_the_newest_number_and_those_left_out(made):
    for number in (1, 2, 5, 4):
        made.call(number)
    assert (record(made).number, record(made).gaps, record(made).identity) == (5, (3,), SOMEWHERE)
    for taken in (1, 2, 4, 5):
        with pytest.raises(NumberTakenError):
            made.call(taken)
    made.call(3)
    assert record(made).gaps == ()
    assert made.path.stat().st_mode & 0o777 == 0o600


def test_it_stays_small_however_many_senders_died(made):
    for number in range(10**15, 10**15 + 4 * MOST_GAPS, 2):
        made.call(number)
    assert len(record(made).gaps) == MOST_GAPS
    assert made.path.stat().st_size == 2 * COPY_BYTES


def test_making_it_twice_leaves_the_first(made):
    made.call(7)
    made.make(0, {})
    assert record(made).number == 7


def test_many_at_once_lose_no_number(made):
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(made.call, range(60, 0, -1)))
    assert (record(made).number, record(made).gaps, record(made).writes) == (60, (), 60)


@pytest.mark.parametrize("size", [0, 1, 100, COPY_BYTES - 1])
def test_a_copy_torn_by_a_crash_leaves_the_one_before(made, size):
    made.call(1)
    made.call(2)
    torn = made.path.read_bytes()
    at = record(made).writes % 2 * COPY_BYTES
    made.path.write_bytes(torn[:at] + torn[at : at + size].ljust(COPY_BYTES, b"\0") + torn[at + COPY_BYTES :])
    assert record(made).number in {1, 2}  # the padding alone may be torn
    made.call(3)
    assert record(made).number == 3


@pytest.mark.parametrize(
    "content", [b"\n", b"{}", b"null", b'{"number": 1}', b"\xff" * 100, b" " * 2 * COPY_BYTES, b"x" * 3 * COPY_BYTES]
)
def test_something_else_is_not_taken_for_it(made, content):
    made.path.write_bytes(content)
    for broken in (made.read, lambda: made.call(1), lambda: made.make(0, {})):
        with pytest.raises(EpochFileBrokenError):
            broken()
    made.adopt(9, {})
    assert record(made).number == 9


def test_a_number_changed_by_hand_is_noticed(made):
    made.call(1)
    made.path.write_bytes(made.path.read_bytes().replace(b'"number": 1', b'"number": 0'))
    assert record(made).writes == 0


def test_an_adoption_is_no_call(made):
    made.call(7)
    for number in (8, 9):  # the second after a crash in the middle of the first
        made.adopt(number, SOMEWHERE)
        assert (record(made).number, record(made).last_call) == (number, 7)
    made.call(11)
    assert (record(made).number, record(made).last_call, record(made).gaps) == (11, 11, (10,))
    made.path.write_bytes(b"?")
    made.adopt(20, SOMEWHERE)
    assert record(made).last_call == 19


def test_a_file_that_is_gone_is_not_made_by_a_call(made):
    made.path.unlink()
    assert made.read() is None
    with pytest.raises(EpochFileError, match="cannot be written"):
        made.call(1)
    assert not made.path.exists()
    made.path.touch()
    with pytest.raises(EpochFileError, match="emptied"):
        made.call(1)


def test_a_disk_that_fails_says_what_to_correct(made, monkeypatch):
    def fails(_handle: int) -> None:
        raise OSError(30, os.strerror(30))

    monkeypatch.setattr(files.os, "fsync", fails)
    with pytest.raises(EpochFileError, match=r"Read-only file system.*correct OTN_EPOCH_FILE"):
        made.call(1)
    folder = EpochFile(made.path.parent)
    with pytest.raises(EpochFileError, match="cannot be read"):
        folder.read()
    below = EpochFile(made.path / "epoch.json")
    with pytest.raises(EpochFileError, match="cannot be written"):
        below.make(0, {})


def test_a_sender_that_was_stopped_with_the_lock_stops_nobody_for_ever(made, monkeypatch):
    monkeypatch.setattr(files, "LOCK_S", 0.05)
    with made.path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(EpochFileError, match="another process holds its lock"):
            made.call(1)
    made.call(1)


def test_where_it_lies(tmp_path):
    home = {"OTN_HOME": str(tmp_path)}
    assert epoch_file({}) is None
    assert epoch_file(home) == EpochFile(tmp_path / "epoch.json", at_home=True)
    journal = {"OTN_ERASURE_JOURNAL": "/shared/erasures.jsonl"}
    assert epoch_file(home | journal) == EpochFile(Path("/shared/epoch.json"))
    assert epoch_file(home | journal | {"OTN_EPOCH_FILE": "/x/y"}) == EpochFile(Path("/x/y"))
    with pytest.raises(ConfigurationError, match=r"OTN_EPOCH_FILE .*absolute path"):
        epoch_file({"OTN_EPOCH_FILE": "epoch.json"})


def test_a_copy_of_a_home_is_known_by_its_place(tmp_path):
    file = EpochFile(tmp_path / "home" / "epoch.json", at_home=True)
    file.make(3, {})
    file.call(4)
    shutil.copytree(tmp_path / "home", tmp_path / "copy")
    copy = EpochFile(tmp_path / "copy" / "epoch.json", at_home=True)
    assert not file.is_copy(record(file))
    assert copy.is_copy(record(copy))
    (tmp_path / "home").rename(tmp_path / "moved")
    moved = EpochFile(tmp_path / "moved" / "epoch.json", at_home=True)
    assert not moved.is_copy(record(moved))
