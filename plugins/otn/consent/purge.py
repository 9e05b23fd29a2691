"""Purge: what has served its purpose goes. Safe twice and at once; nobody waits for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from typing import TypeVar

from psycopg2 import sql

from otn.database import DatabaseError, Engine, PsycopgConnection, queries, transaction
from otn.errors import ConfigurationError

T = TypeVar("T")

KEEP_RAW_DAYS = 30
KEEP_EVENT_DAYS = 90
KEEP_QUARANTINE_DAYS = 366  # a token lives a year at most (Meta docs, One-Time Notification)
PARTITIONS_AHEAD = 8  # days, today among them
LOCK_TRIES = 3
_LOCK_NOT_AVAILABLE = "55P03"


@dataclass(frozen=True)
class Retention:
    """For how long things are kept.

    Args:
        raw_days: raw webhooks, and quarantined items after their replay.
        event_days: normalised events; at least as long as raw webhooks, or a second ingest would bring them back.
    """

    raw_days: int = KEEP_RAW_DAYS
    event_days: int = KEEP_EVENT_DAYS


@dataclass(frozen=True)
class PurgeResult:
    """What a purge did.

    Args:
        tokens_wiped: expired tokens whose text is gone.
        partitions_dropped: days of raw webhooks that are gone.
        raw_deleted: raw webhooks deleted one by one, of days without a partition.
        kept_pending: days past retention that were kept, and how many of their webhooks were never ingested.
        kept_busy: days past retention whose lock could not be had; the next purge drops them.
        events_deleted: normalised events.
        quarantine_deleted: quarantined items.
        partitions_made: days made ahead.
    """

    tokens_wiped: int = 0
    partitions_dropped: tuple[date, ...] = ()
    raw_deleted: int = 0
    kept_pending: dict[date, int] = field(default_factory=dict)
    kept_busy: tuple[date, ...] = ()
    events_deleted: int = 0
    quarantine_deleted: int = 0
    partitions_made: int = 0


def read_retention(environ: Mapping[str, str] | None = None) -> Retention:
    """Read ``OTN_KEEP_RAW_DAYS`` and ``OTN_KEEP_EVENT_DAYS``.

    Args:
        environ: the environment; the process's own by default.

    Raises:
        ConfigurationError: one is no number of days, or events would go before their raw webhooks.
    """
    values = os.environ if environ is None else environ
    raw = _days(values, "OTN_KEEP_RAW_DAYS", KEEP_RAW_DAYS)
    events = _days(values, "OTN_KEEP_EVENT_DAYS", max(KEEP_EVENT_DAYS, raw))
    _check(raw, events)
    return Retention(raw, events)


def _days(values: Mapping[str, str], name: str, default: int) -> int:
    text = values.get(name, "").strip() or str(default)
    if not text.isdecimal() or not 1 <= int(text) <= 36_500:
        raise ConfigurationError(f"{name} is {text!r}. Give a number of days, 1 or more.")
    return int(text)


def _check(raw_days: int, event_days: int) -> None:
    if event_days < raw_days:
        raise ConfigurationError(
            f"Events would be kept for {event_days} days, raw webhooks for {raw_days}. Keep events at least as long, or"
            " a second ingest of a day would count them as new."
        )


def purge(
    engine: Engine,
    *,
    keep_raw_days: int = KEEP_RAW_DAYS,
    keep_event_days: int = KEEP_EVENT_DAYS,
    batch: int = 5000,
    progress: Callable[[str, int], None] | None = None,
) -> PurgeResult:
    """Wipe expired tokens, drop old raw webhooks, events and quarantine, and make partitions ahead.

    No token of an unfinished recipient is touched, and no raw webhook that was not ingested.

    Args:
        engine: the database.
        keep_raw_days: days for which raw webhooks stay.
        keep_event_days: days for which normalised events stay.
        batch: rows in one transaction at most.
        progress: is told after each transaction what went, and how many of it.

    Raises:
        ConfigurationError: events would go before their raw webhooks.
    """
    _check(keep_raw_days, keep_event_days)
    work = _Purge(engine, batch, progress or _silent)
    made = work.make_partitions()
    wiped = work.wipe_tokens()
    dropped, busy = work.drop_partitions(keep_raw_days)
    deleted = work.delete("raw webhooks", "delete_raw_of_default", keep_days=keep_raw_days)
    events = work.delete("events", "delete_events", keep_days=keep_event_days)
    quarantined = work.delete(
        "quarantined items", "delete_quarantine", keep_days=KEEP_QUARANTINE_DAYS, keep_replayed_days=keep_raw_days
    )
    with transaction(engine) as conn:
        pending = {
            row.day: row.pending for row in queries("purge").pending_past_retention(conn, keep_days=keep_raw_days)
        }
    return PurgeResult(wiped, dropped, deleted, pending, busy, events, quarantined, made)


def _silent(_what: str, _count: int) -> None:
    pass


class _Purge:
    """One run of the purge."""

    def __init__(self, engine: Engine, batch: int, progress: Callable[[str, int], None]) -> None:
        self._engine = engine
        self._batch = batch
        self._progress = progress

    def make_partitions(self) -> int:
        made = self._under_lock(lambda conn: int(queries("purge").make_partitions(conn, days=PARTITIONS_AHEAD)))
        return made or 0

    def wipe_tokens(self) -> int:
        wiped = after_id = 0
        while True:
            with transaction(self._engine) as conn:
                rows = queries("purge").lock_expired_tokens(conn, after_id=after_id, most=self._batch)
                ids = [row.id for row in rows]
                count = queries("purge").wipe_tokens(conn, ids=ids) if ids else 0
            if not ids:
                return wiped
            wiped, after_id = wiped + count, ids[-1]
            self._progress("tokens", count)

    def drop_partitions(self, keep_days: int) -> tuple[tuple[date, ...], tuple[date, ...]]:
        """Drop the days past retention; answers those dropped, and those whose lock could not be had."""
        with transaction(self._engine) as conn:
            found = list(queries("purge").raw_partitions(conn, keep_days=keep_days))
        dropped, busy = [], []
        for row in found:
            if self._pending(row.day):
                continue
            gone = self._under_lock(partial(_drop, name=row.name, day=row.day))
            if gone is None:
                busy.append(row.day)
            elif gone:
                dropped.append(row.day)
                self._progress("days of raw webhooks", 1)
        return tuple(dropped), tuple(busy)

    def _pending(self, day: date) -> int:
        with transaction(self._engine) as conn:
            return int(queries("purge").count_pending_of_day(conn, day=day))

    def delete(self, what: str, query: str, **parameters: int) -> int:
        deleted = 0
        while True:
            with transaction(self._engine) as conn:
                count = int(getattr(queries("purge"), query)(conn, most=self._batch, **parameters))
            if not count:
                return deleted
            deleted += count
            self._progress(what, count)

    def _under_lock(self, work: Callable[[PsycopgConnection], T]) -> T | None:
        for _ in range(LOCK_TRIES):
            try:
                with transaction(self._engine) as conn:
                    queries("purge").limit_waiting(conn)
                    return work(conn)
            except DatabaseError as error:
                if error.sqlstate != _LOCK_NOT_AVAILABLE:
                    raise
        return None


def _drop(conn: PsycopgConnection, name: str, day: date) -> bool:
    queries("purge").lock_raw(conn)
    if not queries("purge").partition_exists(conn, name=name):
        return False
    if queries("purge").count_pending_of_day(conn, day=day):
        return False
    with conn.cursor() as cursor:
        cursor.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier("otn", name)))
    return True
