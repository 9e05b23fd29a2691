"""Topics: what a page asks about."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from otn.cli import screen, topic_files
from otn.cli.place import HomeOption, JsonOption, PageOption, actor, database, page_named, settings
from otn.consent import adoption, topics
from otn.consent.content import message_from
from otn.consent.silence import silence_journal
from otn.consent.titles import Finding, lint
from otn.consent.topics import TopicCounts
from otn.database import transaction

NUMBERS = ("opt_ins", "people", "unspent", "expiring", "reserved", "spent", "expired")
KeyArgument = Annotated[str, typer.Argument(metavar="KEY", help="Name of the topic in campaigns.")]
PayloadArgument = Annotated[str, typer.Argument(metavar="PAYLOAD", help="What the opt-ins carried back.")]
StrictOption = Annotated[
    bool, typer.Option("--strict", help="Exit with 1 where a title has words that Meta may object to.")
]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="What people can opt in to.", no_args_is_help=True)
    group.command("add")(add)
    group.command("list")(listing)
    group.command("show")(show)
    group.command("adopt")(adopt)
    group.command("release")(release)
    topic_files.add_to(group)
    app.add_typer(group, name="topics", rich_help_panel="Pages and topics")


def add(  # noqa: PLR0913, PLR0917 - each is an option of the command
    key: KeyArgument,
    title: Annotated[str, typer.Option(metavar="T", help="What people read above Notify Me, 65 characters at most.")],
    payload: Annotated[
        str | None, typer.Option(metavar="P", help="What an opt-in carries back.", show_default="KEY")
    ] = None,
    reply: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Thanks for an opt-in; empty: none any more.")
    ] = None,
    reply_message: Annotated[
        str | None, typer.Option(metavar="JSON", help="Thanks as a Send API message object.")
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="L", help="Put on whoever opts in; may be repeated; empty: none any more."),
    ] = None,
    strict: StrictOption = False,
    page: PageOption = None,
    home: HomeOption = None,
) -> None:
    """Register a topic. Opt-ins that arrived under its payload before belong to it.

    The same again changes nothing; another title, reply or other labels replace the old ones.
    """
    thanks = {} if reply == "" and reply_message is None else message_from(reply, reply_message)
    findings = lint(title)
    if strict and findings:
        warn_of_title(key, title, findings)
        screen.say("Nothing was registered: --strict.")
        raise typer.Exit(1)
    with database(home) as engine:
        owner = page_named(engine, page)
        with transaction(engine) as connection:
            labels = None if label is None else [one for one in label if one]
            topic = topics.add(connection, owner, key, title, payload, reply=thanks, labels=labels, actor=actor())
            held = next((one for one in topics.listing(connection, owner) if one.id == topic.id), None)
    people = f"; {held.people:,} people have opted in" if held and held.people else ""
    screen.say(f"Topic {screen.plain(topic.key)} of page {screen.plain(owner.connection_id)} is registered{people}.")
    warn_of_title(key, title, findings)


def warn_of_title(key: str, title: str | None, findings: Sequence[Finding]) -> None:
    """Say which words of a title Meta may object to, in one line."""
    if not findings:
        return
    words: dict[str, list[str]] = {}
    for finding in findings:
        words.setdefault(finding.why, []).append(repr(finding.word))
    said = "; ".join(f"{', '.join(found)} ({why})" for why, found in words.items())
    screen.warn(
        f"The title of {screen.plain(key)}, {screen.plain(title)!r}, says {said}."
        " Meta may take the feature from a page that does. Reword it unless it means something else."
    )


def listing(
    page: PageOption = None, home: HomeOption = None, as_json: JsonOption = False, strict: StrictOption = False
) -> None:
    """List topics of all pages, or of one, with what became of their opt-ins.

    A topic without a title was met in opt-ins and is not registered yet.
    """
    with database(home) as engine:
        owner = page_named(engine, page) if page else None
        with transaction(engine) as connection:
            found = topics.listing(connection, owner)
    alike = adoption.looks_like(found)
    marked = {one.id: lint(one.title) for one in found if one.title}
    if as_json:
        screen.print_json([_as_json(one, alike, marked) for one in found])
    elif not found:
        screen.say("No topic yet. Register one by `./otn topics add KEY --title TITLE`.")
    else:
        _print_table(found, marked)
        for one in found:
            warn_of_title(one.key, one.title, marked.get(one.id, ()))
        for one in found:
            if one.id in alike:
                screen.warn(_hint(one, alike[one.id]))
    if strict and any(marked.values()):
        raise typer.Exit(1)


def _as_json(one: TopicCounts, alike: dict[int, str], marked: dict[int, list[Finding]]) -> dict[str, Any]:
    words = [finding.word for finding in marked.get(one.id, ())]
    return asdict(one) | {"registered": one.registered, "looks_like": alike.get(one.id), "words_in_title": words}


def _print_table(found: Sequence[TopicCounts], marked: dict[int, list[Finding]]) -> None:
    def title(one: TopicCounts) -> str:
        if one.adopted_by is not None:
            return f"(adopted by {one.adopted_by})"
        return f"{one.title or '(not registered)'}{' (!)' if marked.get(one.id) else ''}"

    columns = ("page", "key", "title", "payload", *NUMBERS)
    rows = (asdict(one) | {"title": title(one)} for one in found)
    screen.print_table(columns, ([row[column] for column in columns] for row in rows), right=NUMBERS)


def _hint(one: TopicCounts, key: str) -> str:
    payload = one.payload if one.payload and one.payload.isprintable() else one.key
    return (
        f"{screen.plain(payload)!r} looks like {screen.plain(key)!r}. If it is: ./otn topics adopt"
        f" {quoted(payload)} {quoted(key)} --page {quoted(one.page)}"
    )


def quoted(word: str) -> str:
    """A word as a shell takes it."""
    return shlex.quote(screen.plain(word))


def show(key: KeyArgument, page: PageOption = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show one topic: its title, payload, reply, labels, and what became of its opt-ins."""
    with database(home) as engine:
        owner = page_named(engine, page)
        with transaction(engine) as connection:
            topic = topics.find(connection, owner, key)
            found = topics.listing(connection, owner)
    (counts,) = (one for one in found if one.id == topic.id)
    adopted = sorted(one.payload for one in found if one.adopted_by == topic.key)
    shown = _as_json(counts, adoption.looks_like(found), {topic.id: lint(topic.title or "")}) | {"adopts": adopted}
    if as_json:
        screen.print_json(shown)
        return
    told = ((name, _cell(value)) for name, value in shown.items() if name != "id" and value not in (None, []))
    screen.print_table(("", ""), told)
    warn_of_title(topic.key, topic.title, lint(topic.title or ""))


def _cell(value: object) -> object:
    if isinstance(value, dict):
        return value["text"] if value.keys() == {"text"} else value
    return ", ".join(map(str, value)) if isinstance(value, list) else value


def adopt(
    payload: PayloadArgument,
    key: Annotated[str, typer.Argument(metavar="KEY", help="The registered topic that they are meant for.")],
    page: PageOption = None,
    home: HomeOption = None,
) -> None:
    """Give opt-ins whose payload is misspelt to the topic that was meant, those to come as well."""
    environment = settings(home)
    with database(home, environment) as engine:
        owner = page_named(engine, page)
        with transaction(engine) as connection:
            done = adoption.adopt(connection, owner, payload, key, actor=actor(), journal=silence_journal(environment))
    screen.say(
        f"Opt-ins moved from {screen.plain(done.payload)!r} to {screen.plain(done.topic.key)!r}: {done.opt_ins:,};"
        " later ones follow."
    )


def release(payload: PayloadArgument, page: PageOption = None, home: HomeOption = None) -> None:
    """Keep later opt-ins of an adopted payload apart again. Those that moved stay where they are."""
    with database(home) as engine:
        owner = page_named(engine, page)
        with transaction(engine) as connection:
            released = adoption.release(connection, owner, payload, actor=actor())
    screen.say(f"Later opt-ins with the payload {screen.plain(released)!r} are kept apart again.")
