"""One slice of webhooks into the tables, inside one transaction of the caller."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from psycopg2 import Error as PsycopgError
from psycopg2 import InterfaceError, OperationalError

from otn.consent.silence import Change, SilenceJournal
from otn.consent.suppression import Words, hear, settle_words
from otn.crypto import Keyring
from otn.database import PsycopgConnection, queries
from otn.errors import OtnError
from otn.intake.answering import answer, choose
from otn.intake.balance import BalanceError
from otn.intake.meeting import meet
from otn.intake.reading import Outcome, Reading, Source, read
from otn.intake.staging import Learned, Stage
from otn.intake.window import settle_window

OnEvents = Callable[[PsycopgConnection, list[int]], None]

FAULTS_OF_VALUES = ("22", "23", "54")  # classes: data exception, broken rule, value beyond a limit

_log = structlog.get_logger("otn.ingest")


class SettlingError(OtnError):
    """What events say about campaigns could not be recorded. Look at the error that caused this one."""


@dataclass(frozen=True)
class _Stored:
    """What was stored for the first time.

    Args:
        events: their ids, by place.
        tokens: their rows.
    """

    events: dict[int, int]
    tokens: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Merger:
    """How slices are merged.

    Args:
        keyring: hashes and encrypts.
        words: stop and start words.
        on_events: is told the ids of stored events inside the transaction; None: nobody is.
        again: look at what is known too: every event and token must be there afterwards, and ``on_events`` is told of
            all of them.
        silences: where stops and starts are written down; None: this process knows no journal.
    """

    keyring: Keyring
    words: Words
    on_events: OnEvents | None = None
    again: bool = False
    silences: SilenceJournal | None = None

    def merge(self, conn: PsycopgConnection, sources: Sequence[Source]) -> tuple[list[Outcome], list[Change]]:
        """Store the events of some bodies.

        Answers one outcome per body, and what began or ended of silence: the caller writes that down, at the end of the
        transaction.

        Args:
            conn: a connection in a transaction.
            sources: the bodies.

        Raises:
            SettlingError: ``on_events`` failed.
            BalanceError: what was stored is not there.
        """
        queries("erasure").share(conn)
        queries("ingest").hold_opt_ins(conn)
        context = queries("ingest").context(conn)
        reading = read(sources, context.pages, context.now)
        if context.any_erased:
            reading = self._without_erased(conn, reading)
        stage = Stage(self.keyring, context.pages)
        stage.add(reading.events, sources, self._learn(conn, context.pages, reading))
        if len(stage):
            stage.copy(conn)
            stored = self._store(conn, stage, reading.outcomes)
            changes = self._settle(conn, stage, stored, any_window=context.any_window, alone=len(sources) == 1)
            return reading.outcomes, changes
        return reading.outcomes, []

    def _learn(self, conn: PsycopgConnection, pages: dict[str, int], reading: Reading) -> Learned:
        heard = hear(conn, self.words, pages, reading.events)
        rules = choose(conn, pages, reading.events, heard)
        return Learned(met=meet(conn, pages, reading.events), heard=heard, rules=rules)

    def _without_erased(self, conn: PsycopgConnection, reading: Reading) -> Reading:
        """An erased person stays away: the event is counted, nothing of it is stored."""
        people = {(event.page_id, event.psid) for _, event in reading.events if event.psid is not None}
        hashes = {self.keyring.digest("psid", page, psid): (page, psid) for page, psid in people}
        found = queries("ingest").erased(conn, hashes=list(hashes))
        erased = {hashes[bytes(row.psid_hash)] for row in found}
        kept = []
        for owner, event in reading.events:
            if (event.page_id, event.psid) in erased:
                reading.outcomes[owner].erased += 1
            else:
                kept.append((owner, event))
        return Reading(kept, reading.outcomes)

    def _store(self, conn: PsycopgConnection, stage: Stage, outcomes: list[Outcome]) -> _Stored:
        """Merge in the one order of tables that every ingest keeps; topics were first."""
        queries("ingest").merge_subscribers(conn)
        tokens = list(queries("ingest").merge_tokens(conn)) if stage.met else []
        for row in tokens:
            outcome = outcomes[stage.owners[stage.place(row.fingerprint)]]
            outcome.new += 1
            outcome.optins_new += 1
        new = {stage.place(row.fingerprint): row.id for row in queries("ingest").merge_events(conn)}
        for place in new.keys() - stage.met.keys():
            outcomes[stage.owners[place]].new += 1
        return _Stored(new, tokens)

    def _settle(
        self, conn: PsycopgConnection, stage: Stage, stored: _Stored, *, any_window: bool, alone: bool
    ) -> list[Change]:
        new = stored.events
        changes = settle_words(conn, [new[place] for place in stage.heard if place in new])
        event_ids = sorted(new.values())
        if self.again:
            found = queries("ingest").stored(conn)
            if len(found.ids) != len(stage) or found.tokens_missing:
                raise BalanceError
            event_ids = sorted(found.ids)
        if self.on_events is not None and event_ids:
            _tell(self.on_events, conn, event_ids)
        # After the campaigns' rows, as senders take them before a page too.
        if any_window:
            settle_window(conn, stored.tokens, event_ids)
        lifted = {change.subscriber_id for change in changes if change.lifted}
        self._answer(conn, stage, new, lifted, alone=alone)
        pages = sorted({stage.policies[place] for place in new if place in stage.policies})
        if pages:
            queries("page").lock_pages(conn, ids=pages)
            list(queries("page").settle_policy(conn, ids=pages))
        return changes

    def _answer(
        self, conn: PsycopgConnection, stage: Stage, new: dict[int, int], lifted: set[int], *, alone: bool
    ) -> None:
        """An opt-in is worth more than its answer: a body whose answers fail is stored without them."""
        if not (stage.heard or stage.rules or stage.met):
            return
        if not alone:
            answer(conn, stage, self.words, new, lifted)
            return
        with conn.cursor() as cursor:
            cursor.execute("SAVEPOINT answers")
            try:
                answer(conn, stage, self.words, new, lifted)
            except Exception as error:
                if isinstance(error, PsycopgError) and not (error.pgcode or "").startswith(FAULTS_OF_VALUES):
                    raise
                cursor.execute("ROLLBACK TO answers")
                # The text of the error may hold what was in the body: only its kind is told.
                _log.error("events are stored but cannot be answered", error=type(error).__name__)


def _tell(on_events: OnEvents, conn: PsycopgConnection, event_ids: list[int]) -> None:
    try:
        on_events(conn, event_ids)
    except (OperationalError, InterfaceError):  # the database's trouble, not that of the events
        raise
    except PsycopgError as error:  # its text may quote rows
        state = error.pgcode or "unknown"
        raise SettlingError(f"What events say about campaigns was refused by Postgres (SQLSTATE {state}).") from None
    except Exception as error:
        raise SettlingError from error
