"""Import: opt-ins collected elsewhere."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from otn.cli import screen
from otn.cli.place import HomeOption, JsonOption, PageOption, actor, database, page_named, settings
from otn.crypto import read_keyring
from otn.errors import UsageError
from otn.intake.import_lines import ImportFile
from otn.intake.importing import ImportResult, import_file


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("import", rich_help_panel="People")(import_optins)


def import_optins(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="CSV with a heading, or JSON lines (.jsonl): psid, token, payload, "
            "opted_in_at, source, and ref where there is one.",
        ),
    ],
    source: Annotated[
        str, typer.Option(metavar="S", help="Where the opt-ins come from; kept with each that does not say so itself.")
    ] = "file",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Judge every line, write nothing.")] = False,
    rejects: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write number and reason of each line left out.")
    ] = None,
    page: PageOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Import opt-ins that were collected elsewhere; run again, nothing comes in twice.

    A line without the time of its consent is refused, as is a person who was erased.
    """
    environment = settings(home)
    with database(home, environment) as engine, rejects_to(rejects, file) as reject:
        owner = page_named(engine, page)
        keyring = read_keyring(environment)
        looked_at = ImportFile.at(file, source)
        with _bar(looked_at.lines) as advance:
            result = import_file(
                engine,
                keyring,
                owner,
                looked_at,
                actor=actor(),
                dry_run=dry_run,
                on_refusal=reject,
                progress=advance,
            )
    if as_json:
        screen.print_json({"page": owner.connection_id, **asdict(result)})
        return
    _show(result)
    if result.refused and rejects is None:
        screen.warn("`--rejects FILE` names each line that was left out; docs/privacy.md says what the reasons mean.")


def _show(result: ImportResult) -> None:
    would = " (dry run: nothing was written)" if result.dry_run else ""
    refused = sum(result.refused.values())
    rows = [
        ("lines", result.lines, ""),
        ("imported", result.imported, ""),
        ("duplicate", result.duplicate, "known already"),
        ("expired", result.expired, "opted in more than a year ago"),
        ("refused", refused, screen.mapping(result.refused)),
    ]
    screen.print_table(("", "lines", ""), ((name, f"{count:,}", why) for name, count, why in rows), right=["lines"])
    screen.say(f"Source: {screen.plain(result.provenance)}{would}")


@contextmanager
def rejects_to(path: Path | None, file: Path) -> Iterator[Callable[[int, str], None] | None]:
    """Writes number and reason of lines left out, nothing of the line itself.

    Args:
        path: where to; None: nowhere.
        file: the one that is read.

    Raises:
        UsageError: it cannot be written there.
    """
    if path is None:
        yield None
        return
    try:
        if path.exists() and file.exists() and path.samefile(file):
            raise UsageError(f"--rejects would overwrite {file}, the file to import. Give it another name.")
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise UsageError(f"{path} cannot be written ({error.strerror}). Give another name to --rejects.") from None
    with os.fdopen(handle, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["line", "reason"])
        yield lambda line, reason: writer.writerow([line, reason])


@contextmanager
def _bar(total: int) -> Iterator[Callable[[int], None]]:
    console = screen.err()
    columns = (TextColumn("importing lines"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=total)
        yield lambda line: progress.update(task, completed=line)
