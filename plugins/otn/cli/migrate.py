"""Bring the database to the tables of this version."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from otn.cli import screen, system
from otn.cli.place import HomeOption, JsonOption, away, database_of, settings
from otn.database import migrating
from otn.database.migrating import Plan
from otn.errors import OtnError, UsageError


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("migrate", rich_help_panel=system.PANEL)(migrate)


def migrate(
    home: HomeOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would run; change nothing.")] = False,
    as_sql: Annotated[
        bool, typer.Option("--sql", help="Print the SQL that would run, for psql; change nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Bring the database to the tables of this version; harmless to repeat, and while senders are at work.

    Takes no step back. Back up first (docs/upgrading.md).
    """
    if as_sql and (dry_run or as_json):
        raise UsageError("--sql stands alone. Leave --dry-run and --json out.")
    url = database_of(settings(home), home)
    before = _plan(url, home)
    if as_sql:
        sys.stdout.write(migrating.script(before))
        return
    if not dry_run:
        with screen.Stages() as stages:
            migrating.migrate(url, progress=stages.stage)
        system.apply_journals(settings(home))
    if as_json:
        screen.print_json(_facts(before))
        return
    for one in before.pending:
        screen.say(f"{one.version}  {one.subject}")
    screen.say(_sentence(before, dry_run=dry_run))


def _plan(url: str, home: Path | None) -> Plan:
    from sqlalchemy.exc import OperationalError

    try:
        return migrating.plan(url)
    except OperationalError:
        raise OtnError(away(home)) from None


def _facts(before: Plan) -> dict[str, object]:
    steps = [{"version": one.version, "subject": one.subject} for one in before.pending]
    return {"from": before.have, "to": _after(before), "migrations": steps}


def _after(before: Plan) -> str | None:
    return before.newest if before.pending else before.have


def _sentence(before: Plan, *, dry_run: bool) -> str:
    if before.have is not None and before.have > before.newest:
        return f"Schema {before.have}, newer than this code ({before.newest}), which may run on it all the same."
    if not before.pending:
        return f"Schema {before.have}."
    would = "Would go from" if dry_run else "Schema"
    return f"{would} {before.have or 'none'} -> {before.newest}."
