"""What people and programs get to see: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from types import TracebackType
from typing import Any, Self, TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

_OBEYED = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
PIPED_WIDTH = 200  # columns where nobody looks: lines are not broken for a program


class _Console(Console):
    """Takes titles, keys and names, which come from outside, for nothing but text: neither markup nor commands."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Every text that is printed passes here, the cells of tables too."""
        return super().render_str(harmless(text), **options)


def _console(stream: TextIO) -> Console:
    width = None if stream.isatty() else PIPED_WIDTH
    return _Console(file=stream, width=width, markup=False, highlight=False, emoji=False, soft_wrap=not stream.isatty())


def out() -> Console:
    """Results, for people."""
    return _console(sys.stdout)


def err() -> Console:
    """Progress, remarks and errors."""
    return _console(sys.stderr)


def harmless(text: str) -> str:
    """A text of several lines that moves no cursor, colours nothing and does not turn itself around."""
    return "".join(char if char.isprintable() or char in "\n\t" else "\N{REPLACEMENT CHARACTER}" for char in text)


def plain(value: object) -> str:
    """A text that a terminal takes for nothing but text: control characters become visible."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in str(value))


def say(text: str) -> None:
    """One line of a result."""
    out().print(text)


def warn(text: str) -> None:
    """A remark that is no result."""
    err().print(text, style="yellow")


def print_json(value: object) -> None:
    """One JSON document on stdout and nothing else."""
    sys.stdout.write(escaped(json.dumps(value, indent=2, default=_json, ensure_ascii=False)) + "\n")


def escaped(document: str) -> str:
    """The same JSON in which no character is left that a terminal would obey; JSON itself escapes only the oldest."""
    return _OBEYED.sub(lambda match: f"\\u{ord(match[0]):04x}", document)


def _json(value: object) -> object:
    if isinstance(value, date):
        return value.isoformat()
    return str(value)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], right: Iterable[str] = ()) -> None:
    """A table, its numbers to the right; where a terminal is too narrow for its words, a block for each row.

    Args:
        columns: headings; where all are empty, none is shown.
        rows: cells; control characters in them are made harmless.
        right: headings of columns with numbers.
    """
    console, numbers = out(), set(right)
    cells = [tuple(map(plain, row)) for row in rows]
    widths = [max(map(_longest_word, texts)) for texts in zip(columns, *cells, strict=True)]
    if all(columns) and sum(widths) + 2 * (len(widths) - 1) > console.width:
        _print_blocks(console, columns, cells)
        return
    table = Table(box=None, pad_edge=False, header_style="bold", show_header=any(columns))
    for column, width in zip(columns, widths, strict=True):
        fits = min(width, console.width // 2)
        table.add_column(column, justify="right" if column in numbers else "left", overflow="fold", min_width=fits)
    for row in cells:
        table.add_row(*row)
    console.print(table)


def _longest_word(text: str) -> int:
    return max(map(cell_len, text.split()), default=0)


def _print_blocks(console: Console, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    width = max(map(cell_len, columns))
    for place, row in enumerate(rows):
        block = Table(box=None, pad_edge=False, show_header=False)
        block.add_column(style="bold", no_wrap=True, min_width=width)
        block.add_column(overflow="fold")
        for name, text in zip(columns, row, strict=True):
            if text:
                block.add_row(name, text)
        if place:
            console.print()
        console.print(block)


class Stages:
    """How a start or stop goes on: a spinner for people, lines for a log."""

    def __init__(self) -> None:
        self._console = err()
        self._status: Status | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._status = self._console.status("")
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status:
            self._status.stop()

    def stage(self, name: str) -> None:
        """Another stage begins."""
        if self._status:
            self._status.update(f"{name} …")
        else:
            self._console.print(f"{name} …")

    def note(self, text: str) -> None:
        """A sentence that the operator should read."""
        self._console.print(text, style="yellow")


def mapping(figures: dict[str, Any]) -> str:
    """``reason: 3, other: 1``."""
    return ", ".join(f"{plain(name)}: {count:,}" for name, count in figures.items())
