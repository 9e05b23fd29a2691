"""Rows for other programs: CSV that a spreadsheet may open, or JSON lines."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, TextIO

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from otn.campaign.report import PSID
from otn.cli import screen
from otn.spreadsheet import cell, write_csv

__all__ = ["PSID", "cell", "watched", "without_psid", "write_csv", "write_jsonl"]


def without_psid(row: Mapping[str, Any]) -> dict[str, Any]:
    """The same row without what names the person."""
    return {name: value for name, value in row.items() if name != PSID}


def write_jsonl(stream: TextIO, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object a line."""
    for row in rows:
        values = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}
        stream.write(screen.escaped(json.dumps(values, ensure_ascii=False)) + "\n")


def watched(rows: Iterator[dict[str, Any]], total: int) -> Iterator[dict[str, Any]]:
    """The same rows, with a progress bar for people while they pass.

    Args:
        rows: what passes.
        total: how many are expected.
    """
    console = screen.err()
    hidden = not console.is_terminal or sys.stdout.isatty()  # rows on the same terminal would run through the bar
    bar = (TextColumn("writing rows"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*bar, console=console, transient=True, disable=hidden) as progress:
        task = progress.add_task("", total=total)
        for number, row in enumerate(rows, start=1):
            yield row
            if number % 1_000 == 0:
                progress.update(task, completed=number)
