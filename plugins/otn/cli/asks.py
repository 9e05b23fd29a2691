"""Asks: who was asked for consent, and what became of it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from otn.asking import ask
from otn.cli import screen
from otn.cli.place import HomeOption, JsonOption, PageOption, database, page_named


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="What became of asking for consent (the DAG otn_ask).", no_args_is_help=True)
    group.command("list")(listing)
    group.command("report")(report)
    app.add_typer(group, name="asks", rich_help_panel="Pages and topics")


def listing(page: PageOption = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List asks of all pages, or of one, newest first."""
    with database(home) as engine:
        owner = page_named(engine, page) if page else None
        found = ask.listing(engine, owner.id if owner else None)
    if as_json:
        screen.print_json(found)
        return
    if not found:
        screen.say("Nobody was asked yet. Trigger the DAG otn_ask with a topic.")
        return
    numbers = ("asked", "sent", "tapped")
    columns = ("page", "key", "topic", "ref", "created_at", *numbers)
    screen.print_table(columns, ([row[column] for column in columns] for row in found), right=numbers)


def report(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Key of the ask: the id of the run.")],
    page: PageOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the figures of an ask."""
    with database(home) as engine:
        figures = ask.report(engine, ask.find(engine, page_named(engine, page).id, key))
    if as_json:
        screen.print_json(figures)
        return
    _show(figures)


def _show(figures: dict[str, Any]) -> None:
    what = " ".join(str(figures[name]) for name in ("topic", "ref") if figures[name])
    screen.out().print(screen.plain(f"{what}  {figures['page']}  {figures['ask']}"), style="bold")
    skipped, excluded = figures["skipped"], figures["excluded"]
    rows = [
        ("not asked", sum(excluded.values()), screen.mapping(excluded)),
        ("asked", figures["asked"], ""),
        ("  waiting", figures["waiting"], ""),
        ("  sending", figures["sending"], ""),
        ("  sent", figures["sent"], ""),
        ("  refused", figures["refused"], screen.mapping(figures["errors"])),
        ("  unknown", figures["unknown"], "never sent again; an echo or the tap tells" if figures["unknown"] else ""),
        ("  skipped", sum(skipped.values()), screen.mapping(skipped)),
        ("tapped", figures["tapped"], ""),
    ]
    screen.print_table(("", "people", ""), ((name, f"{count:,}", why) for name, count, why in rows), right=["people"])
    if figures["gate_reason"]:
        screen.say(f"Region and feature were not heeded: {screen.plain(figures['gate_reason'])}")
    if figures["waiting"] and figures["halt_reason"]:
        screen.out().print(screen.plain(f"The page is halted: {figures['halt_reason']}"), style="yellow")
