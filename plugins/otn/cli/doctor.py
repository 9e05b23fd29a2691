"""Doctor: everything that must be right, looked at once, each with what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from otn.cli import screen
from otn.cli.examination import Check, Level, examine
from otn.cli.examination.check import GROUPS
from otn.cli.place import HomeOption, JsonOption

MOST_WELL = 3  # lines of one group that say that all is well
MARKS: dict[Level, str] = {"red": "✗", "yellow": "!", "green": "✓", "unseen": "·"}
STYLES: dict[Level, str] = {"red": "red", "yellow": "yellow", "green": "green", "unseen": "dim"}
WORDS: dict[Level, str] = {"red": "red", "yellow": "yellow", "green": "green", "unseen": "not seen from here"}


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor", rich_help_panel="The system on this machine")(doctor)


def worst(levels: Iterable[Level]) -> Level:
    """Red before yellow before green; what cannot be seen says nothing."""
    found = set(levels)
    return "red" if "red" in found else "yellow" if "yellow" in found else "green"


def folded(checks: Sequence[Check], *, everything: bool = False) -> list[tuple[str, Level, str, str]]:
    """Lines of one group as title, level, text and advice; what is well in one line: people read this for the rest."""
    lines = [(one.title, one.level, one.text, one.advice) for one in checks if everything or one.level != "green"]
    well = [one for one in checks if one.level == "green"]
    if everything:
        return lines
    if len(well) <= MOST_WELL:
        return [*((one.title, one.level, one.text, "") for one in well), *lines]
    return [*_summaries(well), *lines]


def _summaries(well: Sequence[Check]) -> Iterator[tuple[str, Level, str, str]]:
    """One line for a group; of pages, one for each."""
    by_name: dict[str, list[Check]] = {}
    for one in well:
        by_name.setdefault(f"page {one.subject}" if one.id.startswith("page.") else "", []).append(one)
    for name, checks in by_name.items():
        if len(checks) == 1:
            yield checks[0].title, "green", checks[0].text, ""
        else:
            yield name, "green", f"{len(checks)} checks are well.", ""


def doctor(
    home: HomeOption = None,
    as_json: JsonOption = False,
    everything: Annotated[bool, typer.Option("--all", help="Show each check that is well, too.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 for yellow, too.")] = False,
) -> None:
    """Look at everything that must be right: green is well, yellow needs a look, red must be repaired.

    The exit code is 1 when anything is red. Nothing is changed.
    """
    with screen.Stages() as stages:
        checks = examine(home, stages)
    level = worst(check.level for check in checks)
    if as_json:
        screen.print_json({"level": level, "checks": [asdict(check) for check in checks]})
    else:
        _show(screen.out(), checks, everything=everything)
    raise typer.Exit(1 if level == "red" or (strict and level == "yellow") else 0)


def _show(console: Console, checks: Sequence[Check], *, everything: bool) -> None:
    for group in dict.fromkeys(GROUPS.values()):
        here = [one for one in checks if one.group == group]
        if not here:
            continue
        console.print(group, style="bold")
        for title, level, text, advice in folded(here, everything=everything):
            words = f"{title}: {text}" if title else text
            console.print(f"  {MARKS[level]} {screen.plain(words)}", style=STYLES[level])
            if advice:
                console.print(f"      {screen.plain(advice)}")
    counts = Counter(one.level for one in checks)
    console.print(", ".join(f"{counts[level]} {WORDS[level]}" for level in MARKS if counts[level]) + ".")
