"""What the doctor looks at."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from otn.campaign import token_rules
from otn.cli.place import away, database_of, settings
from otn.consent import pages
from otn.crypto import DecryptionError, Keyring, read_keyring
from otn.database import DatabaseAwayError, DatabaseError, Engine, make_engine, queries, transaction
from otn.database.migrating import schema_version
from otn.errors import ConfigurationError
from otn.local import machine
from otn.local.home import Home
from otn.local.progress import Progress
from otn.settings import page_settings, read_connection
from otn.watch import alarms, finding, look

Level = Literal["green", "yellow", "red"]

OLDEST_SERVER = 140_000  # Postgres 14
CLOCK_SECONDS = 60
COLOURS: dict[finding.Level, Level] = {"ok": "green", "warn": "yellow", "alarm": "red"}


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
            with transaction(engine) as connection:
                sealed = queries("doctor").newest_token(connection)
            yield from self._readable(sealed)
            yield from self._watch(engine)
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

    def _watch(self, engine: Engine) -> Iterator[Check]:
        """What otn_watch looks at, looked at now, without repairing anything."""
        with transaction(engine) as connection:
            names = {page.id: page.connection_id for page in pages.listing(connection)}
        around = look.Surroundings(
            settings=lambda name: page_settings(read_connection(name, self._environment)),
            receiver_urls=look.receiver_urls(self._environment),
            stage=self._progress.stage,
        )
        for one in look.look(engine, around):
            subject = f"page {names[one.page_id]}" if one.page_id in names else one.kind
            yield Check(subject, COLOURS[one.level], one.sentence, one.advice)
        yield from self._told(engine)
        yield from self._calibrated(engine)

    def _calibrated(self, engine: Engine) -> Iterator[Check]:
        """Whether it is known what the platform answers for a used token, page by page."""
        with transaction(engine) as connection:
            known = pages.listing(connection)
        for page in known:
            try:
                version = page_settings(read_connection(page.connection_id, self._environment)).api_version
            except ConfigurationError:
                continue  # red already
            with transaction(engine) as connection:
                learned_at = token_rules.learned_at(connection, page.id, version)
            if learned_at is not None:
                text = f"What the platform ({version}) answers for a used token of {page.connection_id} is known."
                yield Check("used tokens", "green", text)
                continue
            yield Check(
                "used tokens",
                "yellow",
                f"What the platform ({version}) answers for a used token of {page.connection_id} was not learnt.",
                "Run `./otn calibrate --psid STAFF`. Until then some doubtful recipients may stay unknown.",
            )

    def _told(self, engine: Engine) -> Iterator[Check]:
        """Whether somebody would hear of an alarm."""
        with transaction(engine) as connection:
            waiting = len(alarms.untold(connection))
        if waiting:
            text = f"Changes of alarms that nobody was told: {waiting}."
            advice = "Define the connection otn_notify, or OTN_NOTIFY, and see that otn_watch is green."
            yield Check("alarms", "yellow", text, advice)
        else:
            yield Check("alarms", "green", "No alarm waits to be told.")

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
