"""Outgoing: systems that results go to, and what each has still to get."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from otn.cli import screen
from otn.cli.place import HomeOption, JsonOption, PageOption, actor, database, page_named, settings
from otn.crypto import read_keyring
from otn.errors import UsageError
from otn.outgoing import endpoints
from otn.outgoing.address import may_be_private

KeyArgument = Annotated[str, typer.Argument(metavar="KEY", help="Name of the endpoint.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Systems that results go to, by signed webhooks.", no_args_is_help=True)
    group.command("add")(add)
    group.command("list")(listing)
    group.command("remove")(remove)
    group.command("rotate")(rotate)
    group.command("enable")(enable)
    group.command("test")(try_out)
    group.command("replay")(replay)
    app.add_typer(group, name="outgoing", rich_help_panel="Pages and topics")


def add(
    key: KeyArgument,
    url: Annotated[str, typer.Argument(metavar="URL", help="Address that results are posted to: https.")],
    event: Annotated[
        list[str] | None,
        typer.Option("--event", metavar="E", help=f"Of {', '.join(endpoints.KINDS)}.", show_default="all"),
    ] = None,
    page: PageOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send the results of a page to a system from now on. Prints the secret that signs them, this once."""
    environment = settings(home)
    with database(home, environment) as engine:
        owner = page_named(engine, page)
        added = endpoints.add(
            engine,
            read_keyring(environment),
            owner,
            key,
            url,
            actor=actor(),
            private=may_be_private(environment),
            kinds=event or endpoints.KINDS,
        )
    if as_json:
        screen.print_json({"key": key, "page": owner.connection_id, "secret": added.secret})
        return
    screen.say(f"Results of {screen.plain(owner.connection_id)} go to {screen.plain(key)} from now on. Its secret:")
    screen.say(added.secret)
    screen.warn("It is not shown again. docs/outgoing.md says how a system checks the signature.")


def listing(page: PageOption = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List endpoints: how each is, and how much waits for it."""
    with database(home) as engine:
        owner = page_named(engine, page) if page else None
        found = endpoints.listing(engine, owner)
    if as_json:
        screen.print_json(found)
        return
    if not found:
        screen.say("Results go nowhere. Name a system by `./otn outgoing add KEY URL`.")
        return
    columns = ("page", "name", "address", "state", "delivered", "waiting", "last")
    rows = (
        (one["page"], one["key"], one["url"], _state(one), one["delivered"], one["waiting"], one["delivered_at"])
        for one in found
    )
    screen.print_table(columns, rows, right=("delivered", "waiting"))


def _state(one: dict[str, object]) -> str:
    missed = f", {one['missed']} missed" if one["missed"] else ""
    if one["disabled_at"]:
        return f"given up on ({one['error']}){missed}"
    if one["tries"]:
        return f"failing ({one['error']}), next {screen.plain(one['due_at'])}{missed}"
    return f"well{missed}"


def remove(key: KeyArgument, page: PageOption = None, home: HomeOption = None) -> None:
    """Send a system nothing any more; what waits for it is dropped."""
    with database(home) as engine:
        endpoints.remove(engine, page_named(engine, page), key, actor=actor())
    screen.say(f"Nothing goes to {screen.plain(key)} any more.")


def rotate(
    key: KeyArgument,
    hours: Annotated[int, typer.Option(min=0, max=24 * 30, help="So long the old secret signs too.")] = (
        endpoints.ROTATION_HOURS
    ),
    page: PageOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a system a new secret and print it, this once; both sign for a while."""
    environment = settings(home)
    with database(home, environment) as engine:
        owner = page_named(engine, page)
        added = endpoints.rotate(engine, read_keyring(environment), owner, key, actor=actor(), hours=hours)
    if as_json:
        screen.print_json({"key": key, "page": owner.connection_id, "secret": added.secret, "both_for_hours": hours})
        return
    screen.say(f"The new secret of {screen.plain(key)}; the old one signs too for {hours} hours:")
    screen.say(added.secret)


def enable(key: KeyArgument, page: PageOption = None, home: HomeOption = None) -> None:
    """Try a system again that was given up on; what is kept goes to it in order."""
    with database(home) as engine:
        endpoints.enable(engine, page_named(engine, page), key, actor=actor())
    screen.say(f"The next otn_deliver tries {screen.plain(key)} again.")


def try_out(key: KeyArgument, page: PageOption = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Send a system an event of the type `test`, from this machine. Exits with 1 where it does not take it."""
    environment = settings(home)
    with database(home, environment) as engine:
        owner = page_named(engine, page)
        private = may_be_private(environment)
        outcome = endpoints.test(engine, read_keyring(environment), owner, key, private=private)
    if as_json:
        screen.print_json({"taken": outcome.error is None, **asdict(outcome)})
    elif outcome.error is None:
        screen.say(f"{screen.plain(key)} took it.")
    else:
        screen.say(f"{screen.plain(key)} did not take it: {outcome.error}. docs/outgoing.md says what that means.")
    if outcome.error is not None:
        raise typer.Exit(1)


def replay(
    key: KeyArgument,
    since: Annotated[str, typer.Option("--since", metavar="TIME", help="Such as 2026-11-20T14:00Z; UTC without zone.")],
    page: PageOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send a system everything since then once more, with the ids that it had; events are kept for 30 days."""
    moment = _moment(since)
    with database(home) as engine:
        events = endpoints.replay(engine, page_named(engine, page), key, moment, actor=actor())
    if as_json:
        screen.print_json({"key": key, "since": moment, "events": events})
    else:
        screen.say(f"Events that go to {screen.plain(key)} from the next minute on: {events}.")


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--since is {text!r}, and that is no time. Give one such as 2026-11-20T14:00Z.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
