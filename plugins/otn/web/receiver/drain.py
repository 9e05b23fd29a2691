"""From the spool into Postgres: in order, in batches, and nothing is deleted before it is committed."""

from __future__ import annotations

import time
from enum import Enum

import structlog

from otn.web.receiver.store import Store
from otn.web.spool import Adopted, Spool

MOST = 500  # receipts in one transaction
MOST_WHEN_PROBING = 50
MOST_BYTES = 4_000_000
FORGET_SECONDS = 3_600.0
_log = structlog.get_logger("otn.receiver")


class Step(Enum):
    """How one step ended."""

    FAILED = "failed"
    IDLE = "idle"
    MOVED = "moved"


class Drain:
    """Carries receipts over, batch by batch. For one thread.

    Args:
        store: where to.
        spool: where from.
    """

    def __init__(self, store: Store, spool: Spool) -> None:
        self._store = store
        self._spool = spool
        self._segment: Adopted | None = None
        self._forgotten_at = -FORGET_SECONDS

    def step(self, *, probing: bool) -> Step:
        """Carry one batch over.

        Args:
            probing: the database is taken to be away; a small batch, or a question, finds out.
        """
        try:
            return self._step(probing=probing)
        except OSError as error:
            _log.error("the spool cannot be emptied", error=error.strerror)
            return Step.FAILED

    def _step(self, *, probing: bool) -> Step:
        if self._segment is None:
            self._segment = self._spool.oldest()
        if self._segment is None:
            self._forget()
            return Step.IDLE if not probing or self._store.ready() else Step.FAILED
        batch = self._segment.take(MOST_WHEN_PROBING if probing else MOST, MOST_BYTES)
        if batch and not self._store.keep(batch):
            return Step.FAILED
        self._segment.drop(len(batch))
        if not self._segment.left:
            self._segment.remove()
            self._segment = None
        return Step.MOVED

    def leave(self) -> None:
        """Leave a half-emptied segment to the next receiver: what it stores again is one row all the same."""
        if self._segment is not None:
            self._segment.release()
            self._segment = None

    def _forget(self) -> None:
        if time.monotonic() - self._forgotten_at >= FORGET_SECONDS:
            self._forgotten_at = time.monotonic()
            self._spool.forget_set_aside()
