"""Pages: which connection speaks for which Facebook page, and whether it may send."""

from __future__ import annotations

from typing import Annotated

import typer

from otn.cli import screen
from otn.cli.place import HomeOption, JsonOption, actor, database, settings
from otn.consent import pages
from otn.database import transaction
from otn.errors import OtnError
from otn.settings import page_settings, read_connection
from otn.watch.finding import Finding, Level
from otn.watch.page_check import PageCheck

COLOURS: dict[Level, str] = {"ok": "green", "warn": "yellow", "alarm": "red"}

PageArgument = Annotated[str, typer.Argument(metavar="CONN", help="Connection (or Facebook id) of the page.")]


class TokenRefusedError(OtnError):
    """The platform refuses the page's access token."""


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Facebook pages that the system sends for.", no_args_is_help=True)
    group.command("add")(add)
    group.command("list")(listing)
    group.command("halt")(halt)
    group.command("resume")(resume)
    app.add_typer(group, name="pages", rich_help_panel="Pages and topics")


def add(
    connection_id: Annotated[str, typer.Argument(metavar="CONN", help="Airflow connection of the page.")],
    name: Annotated[str | None, typer.Option(help="A name for people.", show_default=False)] = None,
    subscribe: Annotated[
        bool, typer.Option("--subscribe", help="Subscribe the app to the page's webhooks where fields are missing.")
    ] = False,
    unchecked: Annotated[bool, typer.Option("--unchecked", help="Do not ask the platform anything.")] = False,
    home: HomeOption = None,
) -> None:
    """Register a page, and tell what is still missing for it to work.

    The connection is read from AIRFLOW_CONN_<CONN>, in the environment or in .env.
    """
    environment = settings(home)
    page = page_settings(read_connection(connection_id, environment))
    findings: list[Finding] = []
    if not unchecked:
        with PageCheck(page) as check:
            findings = check.findings(subscribe=subscribe)
            if check.token_refused:
                raise TokenRefusedError(
                    f"{findings[0].sentence} {findings[0].advice} To register the page all the same, add --unchecked."
                )
    with database(home, environment) as engine, transaction(engine) as connection:
        registered = pages.register(connection, page, name)
    screen.say(f"Page {screen.plain(registered.page_id)} is registered with the connection {connection_id}.")
    for finding in findings:
        screen.out().print(f"{finding.sentence} {finding.advice}".strip(), style=COLOURS[finding.level])


def listing(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the registered pages, and which of them are halted."""
    with database(home) as engine, transaction(engine) as connection:
        found = pages.listing(connection)
    if as_json:
        rows = [
            {
                "page_id": one.page_id,
                "connection": one.connection_id,
                "name": one.name,
                "halt_reason": one.halt_reason,
                "halted_at": one.halted_at,
                "needs_resume": one.halt_held,
                "blocked_at": one.blocked_at,
            }
            for one in found
        ]
        screen.print_json(rows)
        return
    if not found:
        screen.say("No page yet. Register one by `./otn pages add CONN`.")
        return
    rows_shown = ((one.connection_id, one.page_id, one.name, one.halted_at, one.halt_reason) for one in found)
    screen.print_table(("connection", "page id", "name", "halted", "because"), rows_shown)


def halt(
    page: PageArgument,
    reason: Annotated[str, typer.Option("--reason", help="Why; whoever finds the page halted reads it.")],
    home: HomeOption = None,
) -> None:
    """Stop all sending and asking for a page until somebody resumes it; calls under way end."""
    with database(home) as engine, transaction(engine) as connection:
        found = pages.find(connection, page)
        pages.halt(connection, found, reason=reason, actor=actor())
    screen.say(f"Nothing is sent for {found.connection_id} until `./otn pages resume {found.connection_id}`.")


def resume(
    page: PageArgument,
    because: Annotated[
        str | None,
        typer.Option("--because", help="Why a page may send that the platform has not unblocked.", show_default=False),
    ] = None,
    home: HomeOption = None,
) -> None:
    """Agree that a halted page may send and ask again."""
    with database(home) as engine, transaction(engine) as connection:
        found = pages.find(connection, page)
        waiting = pages.resume(connection, found, actor=actor(), because=because)
    if not found.halted:
        screen.say(f"{found.connection_id} was not halted.")
        return
    screen.say(f"{found.connection_id} may send again.")
    if waiting:
        screen.say(f"Trigger again what should go on: {', '.join(map(screen.plain, waiting))}.")
