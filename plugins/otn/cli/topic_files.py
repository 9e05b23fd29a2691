"""Topics on their way out: as a file for git, as a link for people."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from otn.cli import screen
from otn.cli.place import HomeOption, JsonOption, PageOption, actor, database, page_named
from otn.consent import links, rulemaking, rules, topics
from otn.consent.links import Link
from otn.consent.marked_yaml import BYTES_LIMIT
from otn.consent.pages import Page
from otn.consent.rulemaking import RuleSpec
from otn.consent.text import KEY_LIMIT
from otn.consent.topic_file import Fates, Imported, export_file, import_file
from otn.database import PsycopgConnection, transaction
from otn.errors import UsageError


def add_to(group: typer.Typer) -> None:
    """Add the commands to those of topics."""
    group.command("export")(export)
    group.command("import")(take)
    group.command("link")(link)


def export(page: PageOption = None, home: HomeOption = None) -> None:
    """Print topics and rules of a page as YAML, always in the same order: `./otn topics export > topics.yaml`."""
    with database(home) as engine:
        owner = page_named(engine, page)
        with transaction(engine) as connection:
            text = export_file(connection, owner)
    sys.stdout.write(text)


def take(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="YAML as `topics export` writes it; - for stdin.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse titles that have words that Meta may object to.")
    ] = False,
    page: PageOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the topics and rules of a page what a file says. What the file does not name stays as it is."""
    raw = _read(file)
    with database(home) as engine:
        owner = page_named(engine, page)
        with screen.Stages() as stages, transaction(engine) as connection:
            stages.stage("Reading the file")
            done = import_file(connection, owner, raw, actor=actor())
            refused = strict and bool(done.warnings)
            if dry_run or refused:
                connection.rollback()
    for key, findings in done.warnings.items():
        for finding in findings:
            screen.warn(f"The title of {screen.plain(key)} says {finding.word!r}: {finding.why}.")
    if as_json:
        screen.print_json(_figures(done) | {"dry_run": dry_run, "refused": refused})
    else:
        for line in (*_lines("topics", done.topics), *_lines("rules", done.rules)):
            screen.say(line)
        if dry_run or refused:
            screen.say("Nothing was changed.")
    if refused:
        raise typer.Exit(1)


def _read(file: Path) -> bytes:
    if str(file) == "-":
        return sys.stdin.buffer.read(BYTES_LIMIT + 1)
    try:
        with file.open("rb") as opened:
            return opened.read(BYTES_LIMIT + 1)
    except OSError as error:
        raise UsageError(f"{file} cannot be read ({error.strerror}). Name a file that is there.") from None


def _figures(done: Imported) -> dict[str, object]:
    words = {key: [finding.word for finding in findings] for key, findings in done.warnings.items()}
    return {"topics": asdict(done.topics), "rules": asdict(done.rules), "words_in_titles": words}


def _lines(what: str, fates: Fates) -> list[str]:
    shown = ("created", fates.created), ("changed", fates.changed), ("not in the file, left alone", fates.not_in_file)
    lines = [f"{what} {fate}: {', '.join(map(screen.plain, keys))}" for fate, keys in shown if keys]
    return [*lines, f"{what} unchanged: {len(fates.unchanged):,}"] if fates.unchanged else lines


def link(
    key: Annotated[str, typer.Argument(metavar="KEY", help="A registered topic.")],
    ref: Annotated[
        str | None, typer.Option(metavar="R", help="Reference that the card carries, such as a product.")
    ] = None,
    rule: Annotated[
        bool, typer.Option("--rule", help="Add the rule that answers the link where there is none.")
    ] = False,
    page: PageOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the m.me link that opens the chat and has the topic's request card sent."""
    with database(home) as engine:
        owner = page_named(engine, page)
        with transaction(engine) as connection:
            made, added = _link(connection, owner, key, ref), None
            if rule and made.answer is None:
                added = _add_rule(connection, owner, key)
                made = _link(connection, owner, key, ref)
    if as_json:
        answered_by = made.answer.key if made.answer else None
        screen.print_json(
            {"url": made.url, "ref": made.ref, "answered_by": answered_by, "leads_to_topic": made.leads_to_topic}
        )
    else:
        screen.out().print(made.url, soft_wrap=True)
    if added:
        screen.warn(f"Rule {screen.plain(added)!r} was added: it answers the link with the card.")
    _warn(made, key)


def _link(connection: PsycopgConnection, page: Page, key: str, ref: str | None) -> Link:
    return links.link(rules.load(connection), page, topics.find(connection, page, key), ref)


def _add_rule(connection: PsycopgConnection, page: Page, key: str) -> str:
    name = f"link {key}"[:KEY_LIMIT]
    if any(one.key == name for one in rulemaking.listing(connection, page)):
        raise UsageError(
            f"There is a rule {name!r} that listens to something else. Add one of another name:"
            " `./otn rules add NAME --referral KEY --topic KEY`."
        )
    spec = RuleSpec(key=name, trigger="referral", pattern=key, topic=key)
    rulemaking.add(connection, page, spec, actor=actor())
    return name


def _warn(made: Link, key: str) -> None:
    if made.answer is None:
        screen.warn("No rule answers this link: a tap on it leads to silence. Add one by --rule.")
    elif not made.leads_to_topic:
        screen.warn(
            f"The rule {screen.plain(made.answer.key)!r} answers this link, and not with the card of"
            f" {screen.plain(key)!r}. Change it by `./otn rules add`."
        )
    if made.unusual:
        screen.warn("The ref has characters other than letters, digits and + / = - . : _ ; try the link on a phone.")
