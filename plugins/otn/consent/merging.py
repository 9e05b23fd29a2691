"""One slice of webhooks into the tables, inside one transaction of the caller."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from psycopg2 import Error as PsycopgError
from psycopg2 import InterfaceError, OperationalError

from otn.consent.balance import BalanceError
from otn.consent.reading import Outcome, Reading, Source, read
from otn.consent.staging import Stage
from otn.consent.suppression import Words, settle_words
from otn.crypto import Keyring
from otn.database import PsycopgConnection, queries
from otn.errors import OtnError

OnEvents = Callable[[PsycopgConnection, list[int]], None]

_TOPIC_ROUNDS = 5


class SettlingError(OtnError):
    """What events say about campaigns could not be recorded. Look at the error that caused this one."""


class TopicRaceError(OtnError):
    """The topic of an opt-in could not be stored. Run the ingest again."""


@dataclass(frozen=True)
class Merger:
    """How slices are merged.

    Args:
        keyring: hashes and encrypts.
        words: stop and start words.
        on_events: is told the ids of stored events inside the transaction; None: nobody is.
        again: look at what is known too: every event and token must be there afterwards, and ``on_events`` is told of
            all of them.
    """

    keyring: Keyring
    words: Words
    on_events: OnEvents | None = None
    again: bool = False

    def merge(self, conn: PsycopgConnection, sources: Sequence[Source]) -> list[Outcome]:
        """Store the events of some bodies; answers one outcome per body.

        Args:
            conn: a connection in a transaction.
            sources: the bodies.

        Raises:
            SettlingError: ``on_events`` failed.
            BalanceError: what was stored is not there.
        """
        context = queries("ingest").context(conn)
        reading = read(sources, context.pages, context.now)
        if context.any_erased:
            reading = self._without_erased(conn, reading)
        stage = Stage(self.keyring, self.words, context.pages)
        stage.add(reading.events, sources)
        if len(stage):
            stage.copy(conn)
            self._store(conn, stage, reading.outcomes)
        return reading.outcomes

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

    def _store(self, conn: PsycopgConnection, stage: Stage, outcomes: list[Outcome]) -> None:
        """Merge in the one order of tables that every ingest keeps."""
        if stage.optins:
            _meet_topics(conn)
        queries("ingest").merge_subscribers(conn)
        if stage.optins:
            for row in queries("ingest").merge_tokens(conn):
                outcome = outcomes[stage.owners[stage.place(row.fingerprint)]]
                outcome.new += 1
                outcome.optins_new += 1
        new = {stage.place(row.fingerprint): row.id for row in queries("ingest").merge_events(conn)}
        for place in new.keys() - stage.optins:
            outcomes[stage.owners[place]].new += 1
        self._settle(conn, stage, new)

    def _settle(self, conn: PsycopgConnection, stage: Stage, new: dict[int, int]) -> None:
        settle_words(conn, [event_id for place, event_id in new.items() if place in stage.words])
        event_ids = sorted(new.values())
        if self.again:
            stored = queries("ingest").stored(conn)
            if len(stored.ids) != len(stage) or stored.tokens_missing:
                raise BalanceError
            event_ids = sorted(stored.ids)
        if self.on_events is not None and event_ids:
            _tell(self.on_events, conn, event_ids)
        # After the campaigns' rows, as senders take them before a page too.
        pages = sorted({stage.policies[place] for place in new if place in stage.policies})
        if pages:
            queries("page").lock_pages(conn, ids=pages)
            list(queries("page").settle_policy(conn, ids=pages))


def _meet_topics(conn: PsycopgConnection) -> None:
    for _ in range(_TOPIC_ROUNDS):
        if queries("ingest").meet_topics(conn) == 0:
            return
    raise TopicRaceError


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
