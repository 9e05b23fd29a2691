"""Privacy: what is held about a person, silence, and leaving for good."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from otn.cli import screen
from otn.cli.place import HomeOption, JsonOption, PageOption, actor, database, page_named, settings
from otn.consent import objection, topics
from otn.consent.pages import Page
from otn.consent.silence import SilenceJournal, silence_journal
from otn.crypto import Keyring, read_keyring
from otn.database import Engine, transaction
from otn.errors import UsageError
from otn.privacy import deletion, erasure, personal, silences
from otn.privacy.journal import needed_journal

STDIN = "-"
PsidArgument = Annotated[
    str, typer.Argument(metavar="PSID", help="The person's page-scoped id; - reads it from standard input.")
]
TopicOption = Annotated[str | None, typer.Option("--topic", metavar="T", help="Of this topic only.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="What is held about a person, silence, and leaving for good.", no_args_is_help=True)
    group.command("show")(show)
    group.command("suppress")(suppress)
    group.command("release")(release)
    group.command("erase")(erase)
    group.command("deletions")(deletions)
    erasures = typer.Typer(help="Erasures, and the journal of them outside the database.", no_args_is_help=True)
    erasures.command("apply")(apply)
    group.add_typer(erasures, name="erasures")
    app.add_typer(group, name="privacy", rich_help_panel="People")


@dataclass(frozen=True)
class _Desk:
    """Where a command about one person works."""

    engine: Engine
    keyring: Keyring
    environment: dict[str, str]
    page: Page
    psid: str

    @property
    def silences(self) -> SilenceJournal | None:
        """Where silence is written down."""
        return silence_journal(self.environment, self.keyring)


@contextmanager
def _desk(psid: str, page: str | None, home: Path | None) -> Iterator[_Desk]:
    environment = settings(home)
    person = erasure.check_psid(sys.stdin.readline() if psid == STDIN else psid)
    with database(home, environment) as engine:
        yield _Desk(engine, read_keyring(environment), environment, page_named(engine, page), person)


def show(psid: PsidArgument, page: PageOption = None, home: HomeOption = None) -> None:
    """Print everything that is held about a person, as JSON; tokens without their text."""
    with _desk(psid, page, home) as desk:
        screen.print_json(personal.export(desk.engine, desk.keyring, desk.page, desk.psid))


def suppress(
    psid: PsidArgument,
    topic: TopicOption = None,
    note: Annotated[str | None, typer.Option(metavar="TEXT", help="Why; never a name.")] = None,
    page: PageOption = None,
    home: HomeOption = None,
) -> None:
    """Send a person nothing any more; only release lifts that, no later word or opt-in."""
    with _desk(psid, page, home) as desk, transaction(desk.engine) as connection:
        of = topics.find(connection, desk.page, topic) if topic else None
        person = objection.suppress(
            connection, desk.page, desk.psid, topic=of, actor=actor(), note=note, journal=desk.silences
        )
    screen.say(f"Person {person} gets nothing any more{_about(topic)}.")


def release(psid: PsidArgument, topic: TopicOption = None, page: PageOption = None, home: HomeOption = None) -> None:
    """Lift what suppress entered; what the person said by a stop word stays."""
    with _desk(psid, page, home) as desk, transaction(desk.engine) as connection:
        of = topics.find(connection, desk.page, topic) if topic else None
        lifted = objection.release(connection, desk.page, desk.psid, topic=of, actor=actor(), journal=desk.silences)
    screen.say(f"Lifted{_about(topic)}." if lifted else f"There was no such entry{_about(topic)}; nothing was changed.")


def _about(topic: str | None) -> str:
    return f" about {screen.plain(topic)}" if topic else ""


def erase(
    psid: PsidArgument,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the audit; never a name.")] = "asked for it",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    page: PageOption = None,
    home: HomeOption = None,
) -> None:
    """Erase a person for good; figures stay, and nothing brings the person back. This cannot be undone."""
    with _desk(psid, page, home) as desk:
        if not yes:
            _ask(psid)
        done = erasure.erase(
            desk.engine,
            desk.keyring,
            desk.page,
            desk.psid,
            actor=actor(),
            reason=reason,
            journal=needed_journal(desk.environment),
        )
    if done.subscriber_id is not None:
        screen.say(f"Erased. Of person {done.subscriber_id} only figures are left.")
    elif done.repeated:
        screen.say("Erased before; nothing was left.")
    else:
        screen.say("Nobody of this PSID was held. It is remembered as a hash: what still comes of it is not kept.")


def _ask(psid: str) -> None:
    if psid == STDIN or not sys.stdin.isatty():
        raise UsageError("Nobody can be asked here whether the person is really to be erased. Add --yes.")
    typer.confirm("Erase this person for good?", abort=True, err=True)


def deletions(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the deletion requests that came by the platform's callback, newest first."""
    with database(home) as engine, transaction(engine) as connection:
        found = deletion.listing(connection)
    if as_json:
        screen.print_json([asdict(one) for one in found])
        return
    if not found:
        screen.say("No deletion request yet.")
        return
    columns = ("code", "state", "received_at", "people", "done_at")
    screen.print_table(columns, ([asdict(one)[column] for column in columns] for one in found), right=["people"])


def apply(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Erase again whoever stands in the journal and came back, as by a restored backup; silence again likewise.

    Every ingest and every plan do so when the journal has changed; this looks for everybody in any case.
    """
    environment = settings(home)
    journal = needed_journal(environment)
    with database(home, environment) as engine, screen.Stages() as stages:
        stages.stage("Looking for erased people")
        keyring = read_keyring(environment)
        erased = erasure.apply_journal(engine, keyring, environment, thorough=True)
        stages.stage("Looking for people who asked for silence")
        returned = silences.apply_silences(engine, keyring, environment, thorough=True)
    content = journal.read()
    if as_json:
        figures = {"journal": len(content.erasures), "unreadable": content.unreadable, "erased": erased}
        screen.print_json(figures | {"silenced": returned.silenced, "lifted": returned.lifted})
        return
    if content.unreadable:
        screen.warn(f"{content.unreadable} lines of {journal.path} cannot be read and were passed over.")
    screen.say(
        f"Erasures in the journal: {len(content.erasures):,}; people who had come back, erased again: {erased:,}."
    )
    screen.say(
        f"Silences that had been forgotten: {returned.silenced:,}; lifted ones that had come back: {returned.lifted:,}."
    )
