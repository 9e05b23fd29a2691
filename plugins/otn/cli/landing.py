"""Landing: files that others drop, how each is, and what is to become of it."""

from __future__ import annotations

import csv
import sys
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from otn.cli import screen
from otn.cli.imports import rejects_to
from otn.cli.place import HomeOption, JsonOption, PageOption, actor, database, page_named, settings
from otn.crypto import read_keyring
from otn.intake import landing_files
from otn.intake.landed import check_file

FileArguments = Annotated[
    list[str] | None, typer.Argument(metavar="[FILE]...", help="Names or numbers.", show_default="all that are refused")
]


class State(StrEnum):
    """Of a landed file."""

    WAITING = "waiting"
    TAKEN = "taken"
    REFUSED = "refused"
    DISMISSED = "dismissed"


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Files that others drop into OTN_LANDING_URL.", no_args_is_help=True)
    group.command("list")(listing)
    group.command("refusals")(refusals)
    group.command("retry")(retry)
    group.command("dismiss")(dismiss)
    group.command("check")(check)
    app.add_typer(group, name="landing", rich_help_panel="People")


def listing(
    state: Annotated[State | None, typer.Option(help="In this state.")] = None,
    most: Annotated[int, typer.Option(min=1, max=10_000, help="So many at most.")] = landing_files.LIST_ROWS,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List landed files, newest first: state, what became of their lines, and why not."""
    with database(home) as engine:
        places = landing_files.landings(engine)
        files = landing_files.listing(engine, state.value if state else None, most)
    if as_json:
        screen.print_json({"landings": places, "files": files})
        return
    if not places:
        screen.say("Nothing has landed. docs/landing.md says how to set OTN_LANDING_URL.")
        return
    for place in places:
        counts = {state.value: place[state.value] for state in State if place[state.value]}
        looked = screen.plain(place["looked_at"]) or "never"
        screen.say(f"{screen.plain(place['url'])} (looked at {looked}) {screen.mapping(counts)}")
        if place["error"]:
            screen.warn(f"It cannot be listed in full since {screen.plain(place['failed_at'])}: {place['error']}.")
    columns = ("id", "name", "state", "lines", "imported", "webhooks", "duplicate", "expired", "refused", "why")
    rows = ([*(one[name] for name in columns[:-1]), _why(one)] for one in files)
    if files:
        screen.print_table(columns, rows, right=columns[3:-1])


def _why(file: dict[str, object]) -> str:
    reasons = file["reasons"]
    parts = [str(file["error"] or ""), screen.mapping(reasons) if isinstance(reasons, dict) else ""]
    return "; ".join(part for part in parts if part)


def refusals(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Name or number.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print number and reason of each line that was left out, as CSV; of a file with very many the first 10,000."""
    with database(home) as engine:
        rows = landing_files.refusals(engine, file)
    if as_json:
        screen.print_json([{"line": line, "reason": reason} for line, reason in rows])
        return
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["line", "reason"])
    writer.writerows(rows)


def retry(files: FileArguments = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Let files be taken again from their beginning within a minute; nothing comes in twice."""
    with database(home) as engine:
        count = landing_files.retry(engine, files or (), actor=actor())
    _tell("retried", f"Files that the next otn_ingest takes again: {count}.", count, as_json)


def dismiss(files: FileArguments = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Leave refused files as they are: the alarm about them ends, until they change."""
    with database(home) as engine:
        count = landing_files.dismiss(engine, files or (), actor=actor())
    _tell("dismissed", f"Files that are left as they are: {count}.", count, as_json)


def _tell(name: str, sentence: str, count: int, as_json: bool) -> None:
    if as_json:
        screen.print_json({name: count})
    else:
        screen.say(sentence)


def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file on this machine, .gz too.")],
    rejects: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write number and reason of each line left out.")
    ] = None,
    page: PageOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Judge a file as if it had landed, in the folder of --page if that is given; writes nothing."""
    environment = settings(home)
    with database(home, environment) as engine, rejects_to(rejects, file) as reject:
        owner = page_named(engine, page) if page else None
        figures = check_file(engine, read_keyring(environment), file, owner, reject)
    if as_json:
        screen.print_json(asdict(figures))
        return
    rows = [(name, f"{count:,}") for name, count in asdict(figures).items() if isinstance(count, int)]
    rows += [(f"refused: {reason}", f"{count:,}") for reason, count in figures.refused.items()]
    screen.print_table(("", "lines"), rows, right=["lines"])
    screen.say("Nothing was written.")
