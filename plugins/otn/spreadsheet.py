"""CSV that a spreadsheet may open: no cell can be taken for a formula."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, TextIO

# What a spreadsheet takes for a formula: at the beginning, behind blanks that it drops, and behind what it may take for
# the end of a cell; some languages' spreadsheets read the wide forms too.
_FORMULA = re.compile(r"(^|[;,|\t\r\n])(?=[\s\x00'\"]*[=+\-@\uff1d\uff0b\uff0d\uff20])|^(?=[\t\r\n])")


class _Passed:
    """Takes a line of the csv module and hands it on."""

    def write(self, line: str) -> str:
        """The line that was written, which ``writerow`` gives back."""
        return line


def csv_lines(rows: Iterable[Mapping[str, Any]], names: Iterable[str]) -> Iterator[str]:
    """Lines of CSV, the heading first; each with its end.

    Args:
        rows: one dictionary a row.
        names: the columns, in order.
    """
    headings = list(names)
    writer = csv.writer(_Passed(), lineterminator="\n")
    yield writer.writerow(headings)
    for row in rows:
        yield writer.writerow([cell(row.get(name)) for name in headings])


def write_csv(stream: TextIO, rows: Iterable[Mapping[str, Any]], names: Iterable[str]) -> None:
    """Write CSV with a heading.

    Args:
        stream: where to.
        rows: one dictionary a row.
        names: the columns, in order.
    """
    stream.writelines(csv_lines(rows, names))


def cell(value: object) -> object:
    """A value as a spreadsheet may safely see it: a text that looks like a formula gets an apostrophe in front."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat()
    return _FORMULA.sub(r"\1'", value) if isinstance(value, str) else value
