"""The system on one machine, and the parts of it that can be run alone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated

import typer

from otn.cli import screen
from otn.cli.place import HomeOption, JsonOption, settings
from otn.consent import pages
from otn.crypto import read_keyring
from otn.database import make_engine, transaction
from otn.local import machine
from otn.local.environment import environment_of, home_environment
from otn.local.home import Home
from otn.local.logins import RECEIVER, SENDER
from otn.local.programs import RESPONDER, airflow_command
from otn.local.supervision import RUNNING
from otn.privacy.erasure import apply_journal
from otn.privacy.silences import Returned, apply_silences
from otn.settings import DATABASE_CONNECTION, DEFAULT_PAGE_CONNECTION, database_url, page_settings, read_connection

PANEL = "The system on this machine"
_PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("up", rich_help_panel=PANEL)(up)
    app.command("down", rich_help_panel=PANEL)(down)
    app.command("status", rich_help_panel=PANEL)(status)
    app.command("receiver", rich_help_panel=PANEL)(receiver)
    app.command("responder", rich_help_panel=PANEL)(responder)
    app.command("airflow", rich_help_panel=PANEL, context_settings=_PASSED_ON)(airflow)


def up(
    home: HomeOption = None,
    api_port: Annotated[
        int | None, typer.Option(min=1, max=65_535, help="Port of Airflow's pages.", show_default="8080, or a free one")
    ] = None,
    receiver_port: Annotated[
        int | None, typer.Option(min=1, max=65_535, help="Port of the receiver.", show_default="8081, or a free one")
    ] = None,
) -> None:
    """Start the system in the background, and return when it is healthy.

    Pages come from AIRFLOW_CONN_MESSENGER_DEFAULT and the like, in the environment or in .env.
    """
    place = Home.at(home)
    if place.state().get("sandbox_port"):
        screen.warn("This is a home of the demo: its page is a stand-in. Give real use a --home of its own.")
    with screen.Stages() as stages:
        state = machine.up(place, api_port=api_port, receiver_port=receiver_port, prepare=prepare, progress=stages)
    _show(state)


def prepare(environment: Mapping[str, str]) -> None:
    """What has to be right before anything runs: who left stays away, and the default page is known."""
    apply_journals(environment)
    register_default(environment)


def apply_journals(environment: Mapping[str, str]) -> None:
    """Make good what a restored backup has forgotten, and say so; without keys or journals nothing is known of it."""
    if not environment.get("OTN_HASH_KEY"):
        return
    engine = make_engine(database_url(read_connection(DATABASE_CONNECTION, environment)))
    keyring = read_keyring(environment)
    try:
        erased = apply_journal(engine, keyring, environment)
        returned = apply_silences(engine, keyring, environment)
    finally:
        engine.dispose()
    if erased:
        screen.warn(f"{erased:,} people stood in the erasure journal and had come back; they were erased again.")
    if returned:
        screen.warn(sentence_of(returned))


def sentence_of(returned: Returned) -> str:
    """What was brought back from the journal of silences."""
    return (
        f"{returned.silenced:,} stop words and objections that had been forgotten count again."
        f" {returned.lifted:,} that had been lifted were lifted again."
    )


def register_default(environment: Mapping[str, str]) -> None:
    """Register the page of ``messenger_default`` where that connection is defined."""
    if not environment.get(f"AIRFLOW_CONN_{DEFAULT_PAGE_CONNECTION.upper()}"):
        return
    page = page_settings(read_connection(DEFAULT_PAGE_CONNECTION, environment))
    engine = make_engine(database_url(read_connection(DATABASE_CONNECTION, environment)))
    try:
        with transaction(engine) as connection:
            pages.register(connection, page)
    finally:
        engine.dispose()


def down(home: HomeOption = None) -> None:
    """Stop the system; nothing of it stays behind but its data."""
    with screen.Stages() as stages:
        ran = machine.down(Home.at(home), progress=stages)
    screen.say("Stopped." if ran else "Nothing was running.")


def status(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Tell how the system is; the exit code is 0 only when it is up and healthy."""
    state = machine.status(Home.at(home))
    if as_json:
        print(state.to_json())
    else:
        _show(state)
    raise typer.Exit(0 if state.healthy else 1)


def _show(state: machine.Status) -> None:
    if not state.running:
        screen.say(f"Down. Home: {state.home}")
        return
    screen.out().print("Healthy." if state.healthy else "Not healthy.", style="green" if state.healthy else "red")
    screen.say(f"Airflow    {state.api_url}  (user {state.username}, password in {state.password_file})")
    screen.say(f"Console    {state.api_url}/plugin/otn")
    screen.say(f"Receiver   {state.receiver_url or 'not started: no page has an app_secret and a verify_token'}")
    screen.say(f"Responder  {_responder(state)}")
    screen.say(f"Home       {state.home}")
    if not state.healthy:
        screen.print_table(("program", "state", "pid"), ((one.name, one.state, one.pid) for one in state.processes))


def _responder(state: machine.Status) -> str:
    found = next((one for one in state.processes if one.name == RESPONDER), None)
    if found is None:
        return "not started: no page has its id and an access token"
    return "takes in what the receiver stores, and answers" if found.state == RUNNING else "not running"


def receiver(
    home: HomeOption = None,
    host: Annotated[
        str, typer.Option(envvar="OTN_RECEIVER_HOST", help="Address to listen on; put TLS in front.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65_535, envvar="OTN_RECEIVER_PORT", help="Port to listen on; 0: a free one.")
    ] = 8081,
) -> None:
    """Run the receiver of webhooks in the foreground."""
    from otn.web.receiver import serve

    serve(host, port, environment_of(RECEIVER, settings(home)))


def responder(home: HomeOption = None) -> None:
    """Run the responder in the foreground: it takes in what the receiver stores, and answers, at once."""
    from otn.responder import serve

    serve(environment_of(SENDER, settings(home)))


def airflow(words: typer.Context, home: HomeOption = None) -> None:
    """Run Airflow's own command line on the system of this machine, such as `./otn airflow dags list`."""
    command = airflow_command(*words.args)
    os.execve(command[0], command, home_environment(Home.at(home)))  # noqa: S606 - our own interpreter
