"""What the doctor looks at."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from otn.cli.page_check import Level, check_page
from otn.cli.place import away, database_of, settings
from otn.consent import pages
from otn.consent.pages import Page
from otn.crypto import DecryptionError, Keyring, read_keyring
from otn.database import DatabaseAwayError, DatabaseError, Engine, make_engine, queries, transaction
from otn.database.migrating import schema_version
from otn.errors import ConfigurationError
from otn.local import machine
from otn.local.home import Home
from otn.local.progress import Progress
from otn.settings import page_settings, read_connection

OLDEST_SERVER = 140_000  # Postgres 14
DAYS_AHEAD = 3
BACKLOG_SECONDS = 600
CLOCK_SECONDS = 60


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Args:
        subject: what, in a few words.
        level: green, yellow or red.
        text: how it is.
        advice: what to do; empty when green.
    """

    subject: str
    level: Level
    text: str
    advice: str = ""


class Examination:
    """One look at everything.

    Args:
        home: as given on the command line.
        progress: told what is looked at.
    """

    def __init__(self, home: Path | None, progress: Progress) -> None:
        self._home = home
        self._progress = progress
        self._environment: dict[str, str] = {}

    def run(self) -> list[Check]:
        """All checks; one that fails keeps no other from being made."""
        try:
            self._environment = settings(self._home)
        except ConfigurationError as error:
            return [Check("settings", "red", str(error))]
        return [*self._keys(), *self._database(), *self._system()]

    def _keys(self) -> Iterator[Check]:
        try:
            read_keyring(self._environment)
        except ConfigurationError as error:
            yield Check("keys", "red", str(error))
        else:
            yield Check("keys", "green", "Encryption keys and hash key are there.")

    def _database(self) -> Iterator[Check]:
        self._progress.stage("looking at the database")
        try:
            url = database_of(self._environment, self._home)
        except ConfigurationError as error:
            yield Check("database", "red", str(error))
            return
        engine = make_engine(url, application_name="otn doctor")
        try:
            yield from self._server(engine)
            have, newest = schema_version(url)
            if have != newest:
                text = f"The schema is at version {have or 'none'}; this code needs {newest}."
                yield Check("schema", "red", text, "Run `./otn migrate`.")
                return
            yield Check("schema", "green", f"The schema is at version {have}.")
            yield from self._contents(engine)
            yield from self._pages(engine)
        except DatabaseAwayError:
            yield Check("database", "red", away(self._home))
        except DatabaseError as error:
            yield Check("database", "red", str(error))
        finally:
            engine.dispose()

    def _server(self, engine: Engine) -> Iterator[Check]:
        with transaction(engine) as connection:
            server = queries("doctor").server(connection)
        if server.number < OLDEST_SERVER:
            yield Check("database", "red", f"Postgres {server.version} is too old.", "Use version 14 or newer.")
        elif server.standby:
            yield Check("database", "red", "This Postgres is a standby: nothing can be written.", "Use the primary.")
        else:
            yield Check("database", "green", f"Postgres {server.version} answers.")
        if abs(server.clock - time.time()) > CLOCK_SECONDS:
            gap = abs(server.clock - time.time())
            yield Check("clock", "yellow", f"Its clock is {gap:.0f} s away from ours.", "Let both follow NTP.")

    def _contents(self, engine: Engine) -> Iterator[Check]:
        with transaction(engine) as connection:
            doctor = queries("doctor")
            ahead, backlog = doctor.partitions(connection).ahead, doctor.backlog(connection)
            sealed, topics = doctor.newest_token(connection), doctor.unregistered_topics(connection)
            stopped = list(doctor.stopped(connection))
        yield from self._readable(sealed)
        if ahead < DAYS_AHEAD:
            text = f"Partitions for webhooks exist for {ahead} days from today on."
            yield Check("partitions", "yellow", text, "See that otn_purge runs, or run `./otn migrate`.")
        else:
            yield Check("partitions", "green", f"Partitions for webhooks exist for {ahead} days from today on.")
        if backlog.waiting and backlog.oldest_s > BACKLOG_SECONDS:
            text = f"{backlog.waiting} webhooks wait for ingest, the oldest for {backlog.oldest_s // 60} minutes."
            yield Check("ingest", "red", text, "See that otn_ingest is unpaused and its runs are green.")
        else:
            yield Check("ingest", "green", f"{backlog.waiting} webhooks wait for ingest.")
        if backlog.quarantined:
            text = f"{backlog.quarantined} events could not be read and are kept in quarantine."
            yield Check("quarantine", "yellow", text, "Look at the reasons in otn.quarantine.")
        if topics:
            text = f"People opted in to {topics} topics that are not registered."
            yield Check("topics", "yellow", text, "See `./otn topics list` and register them by `./otn topics add`.")
        for row in stopped:
            why = f" {row.halt_reason}" if row.halt_reason else ""
            text = f"The campaign {row.key} of page {row.page} is {row.state}.{why}"
            yield Check("campaign", "yellow", text, f"See `./otn report {row.key} --page {row.page}`.")

    def _readable(self, sealed: bytes | None) -> Iterator[Check]:
        try:
            keyring: Keyring = read_keyring(self._environment)
        except ConfigurationError:
            return
        if sealed is None:
            return
        try:
            keyring.decrypt(sealed, "token")
        except DecryptionError as error:
            yield Check("keys", "red", "The stored opt-ins were written with other keys.", str(error))
        else:
            yield Check("keys", "green", "The stored opt-ins can be read.")

    def _pages(self, engine: Engine) -> Iterator[Check]:
        with transaction(engine) as connection:
            registered = pages.listing(connection)
        if not registered:
            yield Check("pages", "yellow", "No page is registered.", "Register one by `./otn pages add CONN`.")
        for page in registered:
            self._progress.stage(f"asking the platform about {page.connection_id}")
            yield from self._page(page)
        if registered:
            yield Check(
                "used tokens",
                "yellow",
                "What the platform answers for a used token is documented nowhere, and was not learnt here.",
                "Some doubtful recipients may therefore stay unknown; an echo can still settle them.",
            )

    def _page(self, page: Page) -> Iterator[Check]:
        subject = f"page {page.connection_id}"
        if page.halted:
            advice = "Repair the cause, then trigger a campaign of the page again: that resumes it."
            yield Check(subject, "red", f"Nothing is sent for the page: {page.halt_reason}", advice)
        try:
            found = page_settings(read_connection(page.connection_id, self._environment))
        except ConfigurationError as error:
            yield Check(subject, "red", str(error))
            return
        if found.page_id != page.page_id:
            text = f"The connection names page {found.page_id}, but is registered for {page.page_id}."
            yield Check(subject, "red", text, "Correct its login, or give the other page a connection of its own.")
            return
        for finding in check_page(found):
            yield Check(subject, finding.level, finding.text, finding.advice)

    def _system(self) -> Iterator[Check]:
        home = Home.at(self._home)
        if not home.exists:
            return
        self._progress.stage("looking at the system of this machine")
        state = machine.status(home)
        if not state.running:
            yield Check("system", "yellow", f"The system at {home.path} is down.", "Start it by `./otn up`.")
        elif state.healthy:
            yield Check("system", "green", "Airflow and everything else of this machine is healthy.")
        else:
            bad = ", ".join(f"{one.name} {one.state}" for one in state.processes if one.state != "RUNNING")
            advice = f"Read the logs in {home.logs}."
            yield Check("system", "red", f"Not everything is healthy ({bad or 'a program does not answer'}).", advice)
        if os.access(home.secrets_file, os.R_OK) and home.secrets_file.stat().st_mode & 0o077:
            text = f"Other accounts can read {home.secrets_file}."
            yield Check("keys", "red", text, f"Run `chmod 600 {home.secrets_file}`.")
