"""Pages: which connection speaks for which Facebook page."""

from __future__ import annotations

from typing import Annotated

import typer

from otn.cli import screen
from otn.cli.page_check import Finding, PageCheck
from otn.cli.place import HomeOption, JsonOption, database, settings
from otn.consent import pages
from otn.database import transaction
from otn.errors import OtnError
from otn.settings import page_settings, read_connection

COLOURS = {"green": "green", "yellow": "yellow", "red": "red"}


class TokenRefusedError(OtnError):
    """The platform refuses the page's access token."""


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Facebook pages that the system sends for.", no_args_is_help=True)
    group.command("add")(add)
    group.command("list")(listing)
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
                    f"{findings[0].text} {findings[0].advice} To register the page all the same, add --unchecked."
                )
    with database(home, environment) as engine, transaction(engine) as connection:
        registered = pages.register(connection, page, name)
    screen.say(f"Page {screen.plain(registered.page_id)} is registered with the connection {connection_id}.")
    for finding in findings:
        screen.out().print(f"{finding.text} {finding.advice}".strip(), style=COLOURS[finding.level])


def listing(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the registered pages."""
    with database(home) as engine, transaction(engine) as connection:
        found = pages.listing(connection)
    if as_json:
        rows = [
            {"page_id": one.page_id, "connection": one.connection_id, "name": one.name, "halt_reason": one.halt_reason}
            for one in found
        ]
        screen.print_json(rows)
        return
    if not found:
        screen.say("No page yet. Register one by `./otn pages add CONN`.")
        return
    rows_shown = ((one.connection_id, one.page_id, one.name, one.halt_reason) for one in found)
    screen.print_table(("connection", "page id", "name", "halted because"), rows_shown)
