"""Deployment in containers: the file of secrets, what runs before the start, and a health check."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from otn.cli import screen, system
from otn.cli.place import settings
from otn.local.deployment import Deployment, responder_speaks
from otn.local.env_file import write_env
from otn.local.home import Home
from otn.settings import ROOT


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Run in containers, by docker-compose.yaml or Kubernetes.", no_args_is_help=True)
    group.command("env")(env)
    group.command("init")(init)
    group.command("alive")(alive)
    app.add_typer(group, name="deploy", rich_help_panel=system.PANEL)


def env(
    file: Annotated[Path, typer.Option("--file", help="The file.", show_default=".env")] = ROOT / ".env",
    force: Annotated[
        bool, typer.Option("--force", help="Begin with fresh secrets; the old file is kept beside it.")
    ] = False,
    keys_of: Annotated[
        Path | None,
        typer.Option("--keys-of", metavar="DIR", help="Take the keys of this home, whose data move here."),
    ] = None,
) -> None:
    """Write the secrets that docker-compose.yaml needs; what the file has already stays as it is."""
    written = write_env(file, anew=force, keys_of=Home.at(keys_of) if keys_of else None)
    if written.kept_aside:
        screen.warn(
            f"The old file is {written.kept_aside}. A database that was written with its keys needs them, and a"
            " Postgres that was made with its passwords keeps those."
        )
    if not written.added:
        screen.say(f"{file} has everything already; nothing was changed.")
        return
    screen.say(f"{file}: {len(written.added)} values were added, for its owner's eyes only (mode 0600).")
    screen.say("Back it up, apart from the database: DEPLOY_ENCRYPTION_KEYS and DEPLOY_HASH_KEY open the opt-ins.")
    screen.say("Put the page's connection into it, then run: docker compose up --detach --build --wait")


def init() -> None:
    """Make databases, tables, pools, the first user and the default page, each where missing; harmless to repeat.

    Works on the environment alone, as a container has it.
    """
    environment = settings(None)
    with screen.Stages() as stages:
        Deployment(environment, stages).prepare()
    system.prepare(environment)
    screen.say("Everything is prepared.")


def alive() -> None:
    """Tell by the exit code whether the responder of this machine is at work."""
    well = responder_speaks(settings(None))
    screen.say("The responder is at work." if well else "No responder of this machine has asked anything lately.")
    raise typer.Exit(0 if well else 1)
