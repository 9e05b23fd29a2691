"""Sending: whether this database may, and the word of a person after it was restored or moved."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Annotated

import typer

from otn.cli import screen
from otn.cli.place import HomeOption, JsonOption, actor, database, settings
from otn.cli.system import sentence_of
from otn.crypto import read_keyring
from otn.database import Engine, transaction
from otn.epoch import confirming, guard
from otn.epoch.confirming import Confirmation
from otn.errors import UsageError
from otn.privacy.silences import Returned, apply_silences, count_behind

MOST_NAMED = 10


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Whether this database may send, and a restored one's way back.", no_args_is_help=True)
    group.command("show")(show)
    group.command("confirm")(confirm)
    app.add_typer(group, name="sending", rich_help_panel="Campaigns")


def show(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Tell whether this database may send, and why not. The exit code is 1 when it may not."""
    environment = settings(home)
    with database(home, environment) as engine, transaction(engine) as connection:
        state = guard.state(connection, environment)
    if as_json:
        values = {"may_send": not state.halted, "reason": state.halted, "doubt": state.doubt}
        file = str(state.file.path) if state.file else None
        screen.print_json(values | {"number": state.number, "file": file, "file_number": state.filed_number})
    elif state.halted:
        screen.say(f"Nothing is sent: {state.halted}")
        screen.say(guard.WAY_OUT)
    else:
        screen.say(f"This database may send. It knows of {state.number:,} claims.")
        if state.doubt:
            screen.warn(state.doubt)
    raise typer.Exit(1 if state.halted else 0)


def confirm(
    reason: Annotated[str, typer.Option(metavar="TEXT", help="What happened, for the audit; never a name.")],
    nothing_lost: Annotated[
        bool,
        typer.Option("--nothing-lost", help="It was moved, not restored: everything had been stopped, nobody is lost."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what it would do.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take this database for the true one after a restore or a move, so that it sends again.

    Whoever waits in it may have been called since the backup: people of campaigns are asked again with the same token,
    which the platform honours once; cards and answers are never sent again. Every other copy must be stopped for good.
    """
    environment = settings(home)
    with database(home, environment) as engine:
        found = confirming.look(engine, nothing_lost=nothing_lost, environ=environment)
        behind, returned = _behind(engine, environment), Returned()
        if not dry_run:
            if not yes:
                _ask(found)
            with screen.Stages() as stages:
                if environment.get("OTN_HASH_KEY"):
                    stages.stage("Bringing back who asked for silence")
                    returned = apply_silences(engine, read_keyring(environment), environment)
                stages.stage("Writing down who is in doubt")
                found = confirming.confirm(
                    engine, actor=actor(), reason=reason, nothing_lost=nothing_lost, environ=environment
                )
    if as_json:
        figures = asdict(found) | {"confirmed": not dry_run, "journal_lines": behind}
        screen.print_json(figures | {"silenced": returned.silenced, "lifted": returned.lifted})
    elif dry_run:
        screen.say(
            f"Silences, begun or lifted, that the journal tells of and this database does not know yet: {behind:,}."
        )
        _tell(found)
    else:
        screen.say("Confirmed: this database sends from now on.")
        screen.say(sentence_of(returned))
        _tell(found)


def _behind(engine: Engine, environment: Mapping[str, str]) -> int:
    return count_behind(engine, read_keyring(environment), environment) if environment.get("OTN_HASH_KEY") else 0


def _ask(found: Confirmation) -> None:
    if not sys.stdin.isatty():
        raise UsageError("Nobody can be asked here whether this database is the true one. Add --yes.")
    _tell(found, screen.warn)  # standard output is for the result
    typer.confirm("Is every other copy stopped for good, and this one to send?", abort=True, err=True)


def _tell(found: Confirmation, tell: Callable[[str], None] = screen.say) -> None:
    tell(f"Why nothing was sent: {found.reason}")
    if not found.lost:
        tell("Nothing was lost, so nobody is in doubt. Campaigns that were halted go on when they are triggered.")
        return
    if found.missing:
        tell(f"Claims with calls that this database does not know: {found.missing:,}.")
    tell(f"People of campaigns in doubt, to be asked again with their token: {found.recipients:,}.")
    tell(f"Cards and answers in doubt, never sent again: {found.messages:,}.")
    for what, campaigns in (
        ("Halted; trigger them again with the same key to go on", found.halted),
        ("Without recipients here. Cancel those that were sent since the backup", found.unplanned),
    ):
        if campaigns:
            tell(f"{what}: {_names(campaigns)}.")


def _names(campaigns: tuple[str, ...]) -> str:
    more = f" and {len(campaigns) - MOST_NAMED} more" if len(campaigns) > MOST_NAMED else ""
    return ", ".join(map(screen.plain, campaigns[:MOST_NAMED])) + more
