"""Rules: what a person's word, tap, link or reaction is answered with."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from otn.cli import screen
from otn.cli.place import HomeOption, JsonOption, PageOption, actor, database, page_named
from otn.consent import pages, rulemaking, rules
from otn.consent.content import message_from
from otn.consent.pages import Page
from otn.consent.rulemaking import RuleSpec, describe
from otn.consent.rules import Rule, Trigger
from otn.consent.suppression import read_words
from otn.database import PsycopgConnection, transaction
from otn.errors import UsageError
from otn.messenger.events import Event, EventKind

KeyArgument = Annotated[str, typer.Argument(metavar="KEY", help="Name of the rule.")]
WordOption = Annotated[str | None, typer.Option(metavar="W", help="A whole message, whatever its case and signs.")]
PostbackOption = Annotated[str | None, typer.Option(metavar="P", help="Payload of a button or quick reply.")]
GetStartedOption = Annotated[bool, typer.Option("--get-started", help="The first tap in a new thread.")]
ReferralOption = Annotated[
    str | None, typer.Option(metavar="R", help="The ref of an m.me link, also with :… after it; * for any.")
]
ReactionOption = Annotated[str | None, typer.Option(metavar="CAMPAIGN", help="A reaction to its message; * for any.")]
AnyOption = Annotated[bool, typer.Option("--any", help="Whatever a person writes that nothing else answers.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="What words, buttons, links and reactions are answered with.", no_args_is_help=True)
    group.command("add")(add)
    group.command("list")(listing)
    group.command("remove")(remove)
    group.command("test")(try_out)
    app.add_typer(group, name="rules", rich_help_panel="Pages and topics")


def add(  # noqa: PLR0913, PLR0917 - each is an option of the command
    key: KeyArgument,
    word: WordOption = None,
    postback: PostbackOption = None,
    get_started: GetStartedOption = False,
    referral: ReferralOption = None,
    reaction: ReactionOption = None,
    any_text: AnyOption = False,
    topic: Annotated[str | None, typer.Option(metavar="T", help="Send this topic's request card.")] = None,
    ref: Annotated[str | None, typer.Option(metavar="R", help="Reference that the card carries.")] = None,
    stock: Annotated[
        int, typer.Option(metavar="N", help="The card goes to people with fewer unspent tokens than this.")
    ] = 1,
    text: Annotated[
        str | None,
        typer.Option("--text", metavar="TEXT", help="Send this text; beside --topic: to whoever holds enough tokens."),
    ] = None,
    message: Annotated[str | None, typer.Option(metavar="JSON", help="Likewise, a Send API message object.")] = None,
    page: PageOption = None,
    home: HomeOption = None,
) -> None:
    """Add a rule, or change the one of that name. The same again changes nothing."""
    trigger, pattern = _one_of(
        "A rule listens to one thing. Give exactly one of --word, --postback, --get-started, --referral, --reaction,"
        " --any.",
        word=word,
        postback=postback,
        get_started=get_started,
        referral=referral,
        reaction=reaction,
        any_text=any_text,
    )
    content = message_from(text, message)
    spec = RuleSpec(key=key, trigger=trigger, pattern=pattern, topic=topic, ref=ref, message=content, stock=stock)
    with database(home) as engine:
        owner = page_named(engine, page)
        with transaction(engine) as connection:
            written = rulemaking.add(connection, owner, spec, actor=actor())
            unanswered = rules.load(connection).unanswered(owner.id, content or {})
    done = "was added" if written.created else "was changed" if written.changed else "is as it was"
    screen.say(f"Rule {screen.plain(key)} of page {screen.plain(owner.connection_id)} {done}.")
    for payload in unanswered:
        screen.warn(f"No rule answers the button with the payload {screen.plain(payload)!r}.")


def _one_of(otherwise: str, **options: Any) -> tuple[Trigger, str | None]:
    names: dict[str, Trigger] = {"word": "word", "postback": "postback", "referral": "referral", "reaction": "reaction"}
    given: list[tuple[Trigger, str | None]] = [
        (trigger, options[name]) for name, trigger in names.items() if options[name] is not None
    ]
    given += [("get_started", None)] if options["get_started"] else []
    given += [("any", None)] if options["any_text"] else []
    if len(given) != 1:
        raise UsageError(otherwise)
    return given[0]


def listing(page: PageOption = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the rules of all pages, or of one."""
    with database(home) as engine:
        owner = page_named(engine, page) if page else None
        with transaction(engine) as connection:
            found = rulemaking.listing(connection, owner)
            connections = {one.id: one.connection_id for one in pages.listing(connection)}
    if as_json:
        screen.print_json([{"page": connections[rule.page_id], **_as_json(rule)} for rule in found])
    elif not found:
        screen.say("No rule yet. Add one by `./otn rules add KEY --word WORD --topic TOPIC`.")
    else:
        rows = ((connections[rule.page_id], rule.key, _heard(rule), _answer(rule)) for rule in found)
        screen.print_table(("page", "key", "listens to", "answers with"), rows)


def remove(key: KeyArgument, page: PageOption = None, home: HomeOption = None) -> None:
    """Remove a rule."""
    with database(home) as engine:
        owner = page_named(engine, page)
        with transaction(engine) as connection:
            rule = rulemaking.remove(connection, owner, key, actor=actor())
    screen.say(f"Rule {screen.plain(rule.key)} is removed: {screen.plain(_heard(rule))} is no longer answered by it.")


def try_out(
    text: Annotated[str | None, typer.Option("--text", metavar="TEXT", help="What a person might write.")] = None,
    postback: PostbackOption = None,
    get_started: GetStartedOption = False,
    referral: ReferralOption = None,
    reaction: ReactionOption = None,
    page: PageOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say which rule would answer, without sending anything. Exits with 1 where none does."""
    trigger, said = _one_of(
        "One thing is tried at a time. Give exactly one of --text, --postback, --get-started, --referral, --reaction.",
        word=text,
        postback=postback,
        get_started=get_started,
        referral=referral,
        reaction=reaction,
        any_text=False,
    )
    with database(home) as engine:
        owner = page_named(engine, page)
        with transaction(engine) as connection:
            rule = None if _stops(trigger, said) else _answering(connection, owner, trigger, said)
    if as_json:
        screen.print_json({"stop_word": _stops(trigger, said), "rule": _as_json(rule) if rule else None})
    elif _stops(trigger, said):
        screen.say("This is a stop or start word. It always means that; no rule is asked.")
        return
    elif rule is not None:
        screen.say(f"Rule {screen.plain(rule.key)} answers with: {screen.plain(_answer(rule))}")
    else:
        screen.say("No rule answers this.")
    if rule is None and not _stops(trigger, said):
        raise typer.Exit(1)


def _stops(trigger: Trigger, said: str | None) -> bool:
    return trigger == "word" and read_words().meaning(said) is not None


def _answering(connection: PsycopgConnection, page: Page, trigger: Trigger, said: str | None) -> Rule | None:
    book = rules.load(connection)
    facts: dict[str, dict[str, Any]] = {
        "word": {"kind": EventKind.MESSAGE, "text": said},
        "postback": {"kind": EventKind.POSTBACK, "payload": said},
        "get_started": {"kind": EventKind.POSTBACK, "payload": book.get_started},
        "referral": {"kind": EventKind.REFERRAL, "ref": said},
        "reaction": {"kind": EventKind.REACTION, "action": "react"},
    }
    event = Event(page_id=page.page_id, psid=None, occurred_at=datetime.now(UTC), **facts[trigger])
    return book.answer_to(page.id, event, campaign=said if trigger == "reaction" else None)


def _as_json(rule: Rule) -> dict[str, Any]:
    return {
        "key": rule.key,
        "trigger": rule.trigger,
        "pattern": rule.pattern,
        "topic": rule.topic_key,
        "ref": rule.ref,
        "message": rule.message,
        "stock": rule.stock,
    }


def _heard(rule: Rule) -> str:
    found = describe(rule)[rule.trigger]
    return rule.trigger if found is True else f"{rule.trigger} {found}"


def _answer(rule: Rule) -> str:
    parts = []
    if rule.topic_key is not None:
        parts.append(f"the card of {rule.topic_key}{f' about {rule.ref}' if rule.ref else ''}")
        if rule.stock > 1:
            parts[0] += f" up to {rule.stock} tokens"
    if rule.message is not None:
        parts.append(str(rule.message.get("text") or "a message"))
    return ", or ".join(parts)
