"""Topics: what a page asks about."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from otn.cli import screen
from otn.cli.place import HomeOption, JsonOption, PageOption, database, page_named
from otn.consent import topics
from otn.database import transaction


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="What people can opt in to.", no_args_is_help=True)
    group.command("add")(add)
    group.command("list")(listing)
    app.add_typer(group, name="topics", rich_help_panel="Pages and topics")


def add(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Name of the topic in campaigns.")],
    title: Annotated[str, typer.Option(metavar="T", help="What people read above Notify Me, 65 characters at most.")],
    payload: Annotated[
        str | None, typer.Option(metavar="P", help="What an opt-in carries back.", show_default="KEY")
    ] = None,
    page: PageOption = None,
    home: HomeOption = None,
) -> None:
    """Register a topic. Opt-ins that arrived under its payload before belong to it.

    The same again changes nothing; another title replaces the old one.
    """
    with database(home) as engine:
        owner = page_named(engine, page)
        with transaction(engine) as connection:
            topic = topics.add(connection, owner, key, title, payload)
            held = next((one for one in topics.listing(connection, owner) if one.id == topic.id), None)
    people = f", {held.people:,} people have opted in" if held and held.people else ""
    screen.say(f"Topic {screen.plain(topic.key)} of page {screen.plain(owner.connection_id)}{people}.")


def listing(page: PageOption = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List topics of all pages, or of one, with what became of their opt-ins.

    A topic without a title was met in opt-ins and is not registered yet.
    """
    with database(home) as engine:
        owner = page_named(engine, page) if page else None
        with transaction(engine) as connection:
            found = topics.listing(connection, owner)
    if as_json:
        screen.print_json([asdict(one) | {"registered": one.registered} for one in found])
        return
    if not found:
        screen.say("No topic yet. Register one by `./otn topics add KEY --title TITLE`.")
        return
    numbers = ("opt_ins", "people", "unspent", "expiring", "reserved", "spent", "expired")
    columns = ("page", "key", "title", "payload", *numbers)
    rows = (asdict(one) | {"title": one.title or "(not registered)"} for one in found)
    screen.print_table(columns, ([row[column] for column in columns] for row in rows), right=numbers)
