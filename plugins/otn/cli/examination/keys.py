"""Keys: whether they are there, fit the data, and are nobody else's to read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import otn
from otn.cli.examination.case import Case, Question
from otn.cli.examination.check import Check
from otn.crypto import DecryptionError, read_keyring
from otn.database import queries
from otn.errors import ConfigurationError
from otn.settings import ROOT

READABLE_BY_OTHERS = 0o077
OF_THE_SCRIPT = ("OTN_PYTHON",)  # read before any program of ours runs


def present(case: Case) -> Iterator[Check]:
    """The keys themselves, and whether anybody thought of a backup, which nothing here can tell."""
    try:
        read_keyring(case.environment)
    except ConfigurationError as error:
        yield Check("keys.present", "red", str(error), "Without them no opt-in can be read, stored or spent.")
        return
    yield Check("keys.present", "green", "Encryption keys and hash key are there.")
    place = str(case.home.secrets_file) if case.local else "OTN_ENCRYPTION_KEYS and OTN_HASH_KEY"
    yield Check(
        "keys.backup",
        "unseen",
        "Whether the keys are backed up cannot be seen from here.",
        f"Keep a copy of {place} apart from the database: without them its opt-ins are lost.",
    )


def files(case: Case) -> Iterator[Check]:
    """Rights of files that hold secrets."""
    home = case.home
    known = [home.secrets_file, home.password_file, home.state_file, ROOT / ".env"]
    open_ones = [path for path in known if _is_open(path)]
    for path in open_ones:
        text = f"Other accounts of this machine can read {path}."
        yield Check("keys.files", "red", text, f"Run `chmod 600 {path}`.", path.name)
    if not open_ones:
        yield Check("keys.files", "green", "Files with secrets are read by their owner alone.")


def _is_open(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & READABLE_BY_OTHERS)
    except OSError:
        return False


def fit(case: Case) -> Iterator[Check]:
    """Whether the stored opt-ins were written with these keys: the oldest and the newest."""
    try:
        keyring = read_keyring(case.environment)
    except ConfigurationError:
        return  # told already
    with case.asking() as connection:
        rows = list(queries("doctor").some_tokens(connection))
    if not rows:
        yield Check("keys.fit", "green", "No opt-in is stored yet, so every key fits.")
        return
    try:
        tokens = [(row, keyring.decrypt(row.token_encrypted, "token").decode()) for row in rows]
    except DecryptionError as error:
        text = "Stored opt-ins were written with other keys, and cannot be read."
        yield Check("keys.fit", "red", text, str(error))
        return
    yield Check("keys.fit", "green", "The stored opt-ins can be read.")
    if all(bytes(row.token_hash) == keyring.digest("token", row.page_id, token) for row, token in tokens):
        yield Check("keys.hash", "green", "OTN_HASH_KEY is the one that the data were written with.")
    else:
        text = "OTN_HASH_KEY is not the one that the data were written with: erased people could come back unknown."
        yield Check("keys.hash", "red", text, "Put the first one back from your backup. It must never change.")


def names(case: Case) -> Iterator[Check]:
    """Settings whose name nobody reads: misspelt, most likely."""
    unknown = sorted(unread(case.environment))
    if unknown:
        text = f"Nothing reads these settings: {', '.join(unknown)}."
        yield Check("settings.names", "yellow", text, "Correct the names (docs/operations.md), or remove them.")
    else:
        yield Check("settings.names", "green", "Every OTN_… setting is one that is read.")


def unread(environment: Mapping[str, str]) -> set[str]:
    """Names that begin as ours do and that no program of ours reads."""
    ours = {name for name in environment if name.startswith("OTN_")}
    if not ours:
        return set()
    read = set(OF_THE_SCRIPT)
    for path in Path(otn.__file__).parent.rglob("*.py"):
        read.update(re.findall(r"\bOTN_[A-Z0-9_]+", path.read_text(encoding="utf-8")))
    return ours - read


QUESTIONS = (
    Question(("keys.present", "keys.backup"), present),
    Question(("keys.files",), files),
    Question(("settings.names",), names),
)
OF_THE_DATA = (Question(("keys.fit", "keys.hash"), fit, needs="schema"),)
