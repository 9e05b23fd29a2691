"""Ingest: stored webhooks become people, tokens and events. Each event once, and none of them lost."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from datetime import date
from typing import Any, TypeVar

import structlog
from sqlalchemy.exc import SQLAlchemyError

from otn.consent.silence import silence_journal, write_down
from otn.consent.suppression import read_words
from otn.crypto import DecryptionError, Keyring
from otn.database import DatabaseError, Engine, PsycopgConnection, queries, transaction
from otn.intake.balance import Balance, BalanceError, IncompleteError
from otn.intake.merging import FAULTS_OF_VALUES, Merger, OnEvents, SettlingError
from otn.intake.reading import Outcome, Refusal, Source
from otn.intake.webhooks import Webhook, balance_of, figures, keep_refusals, mark, settle_quarantine, webhook_of

__all__ = ["OnEvents", "Progress", "ingest_pending", "reingest_day"]

Progress = Callable[[Balance], None]
Take = Callable[[PsycopgConnection, tuple[date, str], int], Iterable[Any]]
T = TypeVar("T")

SLICE_BYTES = 8 * 1024 * 1024  # encrypted; a body may have 5 MB, and a slice lives in memory several times over
DEADLOCK_TRIES = 5
MOST_FAILURES = 100  # so many bodies that fail are not poisoned: something is broken, and quarantine is no cure
_ROLLED_BACK = {"40001", "40P01"}  # serialization failure, deadlock
_BEFORE_ALL = (date.min, str(uuid.UUID(int=0)))

_log = structlog.get_logger("otn.ingest")


def ingest_pending(
    engine: Engine,
    keyring: Keyring,
    *,
    on_events: OnEvents | None = None,
    slice_size: int = 1000,
    limit: int | None = None,
    progress: Progress | None = None,
) -> Balance:
    """Ingest every webhook that is stored and not yet ingested, whatever its day; several may run side by side.

    One transaction a slice. What cannot be read goes to quarantine; what cannot be decrypted stays pending and is
    told at the end, after everything else was ingested.

    Args:
        engine: the database.
        keyring: keys of bodies, tokens and hashes.
        on_events: is told the ids of new events inside the transaction that stored them.
        slice_size: webhooks in one transaction at most.
        limit: webhooks in all at most, those that stay pending not counted; None: all.
        progress: is told the balance so far after each slice.

    Raises:
        IncompleteError: some webhooks stay pending; the sentence says why.
    """
    work = _Ingest(
        engine, Merger(keyring, read_words(), on_events, silences=silence_journal(keyring=keyring)), progress
    )

    def take(conn: PsycopgConnection, after: tuple[date, str], most: int) -> Iterable[Any]:
        key = {"after_day": after[0], "after_id": after[1]}
        rows: Iterable[Any] = queries("webhook").take_pending(conn, **key, most=most, most_bytes=SLICE_BYTES)
        return rows

    return work.run(take, slice_size, limit)


def reingest_day(
    engine: Engine,
    keyring: Keyring,
    day: date,
    on_events: OnEvents | None = None,
    *,
    slice_size: int = 1000,
    progress: Progress | None = None,
) -> Balance:
    """Ingest the webhooks of a day again; harmless, and heals what is missing.

    Afterwards every event of the day and the token of every opt-in is stored. ``on_events`` is told of all of them,
    known or new. Figures of webhooks that were ingested before change only where something new came in.

    Args:
        engine: the database.
        keyring: keys of bodies, tokens and hashes.
        day: day of receipt, in UTC.
        on_events: is told the ids of the events of each slice, inside its transaction.
        slice_size: webhooks in one transaction at most.
        progress: is told the balance so far after each slice.

    Raises:
        BalanceError: what was received is not what was ingested, known or quarantined.
        IncompleteError: some webhooks could not be read; the sentence says why.
    """
    merger = Merger(keyring, read_words(), on_events, again=True, silences=silence_journal(keyring=keyring))
    work = _Ingest(engine, merger, progress)

    def take(conn: PsycopgConnection, after: tuple[date, str], most: int) -> Iterable[Any]:
        rows: Iterable[Any] = queries("webhook").take_day(
            conn, day=day, after_id=after[1], most=most, most_bytes=SLICE_BYTES
        )
        return rows

    return work.run(take, slice_size, None)


class _Ingest:
    """One run over webhooks."""

    def __init__(self, engine: Engine, merger: Merger, progress: Progress | None) -> None:
        self._engine = engine
        self._merger = merger
        self._progress = progress
        self._balance = Balance()
        self._locked: set[tuple[date, str]] = set()
        self._failures: list[Exception] = []
        self._poisoned = 0

    def run(self, take: Take, slice_size: int, limit: int | None) -> Balance:
        after, left = _BEFORE_ALL, limit
        while left is None or left > 0:
            stuck = self._stuck
            keys = self._slice(take, after, slice_size if left is None else min(slice_size, left))
            if not keys:
                break
            after = keys[-1]
            if left is not None:  # those that stay pending come first at the next look too: nothing may starve behind
                left -= len(keys) - (self._stuck - stuck)
            if self._progress is not None:
                self._progress(self._balance)
        self._complain()
        return self._balance

    @property
    def _stuck(self) -> int:
        """Webhooks that were looked at and stay pending."""
        return len(self._locked) + len(self._failures)

    def _slice(self, take: Take, after: tuple[date, str], most: int) -> list[tuple[date, str]]:
        keys: list[tuple[date, str]] = []

        def work(conn: PsycopgConnection) -> Balance:
            queries("webhook").walk_by_index(conn)
            webhooks = [webhook_of(row) for row in take(conn, after, most)]
            queries("webhook").walk_freely(conn)
            keys[:] = [webhook.key for webhook in webhooks]
            return self._store(conn, webhooks)

        try:
            self._balance += self._in_transaction(work)
        except Exception as error:
            if _is_fatal(error) or not keys:
                raise
            # One of them spoils the slice: each on its own, so that it spoils nothing but itself.
            for key in keys:
                self._single(*key)
        return keys

    def _single(self, day: date, webhook_id: str) -> None:
        def work(conn: PsycopgConnection) -> Balance:
            row = queries("webhook").take_one(conn, day=day, id=webhook_id, again=self._merger.again)
            return self._store(conn, [webhook_of(row)] if row is not None else [])

        try:
            self._balance += self._in_transaction(work)
        except Exception as error:
            if _is_fatal(error):
                raise
            # The text of the error may hold what was in the body: only its kind is told.
            _log.error("webhook cannot be ingested", day=str(day), id=webhook_id, error=type(error).__name__)
            if isinstance(error, SettlingError) or self._merger.again:
                self._failures.append(error)
            else:
                self._set_aside(day, webhook_id, error)
            if len(self._failures) + self._poisoned > MOST_FAILURES:
                self._complain()
                raise

    def _in_transaction(self, work: Callable[[PsycopgConnection], T]) -> T:
        for _ in range(DEADLOCK_TRIES - 1):
            try:
                with transaction(self._engine) as conn:
                    return work(conn)
            except DatabaseError as error:
                if error.sqlstate not in _ROLLED_BACK:
                    raise
                # Somebody keeps another order of locks: nothing was stored, and it may be tried again at once.
                _log.warning("rolled back by Postgres, tried again", sqlstate=error.sqlstate)
        with transaction(self._engine) as conn:
            return work(conn)

    def _store(self, conn: PsycopgConnection, taken: list[Webhook]) -> Balance:
        webhooks, sources = self._opened(taken)
        if not webhooks:
            return Balance()
        outcomes, changes = self._merger.merge(conn, sources)
        after = [figures(webhook, outcome) for webhook, outcome in zip(webhooks, outcomes, strict=True)]
        keep_refusals(conn, self._merger.keyring, [webhook.key for webhook in webhooks], outcomes)
        if self._merger.again:
            settle_quarantine(conn, webhooks, outcomes, after)
        mark(conn, after)
        balance = balance_of(outcomes, after)
        if not balance.holds:
            raise BalanceError
        write_down(conn, self._merger.silences, changes)
        return balance

    def _opened(self, taken: list[Webhook]) -> tuple[list[Webhook], list[Source]]:
        webhooks, sources = [], []
        for webhook in taken:
            try:
                body = self._merger.keyring.decrypt(webhook.body, "webhook")
            except DecryptionError:
                self._locked.add(webhook.key)
            else:
                webhooks.append(webhook)
                sources.append(Source(webhook.received_day, webhook.id, body))
        return webhooks, sources

    def _set_aside(self, day: date, webhook_id: str, error: Exception) -> None:
        """A body on which ingest itself fails goes to quarantine as a whole, so that it is not tried each minute."""
        self._poisoned += 1

        def work(conn: PsycopgConnection) -> Balance:
            row = queries("webhook").take_one(conn, day=day, id=webhook_id, again=False)
            webhooks, sources = self._opened([webhook_of(row)] if row is not None else [])
            if not webhooks:
                return Balance()
            refusal = Refusal("body", f"ingest failed on it: {type(error).__name__}", sources[0].body)
            outcome = Outcome(received=1, refusals=[refusal])
            keep_refusals(conn, self._merger.keyring, [webhooks[0].key], [outcome])
            after = [figures(webhooks[0], outcome)]
            mark(conn, after)
            return balance_of([outcome], after)

        self._balance += self._in_transaction(work)

    def _complain(self) -> None:
        if self._failures:
            failed, first = len(self._failures), self._failures[0]
            raise IncompleteError(
                f"{failed} webhooks could not be ingested ({type(first.__cause__ or first).__name__}); everything else"
                " was. They stay as they were: correct the error and run this again.",
                self._balance,
            ) from first
        if self._locked:
            raise IncompleteError(
                f"{len(self._locked)} webhooks cannot be decrypted; everything else was ingested. They stay as they"
                " were: put the key that they were written with back into OTN_ENCRYPTION_KEYS and run this again.",
                self._balance,
            )


def _is_fatal(error: Exception) -> bool:
    """Whether no other body would fare better: the database is away, or it or the code is not what it should be."""
    if isinstance(error, DatabaseError):
        return not (error.sqlstate or "").startswith(FAULTS_OF_VALUES)
    return isinstance(error, (SQLAlchemyError, BalanceError))
