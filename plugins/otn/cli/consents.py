"""Consents: who agreed to what, and what became of it."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from otn.cli import export as writing
from otn.cli import people, screen
from otn.cli.campaigns import Format
from otn.cli.place import HomeOption, JsonOption, PageOption, database, page_named
from otn.consent import ledger, subscribers
from otn.consent.ledger import Wanted
from otn.database import Engine, transaction

PsidOption = Annotated[
    str | None,
    typer.Option("--psid", metavar="PSID", help="Of one person; '-' reads the PSID from stdin.", show_default=False),
]
TopicOption = Annotated[str | None, typer.Option("--topic", metavar="KEY", help="To one topic.", show_default=False)]
StateOption = Annotated[
    str | None, typer.Option("--state", metavar="STATE", help=f"{', '.join(ledger.STATES)}.", show_default=False)
]
WithPsidOption = Annotated[bool, typer.Option("--with-psid", help="Show what names people on Messenger.")]
COLUMNS = (
    *("consent_id", "subscriber_id", "page", "topic", "topic_title", "ref", "opted_in_at", "source", "card_id"),
    *("asked_by", "asked_at", "card_title", "expires_at", "state", "spent_campaign", "spent_at", "spent_state"),
)
SHOWN = (
    "consent_id",
    "subscriber_id",
    "topic",
    "ref",
    "opted_in_at",
    "expires_at",
    "source",
    "state",
    "spent_campaign",
)


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="The ledger: who agreed to what, and what became of it.", no_args_is_help=True)
    group.command("list")(listing)
    group.command("export")(export)
    app.add_typer(group, name="consents", rich_help_panel="People")


def listing(  # noqa: PLR0913, PLR0917 - each is an option
    psid: PsidOption = None,
    topic: TopicOption = None,
    state: StateOption = None,
    after: Annotated[int, typer.Option(min=0, metavar="NUMBER", help="Go on behind this number.")] = 0,
    most: Annotated[int, typer.Option(min=1, max=10_000, help="So many at most.")] = ledger.LIST_ROWS,
    with_psid: WithPsidOption = False,
    page: PageOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List consents in the order in which they came; of all pages, or of one.

    Where there are more, the last line says how to go on.
    """
    with database(home) as engine:
        found = ledger.listing(engine, _wanted(engine, page, psid, topic, state), after=after, most=most)
    rows = found if with_psid else [writing.without_psid(row) for row in found]
    following = found[-1]["consent_id"] if len(found) == most else None
    if as_json:
        screen.print_json({"consents": rows, "next": following})
        return
    if not rows:
        screen.say("No consent." if topic is None else "No consent. `./otn topics list` shows which topics there are.")
        return
    columns = (*SHOWN[:2], writing.PSID, *SHOWN[2:]) if with_psid else SHOWN
    screen.print_table(columns, ([row[name] for name in columns] for row in rows))
    if following:
        screen.warn(f"There may be more: --after {following}")


def export(
    psid: PsidOption = None,
    topic: TopicOption = None,
    state: StateOption = None,
    form: Annotated[Format, typer.Option("--format", help="How rows are written.")] = Format.CSV,
    with_psid: WithPsidOption = False,
    page: PageOption = None,
    home: HomeOption = None,
) -> None:
    """Write consents to stdout, all from one moment: as CSV that a spreadsheet may open, or as JSON lines."""
    with database(home) as engine:
        wanted = _wanted(engine, page, psid, topic, state)
        rows: Any = writing.watched(ledger.export(engine, wanted), total=ledger.count(engine, wanted))
        if not with_psid:
            rows = map(writing.without_psid, rows)
        if form is Format.CSV:
            names = (*COLUMNS[:2], writing.PSID, *COLUMNS[2:]) if with_psid else COLUMNS
            writing.write_csv(sys.stdout, rows, names)
        else:
            writing.write_jsonl(sys.stdout, rows)


def _wanted(engine: Engine, page: str | None, psid: str | None, topic: str | None, state: str | None) -> Wanted:
    owner = page_named(engine, page) if page or psid else None
    number = None
    if psid and owner:
        name = people.one_psid(psid)
        with transaction(engine) as connection:
            number = subscribers.find(connection, owner, name).subscriber_id
    return Wanted(page=owner.connection_id if owner else None, topic=topic, subscriber_id=number, state=state)
