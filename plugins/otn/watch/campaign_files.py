"""Campaign files that are gone while their campaigns are under way.

Airflow takes the DAG of such a file away and leaves its runs as they are: nothing of them is started any more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from otn.consent.pages import Page
from otn.database import PsycopgConnection, queries
from otn.watch.finding import Finding

KIND = "campaign_file"


def findings(conn: PsycopgConnection, pages: Sequence[Page], folder: Path) -> Iterator[Finding]:
    """Which campaigns wait for a file that is not there; nothing is changed.

    Args:
        conn: a connection in a transaction.
        pages: all that are registered.
        folder: of the campaign files.
    """
    rows = list(queries("watch").campaigns_of_files(conn))
    if rows and not folder.is_dir():
        text = (
            f"The folder of the campaign files, {folder}, is not there, and {len(rows)} campaigns of it are under way."
        )
        yield Finding(KIND, "alarm", text, "Bring the folder back, on the DAG processor and on every worker.")
        return  # whether a single file was taken away cannot be said
    there = "The folder of the campaign files is there." if rows else "No campaign of a file is under way."
    yield Finding(KIND, "ok", there)
    gone = [row for row in rows if not (folder / row.file).exists()]
    for row in gone:
        yield Finding(KIND, "alarm", _sentence(row), _advice(row), row.key, row.page_id)
    told = {row.page_id for row in gone}
    for page in pages:
        if page.id not in told:
            yield Finding(KIND, "ok", "Every campaign under way has its file.", page_id=page.id)


def _sentence(row: Any) -> str:
    if row.planned:
        return f"The campaign {row.key} is {row.state}, and its file {row.file} is gone: it is not finished."
    return f"The campaign {row.key} is {row.state}, and its file {row.file} is gone: it will not be sent."


def _advice(row: Any) -> str:
    give_up = f"Give it up by `./otn campaigns cancel {row.key} --page {row.page}`."
    if row.planned:
        go_on = "Put the file back (with a stop in the past if nothing new is to begin) and it goes on"
        return f"{go_on}; or run otn_retry with the scope waiting. {give_up}"
    return f"Put the file back and it goes on, by its if_late. {give_up}"


def is_gone(folder: Path, name: str) -> bool:
    """Whether a file was taken away; of a folder that is not there nothing is said.

    Args:
        folder: of the campaign files.
        name: of the file.
    """
    return folder.is_dir() and not (folder / name).exists()
