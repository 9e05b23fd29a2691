"""Alarms: what otn_watch found wrong, since when, and what to do."""

from __future__ import annotations

from typing import Annotated

import typer

from otn.cli import screen
from otn.cli.place import HomeOption, JsonOption, database
from otn.watch import alarms


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="What is wrong, as otn_watch saw it last.", no_args_is_help=True)
    group.command("list")(listing)
    app.add_typer(group, name="alarms", rich_help_panel="The system on this machine")


def listing(
    ended: Annotated[bool, typer.Option("--all", help="Those that ended too.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List alarms, the worst first. `./otn doctor` looks anew instead."""
    with database(home) as engine:
        found = alarms.listing(engine, ended=ended)
    if as_json:
        screen.print_json(found)
        return
    if not found:
        screen.say("No alarm.")
    for one in found:
        level = "ended" if one["ended_at"] else one["level"]
        place = f"page {one['page']}" if one["page"] else "installation"
        head = f"{level} · {place} · {one['kind']} · since {screen.plain(one['since'])}"
        screen.out().print(
            f"{head}: {screen.plain(one['sentence'])}", style={"alarm": "red", "warn": "yellow"}.get(level)
        )
        if one["advice"] and not one["ended_at"]:
            screen.out().print(f"  {screen.plain(one['advice'])}")
