from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

import pytest

from otn.local.account import Account, AccountError, PassageError, open_passage, passage_list, postgres_account

ATTRIBUTE = "system.posix_acl_access"
ENTRY = struct.Struct("<HHI")
NO_ID = 0xFFFFFFFF
NOBODY = Account("nobody", 65534, 65534)
SOMEONE = 65533

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root starts programs under another account")


def _entries(text: bytes) -> dict[tuple[int, int], int]:
    assert text[:4] == struct.pack("<I", 2)
    return {(tag, who): right for tag, right, who in ENTRY.iter_unpack(text[4:])}


def test_a_first_list_says_the_mode_and_lets_one_account_pass() -> None:
    entries = _entries(passage_list(b"", 0o40750, 7))
    assert entries == {(1, NO_ID): 7, (2, 7): 1, (4, NO_ID): 5, (0x10, NO_ID): 5, (0x20, NO_ID): 0}
    entries = _entries(passage_list(b"", 0o40700, 7))
    assert entries == {(1, NO_ID): 7, (2, 7): 1, (4, NO_ID): 0, (0x10, NO_ID): 1, (0x20, NO_ID): 0}


def test_it_is_the_same_when_done_again() -> None:
    once = passage_list(b"", 0o40700, 7)
    assert passage_list(once, 0o40710, 7) == once


def test_entries_that_a_mask_held_back_stay_held_back() -> None:
    given = struct.pack("<I", 2) + b"".join(
        ENTRY.pack(*entry)
        for entry in [(1, 7, NO_ID), (2, 7, 8), (4, 7, NO_ID), (8, 5, 9), (0x10, 0, NO_ID), (0x20, 0, NO_ID)]
    )
    entries = _entries(passage_list(given, 0o40700, 7))
    assert entries[2, 7] == 1
    assert entries[0x10, NO_ID] == 1
    assert entries[2, 8] == entries[4, NO_ID] == entries[8, 9] == 0


def _reach(file: Path, uid: int, command: str) -> bool:
    done = subprocess.run(
        [command, str(file)], check=False, capture_output=True, user=uid, group=uid, extra_groups=[], timeout=30
    )
    return done.returncode == 0


def test_a_user_without_a_name_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    with pytest.raises(AccountError, match="4000000 has no name"):
        postgres_account()


@needs_root
def test_the_account_passes_and_nobody_else_does_and_it_cannot_list(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    file = closed / "file"
    file.write_text("x")
    file.chmod(0o644)
    assert not _reach(file, NOBODY.uid, "cat")
    open_passage(file, NOBODY)
    assert _reach(file, NOBODY.uid, "cat")
    assert not _reach(file, SOMEONE, "cat")
    assert not _reach(closed, NOBODY.uid, "ls")
    closed.chmod(0o700)  # an administrator's chmod closes it again; the next start opens it
    assert not _reach(file, NOBODY.uid, "cat")
    open_passage(file, NOBODY)
    assert _reach(file, NOBODY.uid, "cat")


def test_open_folders_are_left_alone_and_a_closed_one_without_lists_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_passage(tmp_path / "file", None)
    stranger = Account("stranger", 4_000_000, 4_000_000)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o711)
    touched = []

    def refuse(folder: Path, *_: object) -> None:
        touched.append(folder)
        if folder == closed:  # whatever lies above is the test runner's own affair
            raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "setxattr", refuse)
    open_passage(closed / "file", stranger)
    assert closed not in touched
    closed.chmod(0o700)
    with pytest.raises(PassageError, match=r"chmod o\+x .*closed"):
        open_passage(closed / "file", stranger)
