"""Purge: what has served its purpose goes. Safe twice and at once; nobody waits for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from typing import TypeVar

from psycopg2 import sql

from otn.crypto import Keyring
from otn.database import DatabaseError, Engine, PsycopgConnection, queries, transaction
from otn.privacy.erasure import forget_late
from otn.privacy.redaction import redact
from otn.privacy.retention import KEEP_QUARANTINE_DAYS, Retention

T = TypeVar("T")

PARTITIONS_AHEAD = 8  # days, today among them
LOCK_TRIES = 3
_LOCK_NOT_AVAILABLE = "55P03"


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
        texts_forgotten: messages sent inside the 24 h window whose text is gone.
        bodies_redacted: raw webhooks that were looked through for what people wrote.
        proofs_deleted: opt-ins whose proof is no longer needed.
        proofs_scrubbed: of those, the ones that figures rest on: only their times are left.
        requests_deleted: deletion requests that were done long ago.
        people_deleted: people of whom nothing is left.
        late_forgotten: rows that calls under way had left behind of erased people.
    """

    tokens_wiped: int = 0
    partitions_dropped: tuple[date, ...] = ()
    raw_deleted: int = 0
    kept_pending: dict[date, int] = field(default_factory=dict)
    kept_busy: tuple[date, ...] = ()
    events_deleted: int = 0
    quarantine_deleted: int = 0
    partitions_made: int = 0
    texts_forgotten: int = 0
    bodies_redacted: int = 0
    proofs_deleted: int = 0
    proofs_scrubbed: int = 0
    requests_deleted: int = 0
    people_deleted: int = 0
    late_forgotten: int = 0


def purge(
    engine: Engine,
    kept: Retention | None = None,
    *,
    keyring: Keyring | None = None,
    batch: int = 5000,
    progress: Callable[[str, int], None] | None = None,
) -> PurgeResult:
    """Let go of everything past its retention, and make partitions ahead.

    No token of an unfinished recipient is touched, and no raw webhook that was not ingested.

    Args:
        engine: the database.
        kept: for how long things stay; the defaults where not given.
        keyring: opens raw webhooks to take people's words out; None: that part is left out.
        batch: rows in one transaction at most.
        progress: is told after each transaction what went, and how many of it.
    """
    kept = kept or Retention()
    tell = progress or _silent
    work = _Purge(engine, batch, tell)
    made = work.make_partitions()
    wiped = work.wipe_tokens()
    dropped, busy = work.drop_partitions(kept.raw_days)
    deleted = work.delete("raw webhooks", "delete_raw_of_default", keep_days=kept.raw_days)
    events = work.delete("events", "delete_events", keep_days=kept.event_days)
    quarantined = work.delete(
        "quarantined items", "delete_quarantine", keep_days=KEEP_QUARANTINE_DAYS, keep_replayed_days=kept.raw_days
    )
    with transaction(engine) as conn:
        pending = {
            row.day: row.pending for row in queries("purge").pending_past_retention(conn, keep_days=kept.raw_days)
        }
    return PurgeResult(
        tokens_wiped=wiped,
        partitions_dropped=dropped,
        raw_deleted=deleted,
        kept_pending=pending,
        kept_busy=busy,
        events_deleted=events,
        quarantine_deleted=quarantined,
        partitions_made=made,
        texts_forgotten=work.delete("texts of answers", "forget_texts", keep_days=kept.text_days),
        bodies_redacted=redact(engine, keyring, kept, tell) if keyring is not None else 0,
        # Tokens before people: whoever loses the last one may go too.
        proofs_deleted=work.delete("proofs", "delete_proofs", keep_days=kept.proof_days),
        proofs_scrubbed=work.delete("proofs", "scrub_proofs", keep_days=kept.proof_days),
        requests_deleted=work.delete("deletion requests", "delete_requests", keep_days=kept.proof_days),
        people_deleted=work.delete("people", "delete_people", alone=True, keep_days=kept.proof_days),
        late_forgotten=forget_late(engine),
    )


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

    def delete(self, what: str, query: str, *, alone: bool = False, **parameters: int) -> int:
        """Run a query until it finds nothing; ``alone``: while nobody stores people."""
        deleted = 0
        while True:
            with transaction(self._engine) as conn:
                if alone:
                    queries("erasure").exclude(conn)
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
