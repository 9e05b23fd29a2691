"""Subscribers: who they are, what they carry, and all that happened."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from otn.cli import people, screen
from otn.cli.export import without_psid
from otn.cli.people import (
    AttributeFilterOption,
    CampaignOption,
    LabelFilterOption,
    PsidArgument,
    PsidArguments,
    ResultOption,
)
from otn.cli.place import HomeOption, JsonOption, PageOption, database, page_named
from otn.consent import people_file, subscribers
from otn.consent.people_file import FileFigures, PeopleFileError
from otn.consent.subscribers import Change, ChangeFigures
from otn.database import Engine
from otn.errors import UsageError

DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Count only; write nothing.")]
MOST_LISTED = 10_000


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="People of a page: labels, attributes, and all that happened.", no_args_is_help=True)
    group.command("list")(listing)
    group.command("show")(show)
    group.command("label")(label)
    group.command("attribute")(attribute)
    group.command("import")(import_people)
    app.add_typer(group, name="subscribers", rich_help_panel="People")


def listing(
    labels: Annotated[list[str] | None, typer.Option("--label", metavar="LABEL", help="With this label.")] = None,
    attributes: Annotated[
        list[str] | None, typer.Option("--attribute", metavar="NAME=VALUE", help="With this attribute.")
    ] = None,
    after: Annotated[int, typer.Option(min=0, metavar="NUMBER", help="Go on behind this number.")] = 0,
    most: Annotated[int, typer.Option(min=1, max=MOST_LISTED, help="So many at most.")] = subscribers.LIST_ROWS,
    with_psid: Annotated[bool, typer.Option("--with-psid", help="Show what names people on Messenger.")] = False,
    page: PageOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List people of a page, in the order in which they were met.

    Where there are more, the last line says how to go on.
    """
    with database(home) as engine:
        owner = page_named(engine, page)
        wanted = people.chosen(engine, owner, labels, attributes, None, None)
        found = subscribers.listing(engine, owner, wanted, after=after, most=most)
    rows = found if with_psid else [without_psid(row) for row in found]
    following = found[-1]["subscriber_id"] if len(found) == most else None
    if as_json:
        screen.print_json({"subscribers": rows, "next": following})
        return
    if not rows:
        screen.say("Nobody.")
        return
    columns = tuple(rows[0])
    screen.print_table(columns, ([_cell(row[name]) for name in columns] for row in rows), right=["unspent"])
    if following:
        screen.warn(f"There may be more: --after {following}")


def show(psid: PsidArgument, page: PageOption = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show one person: profile, consents, campaigns, and the story of it all as one timeline."""
    name = people.one_psid(psid)
    with database(home) as engine:
        person = subscribers.show(engine, page_named(engine, page), name)
    if as_json:
        screen.print_json(person)
        return
    tables = ("consents", "campaigns", "suppressions", "timeline")
    facts = {key: value for key, value in person.items() if key not in {*tables, "window_messages"}}
    screen.print_table(("", ""), ((key, _cell(value)) for key, value in facts.items() if value not in (None, [], {})))
    _table("Consents", person["consents"], ("consent_id", "topic", "ref", "opted_in_at", "state", "spent_campaign"))
    _table("Campaigns", person["campaigns"], ("campaign", "state", "reason", "sent_at", "delivered_at", "read_at"))
    _table("Silence", person["suppressions"], ("reason", "topic", "since", "actor", "note"))
    _table("Timeline", person["timeline"], ("at", "what", "about", "ref", "detail"))


def _table(title: str, rows: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    if not rows:
        return
    screen.out().print(f"\n{title}", style="bold")
    screen.print_table(columns, ([row[name] for name in columns] for row in rows))


def label(  # noqa: PLR0913, PLR0917 - each is an option
    psids: PsidArguments = None,
    add: Annotated[list[str] | None, typer.Option("--add", metavar="LABEL", help="Put this label on.")] = None,
    remove: Annotated[list[str] | None, typer.Option("--remove", metavar="LABEL", help="Take it off.")] = None,
    label_filter: LabelFilterOption = None,
    attribute_filter: AttributeFilterOption = None,
    campaign: CampaignOption = None,
    result: ResultOption = None,
    dry_run: DryRunOption = False,
    page: PageOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put labels on people, or take them off: those named, or everyone whom the filters choose.

    Harmless to repeat. Nobody is made by it: who is not there is counted.
    """
    change = Change(add=tuple(add or ()), remove=tuple(remove or ()))
    with database(home) as engine:
        owner = page_named(engine, page)
        whom = people.chosen(engine, owner, label_filter, attribute_filter, campaign, result)
        _show_change(_changed(engine, owner, psids, whom, change, dry_run), dry_run, as_json)


def attribute(  # noqa: PLR0913, PLR0917 - each is an option
    psids: PsidArguments = None,
    put: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Give this attribute; it may be there.")
    ] = None,
    unset: Annotated[list[str] | None, typer.Option("--unset", metavar="NAME", help="Take it away.")] = None,
    label_filter: LabelFilterOption = None,
    attribute_filter: AttributeFilterOption = None,
    campaign: CampaignOption = None,
    result: ResultOption = None,
    dry_run: DryRunOption = False,
    page: PageOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give people attributes, which texts use as {{ name }} and campaigns filter by; or take them away."""
    change = Change(set=people.pairs(put), unset=tuple(unset or ()))
    with database(home) as engine:
        owner = page_named(engine, page)
        whom = people.chosen(engine, owner, label_filter, attribute_filter, campaign, result)
        _show_change(_changed(engine, owner, psids, whom, change, dry_run), dry_run, as_json)


def _changed(
    engine: Engine, page: Any, psids: list[str] | None, whom: Any, change: Change, dry_run: bool
) -> ChangeFigures:
    if bool(psids) == (whom is not None):
        raise UsageError("Name people by PSID, or choose them by filters: exactly one of the two.")
    if psids:
        return subscribers.change_named(engine, page, people.psids(psids), change, dry_run=dry_run)
    return subscribers.change_chosen(engine, page, whom, change, dry_run=dry_run)


def _show_change(figures: ChangeFigures, dry_run: bool, as_json: bool) -> None:
    if as_json:
        screen.print_json(asdict(figures) | {"unchanged": figures.unchanged, "dry_run": dry_run})
        return
    would = "would change" if dry_run else "changed"
    skipped = f"; left as they are: {screen.mapping(figures.skipped)}" if figures.skipped else ""
    screen.say(f"{figures.changed:,} of {figures.people:,} people {would}; {figures.unchanged:,} had it{skipped}.")


def import_people(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV in UTF-8; '-' is stdin.")],
    dry_run: DryRunOption = False,
    page: PageOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put labels and attributes on people as a CSV file names them; nobody is made by it.

    Columns: psid; label or labels (several separated by ';' or '|'); every other column is an attribute.
    An empty cell changes nothing. Harmless to repeat.
    """
    with database(home) as engine, _opened(file) as stream, _rows_bar() as on_rows:
        owner = page_named(engine, page)
        figures = people_file.import_file(engine, owner, stream, dry_run=dry_run, on_rows=on_rows)
    if as_json:
        examples = [{"line": line, "reason": reason} for line, reason in figures.examples]
        screen.print_json(asdict(figures) | {"examples": examples, "unchanged": figures.unchanged, "dry_run": dry_run})
        return
    _show_file(figures, dry_run)


def _show_file(figures: FileFigures, dry_run: bool) -> None:
    _show_change(figures, dry_run, as_json=False)
    left = sum(figures.left_out.values())
    merged = f", {figures.merged:,} merged with another of the same person" if figures.merged else ""
    screen.say(f"{figures.rows:,} rows, {left:,} left out{merged}.")
    if left:
        screen.print_table(("left out because", "rows"), figures.left_out.items(), right=["rows"])
        lines = ", ".join(f"line {line} ({reason})" for line, reason in figures.examples[:5])
        screen.warn(f"Among them {lines}.")


@contextmanager
def _opened(file: Path) -> Iterator[TextIO]:
    if str(file) == people.STDIN:
        yield sys.stdin
        return
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            yield stream
    except OSError as error:
        raise PeopleFileError(f"{file} cannot be read: {error.strerror}. Name another file.") from None


@contextmanager
def _rows_bar() -> Iterator[Any]:
    console = screen.err()
    bar = (TextColumn("{task.completed:,.0f} rows"), TimeElapsedColumn())
    with Progress(*bar, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)
        yield lambda rows: progress.update(task, advance=rows)


def _cell(value: object) -> object:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{name}={one}" for name, one in value.items())
    return value
