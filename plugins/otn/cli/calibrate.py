"""Calibrate: learn what the platform answers for a token that is no good."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from otn.campaign import calibrate as calibrations
from otn.campaign.calibrate import Bench, Prospect
from otn.cli import people, screen
from otn.cli.place import HomeOption, JsonOption, PageOption, actor, database, page_named, settings
from otn.consent import topics
from otn.consent.pages import Page
from otn.crypto import read_keyring
from otn.database import transaction
from otn.epoch.file import make_known
from otn.errors import ConfigurationError, UsageError
from otn.messenger.client import MessengerClient, PageCredentials
from otn.privacy.erasure import check_psid
from otn.settings import PageSettings, page_settings, read_connection


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("calibrate", rich_help_panel="Campaigns")(calibrate)


def calibrate(
    psid: Annotated[
        str, typer.Option("--psid", metavar="PSID", help="A person of your staff who agreed to it; - reads stdin.")
    ],
    topic: Annotated[str | None, typer.Option("--topic", metavar="T", help="Spend a consent of this topic.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    page: PageOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Spend one consent of a colleague to learn what the platform says for a used token.

    Senders then tell "used" from "invalid". A second time the same token is asked about: none is spent.
    The exit code is 1 when nothing was learnt.
    """
    environment = settings(home)
    make_known(environment)
    person = check_psid(people.one_psid(psid))
    with database(home, environment) as engine:
        owner = page_named(engine, page)
        of = _settings(owner, environment)
        with transaction(engine) as connection:
            about = topics.find(connection, owner, topic) if topic else None
        prospect = calibrations.look(engine, owner, person, about)
        if not yes:
            _ask(prospect)
        with _client(of) as client, screen.Stages() as stages:
            bench = Bench(engine, client, read_keyring(environment), of, owner)
            done = calibrations.calibrate(bench, person, actor=actor(), topic=about, stage=stages.stage)
    if as_json:
        screen.print_json(asdict(done))
    else:
        screen.print_table(("token", "the platform says"), done.answers.items())
        screen.out().print(screen.plain(done.sentence), style=None if done.learned else "yellow")
    raise typer.Exit(0 if done.learned else 1)


def _settings(page: Page, environment: dict[str, str]) -> PageSettings:
    found = page_settings(read_connection(page.connection_id, environment))
    if found.page_id != page.page_id:
        raise ConfigurationError(
            f"The connection {page.connection_id!r} is registered for page {page.page_id}, but its login names page "
            f"{found.page_id}. Correct the login."
        )
    return found


def _client(page: PageSettings) -> MessengerClient:
    return MessengerClient(
        PageCredentials(page.base_url, page.page_id, page.access_token, page.app_secret, page.api_version)
    )


def _ask(prospect: Prospect) -> None:
    if not sys.stdin.isatty():
        raise UsageError("Nobody can be asked here whether a consent is really to be spent. Add --yes.")
    if prospect.spends:
        question = f"Send person {prospect.person} a test message, which uses up a consent for {prospect.topic}?"
    else:
        question = f"Ask the platform again about the token that person {prospect.person} gave for {prospect.topic}?"
    typer.confirm(question, abort=True, err=True)
