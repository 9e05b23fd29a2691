"""What the trigger forms propose: written to a small file by ``otn_ingest``, read while DAG files are parsed.

A DAG file must ask no database, so a task that has one leaves the keys in a file. They are proposals, never bounds:
every field takes free text, and a file that is missing, old or broken proposes less and breaks nothing.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otn.orchestration.reading_params import KEY_LIMIT
from otn.settings import choices_file

if TYPE_CHECKING:
    from otn.database import Engine

log = logging.getLogger(__name__)

MOST = {"topics": 200, "pages": 100}  # campaigns come and go: each would make a version of the DAG
BYTES_LIMIT = 1 << 18  # every key at its longest, each character escaped, is less


@dataclass(frozen=True)
class Choices:
    """Keys that a form proposes, newest first.

    Args:
        topics: registered ones.
        pages: their connections.
    """

    topics: tuple[str, ...] = ()
    pages: tuple[str, ...] = ()


def read_choices(path: Path | None = None) -> Choices:
    """Read the file; nothing is proposed where it cannot be used, and no text in it can do more than be proposed.

    Args:
        path: of the file; as the settings say by default.
    """
    path = path or choices_file()
    try:
        if path is None or not path.is_file():  # nor a pipe, that would never end
            return Choices()
        with path.open("rb") as file:
            data = file.read(BYTES_LIMIT + 1)
        found = json.loads(data) if len(data) <= BYTES_LIMIT else None
    except (OSError, ValueError, RecursionError):
        return Choices()
    if not isinstance(found, dict):
        return Choices()
    return Choices(**{name: _keys(found.get(name), most) for name, most in MOST.items()})


def _keys(value: Any, most: int) -> tuple[str, ...]:
    if not isinstance(value, list):
        return ()
    return tuple(dict.fromkeys(one for one in value if _is_key(one)))[:most]


def _is_key(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= KEY_LIMIT and value.isprintable() and value == value.strip()


def write_choices(engine: Engine, path: Path | None = None) -> bool:
    """Bring the file up to date; whoever reads it meanwhile finds the old one or the new one.

    Where nothing changed, nothing is written. That a folder cannot be written to is logged, not raised: it costs
    people a proposal, and must not cost them an opt-in.

    Args:
        engine: the project's database.
        path: of the file; as the settings say by default.

    Returns:
        Whether it was written.
    """
    path = path or choices_file()
    if path is None:
        return False
    text = json.dumps(asdict(look(engine)), indent=1) + "\n"
    try:
        if path.is_file() and path.read_bytes() == text.encode():
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, text)
    except OSError as error:
        log.warning("%s cannot be written (%s): the trigger forms propose what they did", path, error.strerror)
        return False
    return True


def look(engine: Engine) -> Choices:
    """What there is to propose now."""
    from otn.database import queries, transaction

    named = queries("choices")
    with transaction(engine) as connection:
        rows = {
            "topics": list(named.topic_choices(connection, most=MOST["topics"])),
            "pages": list(named.page_choices(connection, most=MOST["pages"])),
        }
    return Choices(**{name: tuple(row.key for row in found) for name, found in rows.items()})


def _replace(path: Path, text: str) -> None:
    """Under a name of its own first: two may write at once."""
    number, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(file.fileno(), 0o644)  # the DAG processor may be somebody else; keys are no secret
        os.replace(name, path)  # noqa: PTH105 - a name, not a Path
    except BaseException:
        with suppress(OSError):
            os.unlink(name)  # noqa: PTH108
        raise
