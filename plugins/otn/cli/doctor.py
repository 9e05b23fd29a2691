"""Doctor: everything that must be right, looked at once, each with what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

import typer

from otn.cli import screen
from otn.cli.examination import Check, Examination, Level
from otn.cli.place import HomeOption, JsonOption

MOST_WELL = 3  # lines of one subject that say that all is well
MARKS: dict[Level, str] = {"green": "✓", "yellow": "!", "red": "✗"}


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor", rich_help_panel="The system on this machine")(doctor)


def worst(levels: set[Level]) -> Level:
    """Red before yellow before green."""
    return "red" if "red" in levels else "yellow" if "yellow" in levels else "green"


def folded(checks: Sequence[Check]) -> list[Check]:
    """What is well about a page in one line: people read this for the rest."""
    well = Counter(check.subject for check in checks if check.level == "green")
    shown: list[Check] = []
    for check in checks:
        if check.level != "green" or well[check.subject] <= MOST_WELL:
            shown.append(check)
        elif check.subject not in {one.subject for one in shown if one.level == "green"}:
            shown.append(Check(check.subject, "green", f"{well[check.subject]} checks are well."))
    return shown


def doctor(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Look at everything that must be right: green is well, yellow needs a look, red must be repaired.

    The exit code is 1 when anything is red.
    """
    with screen.Stages() as stages:
        checks = Examination(home, stages).run()
    level = worst({check.level for check in checks})
    if as_json:
        screen.print_json({"level": level, "checks": [asdict(check) for check in checks]})
    else:
        console = screen.out()
        for check in folded(checks):
            console.print(f"{MARKS[check.level]} {check.subject}: {screen.plain(check.text)}", style=check.level)
            if check.advice:
                console.print(f"  {screen.plain(check.advice)}")
    raise typer.Exit(1 if level == "red" else 0)
