"""The loop: webhooks are taken in the moment they are stored, and answered; idle, it fetches profiles."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import structlog
from sqlalchemy.exc import SQLAlchemyError

from otn.asking.sending import MOST_COUNTED
from otn.campaign.evidence import settle
from otn.campaign.policy import heed_warnings
from otn.consent import profiles
from otn.crypto import Keyring
from otn.database import DatabaseError, Engine, queries, transaction
from otn.database.schema import check_schema
from otn.errors import OtnError
from otn.intake.ingest import ingest_pending
from otn.privacy import erasure, silences
from otn.responder.pages import Voice, Voices

POLL_S = 0.2
AWAY_S = (0.5, 5.0)  # pauses while Postgres is away: the first, the longest
MOST_AT_ONCE = 1_000  # webhooks between two looks at what is to be answered
UPKEEP_S = 1.0
BROKEN_S = 1.0  # webhooks that cannot be taken in are not tried at each look, but the others are answered within 2 s
PROFILES_S = 5.0
PROFILE_CALLS = 10  # between two looks at whether something else is to be done

_log = structlog.get_logger("otn.responder")


class Responder:
    """Takes in what the receiver stored and carries out the answers. Several may run side by side.

    Args:
        engine: the project's database; one connection for the loop, others for the senders' threads.
        keyring: opens webhooks.
        voices: speak for the pages.
        environ: settings; the process's own environment by default.
    """

    def __init__(
        self, engine: Engine, keyring: Keyring, voices: Voices, environ: Mapping[str, str] | None = None
    ) -> None:
        self._engine = engine
        self._keyring = keyring
        self._voices = voices
        self._environ = environ
        self._fetcher = ThreadPoolExecutor(1, "profiles")
        self._fetching: Future[None] | None = None
        self._closing = threading.Event()
        self._due: dict[str, float] = {}
        self._complaint = ""

    def run(self, stop: threading.Event) -> None:
        """Go on until told to stop; calls that are under way are finished.

        Args:
            stop: set from a signal.
        """
        pause = AWAY_S[0]
        try:
            while not stop.is_set():
                try:
                    busy = self.step()
                except (OtnError, SQLAlchemyError) as error:
                    text = str(error) if isinstance(error, OtnError) else type(error).__name__
                    _log.warning("nothing can be done now", error=text, again_in_s=pause)
                    stop.wait(pause)
                    pause = min(pause * 2, AWAY_S[1])
                else:
                    pause = AWAY_S[0]
                    stop.wait(0.0 if busy else POLL_S)
        finally:
            self.close()

    def close(self) -> None:
        """Claim nothing more, finish what is in call."""
        self._closing.set()
        self._fetcher.shutdown(wait=False, cancel_futures=True)
        self._voices.close()

    def step(self) -> bool:
        """Take in what is stored, hand out what is due; whether more of it is waiting already.

        Raises:
            DatabaseError: Postgres is away, or the schema is not what it should be.
            JournalError: whom a restored backup has brought back cannot be told, so nothing is taken in.
            SchemaBehindError, SchemaAheadError: the schema is not this code's, so nothing is done.
        """
        if time.monotonic() >= self._due.get("upkeep", 0.0):
            self._keep_up()
            self._is_due("upkeep", UPKEEP_S)  # only what came to its end was done
        taken = self._ingest()
        answers = self._answer()
        if not taken and not answers:
            self._fetch_profiles()
        return taken >= MOST_AT_ONCE

    def _keep_up(self) -> None:
        check_schema(self._engine)
        erasure.apply_journal(self._engine, self._keyring, self._environ)
        silences.apply_silences(self._engine, self._keyring, self._environ)
        with transaction(self._engine) as connection:
            queries("window").expire_leases(connection)

    def _ingest(self) -> int:
        if not self._is_due("ingest", 0.0):
            return 0
        began = time.monotonic()
        try:
            balance = ingest_pending(self._engine, self._keyring, on_events=settle, limit=MOST_AT_ONCE)
        except DatabaseError:
            raise
        except OtnError as error:  # everything else was taken in; and what waits goes out, however broken ingest is
            now = time.monotonic()
            self._due["ingest"] = now + max(BROKEN_S, now - began)  # many of them take up half of the time at most
            if str(error) != self._complaint:
                self._complaint = str(error)
                _log.error(self._complaint)
            self._heed_warnings()
            return 0
        if balance.webhooks:
            self._complaint = ""
            _log.info("taken in", webhooks=balance.webhooks, events=balance.ingested, quarantined=balance.quarantined)
            self._heed_warnings()
        return balance.webhooks

    def _heed_warnings(self) -> None:
        try:
            for key in heed_warnings(self._engine):
                _log.warning("the platform has warned the page: a campaign is paused", campaign=key)
        except DatabaseError as error:  # otn_ingest and otn_watch heed them too
            _log.error("warnings of the platform could not be heeded", sqlstate=error.sqlstate)

    def _answer(self) -> int:
        with transaction(self._engine) as connection:
            pages = list(queries("window").pages_due(connection, most=MOST_COUNTED))
        answers = 0
        for page in pages:
            voice = self._voices.of(page.id)
            if voice is not None:
                answers += page.answers
                voice.sender.dispatch(page.answers)
        return answers

    def _fetch_profiles(self) -> None:
        if (self._fetching and not self._fetching.done()) or not self._is_due("profiles", PROFILES_S):
            return
        self._fetching = self._fetcher.submit(self._fetch, self._voices.all())

    def _fetch(self, voices: list[Voice]) -> None:
        for voice in voices:
            try:
                for _ in range(PROFILE_CALLS):
                    figures = profiles.fetch(
                        self._engine, voice.client, voice.settings, voice.page_row_id, environ=self._environ
                    )
                    if not figures.asked or self._closing.is_set():
                        break
            except (OtnError, SQLAlchemyError) as error:
                _log.warning("profiles could not be fetched", page=voice.page_row_id, error=type(error).__name__)

    def _is_due(self, what: str, every_s: float) -> bool:
        now = time.monotonic()
        if now < self._due.get(what, 0.0):
            return False
        self._due[what] = now + every_s
        return True
