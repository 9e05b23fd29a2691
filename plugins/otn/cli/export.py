"""Rows for other programs: CSV that a spreadsheet may open, or JSON lines."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, TextIO

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from otn.cli import screen

COLUMNS = (
    "subscriber_id",
    "state",
    "evidence",
    "message_id",
    "error_code",
    "error_subcode",
    "reason",
    "attempts",
    "unanswered",
    "chunk",
    "opted_in_at",
    "sent_at",
    "delivered_at",
    "read_at",
    "updated_at",
)
PSID = "psid"
# What a spreadsheet takes for a formula: at the beginning, behind blanks that it drops, and behind what it may take for
# the end of a cell; some languages' spreadsheets read the wide forms too.
_FORMULA = re.compile(r"(^|[;,|\t\r\n])(?=[\s\x00'\"]*[=+\-@\uff1d\uff0b\uff0d\uff20])|^(?=[\t\r\n])")


def columns(*, with_psid: bool) -> tuple[str, ...]:
    """Headings of an export; a campaign without recipients has them too."""
    return (COLUMNS[0], PSID, *COLUMNS[1:]) if with_psid else COLUMNS


def without_psid(row: Mapping[str, Any]) -> dict[str, Any]:
    """The same row without what names the person."""
    return {name: value for name, value in row.items() if name != PSID}


def write_csv(stream: TextIO, rows: Iterable[Mapping[str, Any]], names: Iterable[str]) -> None:
    """Write CSV with a heading; no cell can be taken for a formula.

    Args:
        stream: where to.
        rows: one dictionary a row.
        names: the columns, in order.
    """
    headings = list(names)
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(headings)
    for row in rows:
        writer.writerow([cell(row.get(name)) for name in headings])


def cell(value: object) -> object:
    """A value as a spreadsheet may safely see it: a text that looks like a formula gets an apostrophe in front."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat()
    return _FORMULA.sub(r"\1'", value) if isinstance(value, str) else value


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
