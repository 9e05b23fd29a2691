"""Labels and attributes from a CSV file: for people who are there; nobody is made by it."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, TextIO

from otn.consent.labels import LabelError, check_attribute, check_label, check_value
from otn.consent.pages import Page
from otn.consent.subscribers import SLICE_ROWS, ChangeFigures, apply, people_of
from otn.database import Engine, transaction
from otn.errors import UsageError

PSID_COLUMN = "psid"
LABEL_COLUMNS = ("label", "labels")
MOST_COLUMNS = 60
MOST_EXAMPLES = 20
LINE_LIMIT = 1024 * 1024  # characters; without a bound one endless line would fill the memory
_SPREADSHEET_NUMBER = re.compile(r"\d([.,]\d+)?E\+?\d+", re.ASCII | re.IGNORECASE)
_SEPARATORS = re.compile("[;|]")


class PeopleFileError(UsageError):
    """The file cannot be used. Correct it; what was taken from it already may be taken again."""


@dataclass
class FileFigures(ChangeFigures):
    """What became of a file's rows: rows = people + merged + everyone left out.

    ``people`` counts a person once in each slice of 5,000 rows.

    Args:
        rows: below the heading.
        left_out: rows that could not be used, by reason.
        merged: rows about a person who stands in the same slice already; they count together.
        examples: line and reason of the first rows that were left out.
    """

    rows: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    merged: int = 0
    examples: list[tuple[int, str]] = field(default_factory=list)

    def leave_out(self, line: int, reason: str) -> None:
        """Count a row that cannot be used."""
        self.left_out[reason] = self.left_out.get(reason, 0) + 1
        if len(self.examples) < MOST_EXAMPLES:
            self.examples.append((line, reason))


@dataclass(frozen=True)
class _Columns:
    psid: int
    labels: tuple[int, ...]
    attributes: Mapping[str, int]
    width: int


def import_file(
    engine: Engine,
    page: Page,
    stream: TextIO,
    *,
    dry_run: bool = False,
    on_rows: Callable[[int], None] | None = None,
) -> FileFigures:
    """Put labels and attributes on people as a CSV file names them; harmless to repeat.

    The heading names the columns: ``psid``; ``label`` or ``labels`` (several in a cell are separated by ``;`` or
    ``|``); every other column is an attribute. An empty cell changes nothing. Columns are separated by comma, semicolon
    or tab.

    Args:
        engine: the project's database.
        page: whose people.
        stream: text, opened with ``newline=""``.
        dry_run: count only.
        on_rows: called with the number of rows that were dealt with, slice by slice.

    Raises:
        PeopleFileError: the heading or the file as such cannot be used.
    """
    figures = FileFigures()
    lines = _read(stream)
    first = next(lines, None)
    if first is None:
        raise PeopleFileError("The file is empty. Its first line must name the columns: psid, label, …")
    columns = _columns(first[1])
    while some := list(islice(lines, SLICE_ROWS)):
        figures.rows += len(some)
        changes = _changes(some, columns, figures)
        with transaction(engine) as connection:
            found = people_of(connection, page.id, list(changes))
            for psid, (line, _) in changes.items():
                if psid not in found:
                    figures.leave_out(line, "unknown_person")
            figures.people += len(found)
            wanted = [{**changes[psid][1], "id": number} for psid, number in found.items()]
            apply(connection, wanted, figures, dry_run=dry_run)
        if on_rows:
            on_rows(len(some))
    return figures


def _read(stream: TextIO) -> Iterator[tuple[int, list[str]]]:
    """Lines that are not empty, with their numbers."""
    try:
        lines = _bounded(stream)
        head = next(lines, "")
        separator = max(",;\t", key=head.count)
        reader = csv.reader(chain([head.removeprefix("\ufeff")], lines), delimiter=separator, strict=True)
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, cells
    except UnicodeDecodeError:
        raise PeopleFileError("The file is no UTF-8 text. Save it as CSV in UTF-8.") from None
    except csv.Error as error:
        raise PeopleFileError(f"The file cannot be read near line {reader.line_num}: {error}. Correct it.") from None


def _bounded(stream: TextIO) -> Iterator[str]:
    number = 0
    while line := stream.readline(LINE_LIMIT):
        number += 1
        if len(line) == LINE_LIMIT:
            raise PeopleFileError(f"Line {number} is longer than {LINE_LIMIT:,} characters. Correct it.")
        yield line


def _columns(heading: list[str]) -> _Columns:
    names = [name.strip() for name in heading]
    if len(names) > MOST_COLUMNS:
        raise PeopleFileError(f"The file has {len(names)} columns. Give {MOST_COLUMNS} at most.")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise PeopleFileError(f"The column {twice[0]!r} stands there twice. Drop one.")
    if PSID_COLUMN not in names:
        raise PeopleFileError("The first line names no column 'psid'. It must name the columns: psid, label, …")
    attributes = {name: place for place, name in enumerate(names) if name not in {PSID_COLUMN, *LABEL_COLUMNS}}
    for name in attributes:
        try:
            check_attribute(name)
        except LabelError as error:
            raise PeopleFileError(f"{error} It is the heading of a column.") from None
    labels = tuple(place for place, name in enumerate(names) if name in LABEL_COLUMNS)
    if not labels and not attributes:
        raise PeopleFileError("The file has no column beside 'psid'. Add labels or attributes.")
    return _Columns(names.index(PSID_COLUMN), labels, attributes, len(names))


def _changes(
    lines: list[tuple[int, list[str]]], columns: _Columns, figures: FileFigures
) -> dict[str, tuple[int, dict[str, Any]]]:
    """What each person of a slice gets; a later row adds its labels, and its values win."""
    changes: dict[str, tuple[int, dict[str, Any]]] = {}
    for line, cells in lines:
        try:
            psid, change = _row(cells, columns)
        except _LeftOutError as reason:
            figures.leave_out(line, str(reason))
            continue
        if psid in changes:
            figures.merged += 1
            known = changes[psid][1]
            known["add"] = list(dict.fromkeys([*known["add"], *change["add"]]))
            known["set"].update(change["set"])
        else:
            changes[psid] = (line, change)
    return changes


class _LeftOutError(Exception):
    """A row that cannot be used; its text is the reason."""


def _row(cells: list[str], columns: _Columns) -> tuple[str, dict[str, Any]]:
    if len(cells) != columns.width:
        raise _LeftOutError("wrong_number_of_cells")
    psid = cells[columns.psid].strip()
    if not psid:
        raise _LeftOutError("no_psid")
    if _SPREADSHEET_NUMBER.fullmatch(psid):
        raise _LeftOutError("psid_rounded_by_a_spreadsheet")
    named = (name.strip() for place in columns.labels for name in _SEPARATORS.split(cells[place]))
    labels = [_checked(check_label, name, "label_not_usable") for name in named if name]
    cleaned = ((name, cells[place].strip()) for name, place in columns.attributes.items())
    values = {name: _checked(check_value, value, "value_not_usable") for name, value in cleaned if value}
    if not labels and not values:
        raise _LeftOutError("nothing_to_change")
    return psid, {"add": list(dict.fromkeys(labels)), "remove": [], "set": values, "unset": []}


def _checked(check: Callable[[object], str], text: str, reason: str) -> str:
    try:
        return check(text)
    except LabelError:
        raise _LeftOutError(reason) from None
