"""Landed files, for people: how each is, and what is to become of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from otn.database import Engine, PsycopgConnection, queries, transaction
from otn.errors import UsageError

LIST_ROWS = 200


class UnknownFileError(UsageError):
    """No such file has landed. `./otn landing list` shows numbers and names."""


def listing(engine: Engine, state: str | None = None, most: int = LIST_ROWS) -> list[dict[str, Any]]:
    """Files, newest first.

    Args:
        engine: the project's database.
        state: in this state; None: all.
        most: so many at most.
    """
    with transaction(engine) as conn:
        return [row._asdict() for row in queries("landing").list_files(conn, state=state, most=most)]


def landings(engine: Engine) -> list[dict[str, Any]]:
    """URLs, and how many files below each are in which state."""
    with transaction(engine) as conn:
        return [row._asdict() for row in queries("landing").list_landings(conn)]


def refusals(engine: Engine, name: str) -> list[tuple[int, str]]:
    """Number and reason of the lines of a file that were left out; of very many the first.

    Args:
        engine: the project's database.
        name: its name, or its number.

    Raises:
        UnknownFileError: there is no such file.
        UsageError: there are several of that name.
    """
    with transaction(engine) as conn:
        ids = _found(conn, [name])
        if len(ids) > 1:
            raise UsageError(f"Several files are called so. Give the number of one: {', '.join(map(str, ids))}.")
        return [(row.line, row.reason) for row in queries("landing").refusals(conn, id=ids[0])]


def retry(engine: Engine, names: Sequence[str], *, actor: str) -> int:
    """Let files be taken again from their beginning at the next look; nothing comes in twice.

    Args:
        engine: the project's database.
        names: names or numbers; empty: all that are refused.
        actor: who says so, for the audit.

    Returns:
        Files.

    Raises:
        UnknownFileError: there is no such file.
    """
    with transaction(engine) as conn:
        ids = _found(conn, names) if names else _refused(conn)
        queries("landing").wait_again(conn, ids=ids)
        _audit(conn, actor, "landing retried", ids)
    return len(ids)


def dismiss(engine: Engine, names: Sequence[str], *, actor: str) -> int:
    """Leave refused files as they are; the alarm about them ends.

    Args:
        engine: the project's database.
        names: names or numbers; empty: all that are refused.
        actor: who says so, for the audit.

    Returns:
        Files.

    Raises:
        UnknownFileError: there is no such file.
    """
    with transaction(engine) as conn:
        ids = _found(conn, names) if names else _refused(conn)
        dismissed = [row.id for row in queries("landing").dismiss(conn, ids=ids)]
        _audit(conn, actor, "landing dismissed", dismissed)
    return len(dismissed)


def _refused(conn: PsycopgConnection) -> list[int]:
    return [row.id for row in queries("landing").refused_files(conn)]


def _found(conn: PsycopgConnection, names: Sequence[str]) -> list[int]:
    rows = list(queries("landing").find_files(conn, names=list(names)))
    known = {one for row in rows for one in (row.name, str(row.id))}
    missing = [name for name in names if name not in known]
    if missing:
        raise UnknownFileError(f"No file {missing[0]!r} has landed. `./otn landing list` shows numbers and names.")
    return [row.id for row in rows]


def _audit(conn: PsycopgConnection, actor: str, action: str, ids: Sequence[int]) -> None:
    if ids:
        queries("campaign").write_audit(
            conn, actor=actor, action=action, page_id=None, campaign_id=None, detail=json.dumps({"files": list(ids)})
        )
