"""All commands, and what becomes of their errors."""

from __future__ import annotations

import os
import sys
import tempfile
import tomllib
import traceback
from typing import Annotated, NoReturn

import typer

from otn.cli import (
    alarms,
    asks,
    bench,
    calibrate,
    campaigns,
    chaos,
    consents,
    demo,
    deploy,
    doctor,
    imports,
    landing,
    migrate,
    outgoing,
    pages,
    privacy,
    rules,
    screen,
    sending,
    subscribers,
    system,
    topics,
)
from otn.errors import OtnError, UsageError
from otn.settings import ROOT

app = typer.Typer(
    name="otn",
    help="One-Time Notifications of the Messenger Platform: collect opt-ins, spend each once, know what happened.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
system.add_to(app)
migrate.add_to(app)
demo.add_to(app)
deploy.add_to(app)
bench.add_to(app)
chaos.add_to(app)
pages.add_to(app)
topics.add_to(app)
asks.add_to(app)
rules.add_to(app)
outgoing.add_to(app)
subscribers.add_to(app)
consents.add_to(app)
imports.add_to(app)
landing.add_to(app)
privacy.add_to(app)
campaigns.add_to(app)
calibrate.add_to(app)
sending.add_to(app)
alarms.add_to(app)
doctor.add_to(app)


def version() -> str:
    """The project's version, as ``pyproject.toml`` has it."""
    try:
        return str(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])
    except (OSError, KeyError, tomllib.TOMLDecodeError):
        return "unknown"


def _print_version(wanted: bool) -> None:
    if wanted:
        screen.say(f"otn {version()}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> NoReturn:
    """Run a command: exit code 0 is success, 2 a wrong use of the command, 1 everything else."""
    try:
        app(prog_name="./otn")
    except OtnError as error:
        if os.environ.get("OTN_DEBUG") == "1":
            traceback.print_exc()
        screen.err().print(f"Error: {error}", style="red")
        sys.exit(2 if isinstance(error, UsageError) else 1)
    except Exception as error:  # noqa: BLE001 - nobody should meet a traceback who did not ask for it
        if os.environ.get("OTN_DEBUG") == "1":
            traceback.print_exc()
        else:
            _explain(error)
        sys.exit(1)
    sys.exit(0)


def _explain(error: Exception) -> None:
    with tempfile.NamedTemporaryFile("w", prefix="otn-error-", suffix=".log", delete=False) as file:  # mode 0600
        traceback.print_exception(error, file=file)
    screen.err().print(
        f"Error: this should not have happened ({type(error).__name__}). "
        f"The details are in {file.name}; OTN_DEBUG=1 shows them here.",
        style="red",
    )
