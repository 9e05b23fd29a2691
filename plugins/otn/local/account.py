"""The operating-system account that Postgres runs under, and its way to the files.

Postgres refuses to run as root. A root user's Postgres therefore runs under an account of its own, which must be able
to pass through every folder above its data and its programs. Those folders are often closed to others (``/root``,
``mktemp -d``). They stay closed: an access list entry lets that one account pass through, and no one list or read.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from otn.errors import OtnError

ACCOUNT = "otn-postgres"

# Linux stores an access list in this attribute: a version, then (tag, permissions, id) each. See acl(5).
_ATTRIBUTE = "system.posix_acl_access"
_VERSION = struct.Struct("<I")
_ENTRY = struct.Struct("<HHI")
_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_NO_ID = 0xFFFFFFFF
_PASS = 0x1
_RETRIES = 3


class AccountError(OtnError):
    """There is no account that Postgres can run under. Run ./otn as an ordinary user."""


class PassageError(OtnError):
    """Postgres cannot reach its files. Choose a folder that other accounts may pass through."""


@dataclass(frozen=True)
class Account:
    """An account of this machine.

    Args:
        name: its name.
        uid: its user id.
        gid: its group id.
    """

    name: str
    uid: int
    gid: int


def postgres_account() -> Account | None:
    """The account to run Postgres under, made if need be; None where the caller's own will do (not root).

    Raises:
        AccountError: this is root and the account can be neither found nor made; or the caller has no name.
    """
    if os.geteuid() != 0:
        _check_name(os.geteuid())
        return None
    for _ in range(_RETRIES):  # two homes may start at once: the second finds what the first has made
        try:
            entry = pwd.getpwnam(ACCOUNT)
        except KeyError:
            _make_account()
        else:
            return Account(ACCOUNT, entry.pw_uid, entry.pw_gid)
    raise AccountError(
        f"Postgres does not run as root, and the account {ACCOUNT!r} for it cannot be made. "
        f"Make it (useradd --system {ACCOUNT}) or run ./otn as an ordinary user."
    )


def _check_name(uid: int) -> None:
    try:
        pwd.getpwuid(uid)
    except KeyError:  # a container that was started with a bare number
        raise AccountError(
            f"The user id {uid} has no name on this machine, and Postgres needs one. "
            f"Run ./otn as a user that /etc/passwd knows, or as root."
        ) from None


def _make_account() -> None:
    if useradd := shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin"):
        command = [useradd, "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", ACCOUNT]
    elif adduser := shutil.which("adduser", path="/usr/sbin:/sbin:/usr/bin:/bin"):  # BusyBox
        command = [adduser, "-S", "-D", "-H", "-s", "/sbin/nologin", ACCOUNT]
    else:
        return
    subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)  # noqa: S603 - fixed words


def own(path: Path, account: Account | None) -> None:
    """Give a file or folder to the account; nothing to do without one."""
    if account is not None:
        os.chown(path, account.uid, account.gid)


def open_passage(path: Path, account: Account | None) -> None:
    """Let the account pass through every folder above ``path``; nothing to do without an account.

    Args:
        path: file or folder; itself not touched.
        account: who must reach it.

    Raises:
        PassageError: a folder is closed and its file system knows no access lists.
    """
    if account is None:
        return
    for folder in reversed(path.resolve().parents):
        if folder.stat().st_mode & stat.S_IXOTH or folder.stat().st_uid == account.uid:
            continue
        try:
            current = os.getxattr(folder, _ATTRIBUTE)
        except OSError:
            current = b""
        try:
            os.setxattr(folder, _ATTRIBUTE, passage_list(current, folder.stat().st_mode, account.uid))
        except OSError as error:
            raise PassageError(
                f"Postgres runs as {account.name!r} under root and cannot pass through {folder} ({error.strerror}). "
                f"Use a folder that others may pass through (chmod o+x {folder}), or run ./otn as an ordinary user."
            ) from None


def passage_list(current: bytes, mode: int, uid: int) -> bytes:
    """An access list like the current one, in which the user ``uid`` may pass through.

    Args:
        current: the present list as Linux stores it; empty where there is none.
        mode: permission bits of the folder, from which a first list is made.
        uid: who may pass.
    """
    entries = {(tag, who): right for tag, right, who in _ENTRY.iter_unpack(current[_VERSION.size :])}
    if not entries:
        entries = {
            (_USER_OBJ, _NO_ID): mode >> 6 & 7,
            (_GROUP_OBJ, _NO_ID): mode >> 3 & 7,
            (_OTHER, _NO_ID): mode & 7,
        }
    # The mask bounds all but owner and others. It is widened for this account only: the rest keep what they had.
    mask = entries.get((_MASK, _NO_ID), entries[_GROUP_OBJ, _NO_ID])
    for tag, who in entries:
        if tag in {_USER, _GROUP_OBJ, _GROUP}:
            entries[tag, who] &= mask
    entries[_USER, uid] = entries.get((_USER, uid), 0) | _PASS
    entries[_MASK, _NO_ID] = mask | _PASS
    body = b"".join(_ENTRY.pack(tag, right, who) for (tag, who), right in sorted(entries.items()))
    return _VERSION.pack(2) + body


def open_programs(folder: Path) -> None:
    """Let every account read and run installed programs; a strict umask leaves them to root alone."""
    for path in (folder, *folder.rglob("*")):
        mode = path.stat().st_mode
        wanted = mode | (0o055 if path.is_dir() or mode & stat.S_IXUSR else 0o044)
        if wanted != mode:
            path.chmod(wanted)
