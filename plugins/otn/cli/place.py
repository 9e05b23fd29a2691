"""Where a command works: the home, its settings, and the database they lead to."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from otn.consent import pages
from otn.consent.pages import Page
from otn.database import DatabaseAwayError, DatabaseError, Engine, make_engine, transaction
from otn.errors import ConfigurationError, OtnError
from otn.local.environment import OTN_DB, caller_environment, home_environment
from otn.local.home import Home
from otn.settings import DATABASE_CONNECTION, DEFAULT_PAGE_CONNECTION, database_url, read_connection

UNDEFINED_TABLE = ("42P01", "3F000")

HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home", metavar="DIR", envvar="OTN_HOME", help="Folder of the system on this machine.", show_default=".otn"
    ),
]
PageOption = Annotated[
    str | None,
    typer.Option(
        "--page",
        metavar="CONN",
        help="Connection (or Facebook id) of the page.",
        show_default=f"{DEFAULT_PAGE_CONNECTION}, or the only page",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]


class NotSetUpError(OtnError):
    """The database has not the tables of this version. Run `./otn migrate`."""


def settings(home: Path | None) -> dict[str, str]:
    """Connections and keys: the environment first, then ``.env``, then what the home has.

    Raises:
        ConfigurationError: something there cannot be read.
    """
    place = Home.at(home)
    if place.exists and place.state().get("ports"):
        return home_environment(place)
    return caller_environment()


def database_of(environment: Mapping[str, str], home: Path | None) -> str:
    """URL of the database.

    Raises:
        ConfigurationError: neither the environment nor the home knows one.
    """
    if not environment.get(OTN_DB):
        raise ConfigurationError(
            f"No database is known: {OTN_DB} is not set, and there is no system at {Home.at(home).path}. "
            "Start one by `./otn up`, or set the variable."
        )
    return database_url(read_connection(DATABASE_CONNECTION, environment))


@contextmanager
def database(home: Path | None, environment: Mapping[str, str] | None = None) -> Iterator[Engine]:
    """The project's database, with errors that say what to do next.

    Raises:
        NotSetUpError: it was never migrated.
        OtnError: it cannot be reached.
    """
    environment = settings(home) if environment is None else environment
    engine = make_engine(database_of(environment, home), application_name="otn cli")
    try:
        yield engine
    except DatabaseAwayError:
        raise OtnError(away(home)) from None
    except DatabaseError as error:
        if error.sqlstate in UNDEFINED_TABLE:
            raise NotSetUpError from None
        raise
    finally:
        engine.dispose()


def away(home: Path | None) -> str:
    """Why the database cannot be reached, and what to do."""
    if caller_environment().get(OTN_DB):
        return f"The database that {OTN_DB} names does not answer. Start it, or correct the variable."
    return f"The database of {Home.at(home).path} does not answer. Start the system by `./otn up`."


def page_named(engine: Engine, name: str | None) -> Page:
    """The page that a command is about.

    Args:
        engine: the project's database.
        name: as given; None means ``messenger_default``, or the only page there is.

    Raises:
        UnknownPageError: there is no such page.
    """
    with transaction(engine) as connection:
        known = pages.listing(connection)
        if name is None and len(known) == 1:
            return known[0]
        return pages.find(connection, name or DEFAULT_PAGE_CONNECTION)


def actor() -> str:
    """Who stands behind a command, for the audit."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a container's user without a name
        return f"cli:{os.getuid()}"
