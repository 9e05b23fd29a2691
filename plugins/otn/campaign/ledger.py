"""Claiming rows before a call and recording what came back: the only two doors to a recipient's state."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from otn.campaign import control, stop_rules
from otn.campaign.answers import Answer
from otn.database import DatabaseError, Engine, PsycopgConnection, queries, transaction
from otn.epoch import guard

log = logging.getLogger(__name__)

RECORD_SECONDS = 300.0  # an answer in hand is worth waiting for a database that comes back


@dataclass(frozen=True)
class Claimed:
    """A row that this process may call now.

    Args:
        subscriber_id: ``otn.subscriber.id``.
        attempt_id: fresh; travels as the message's metadata.
        attempts: calls of this row, this one included.
        variables: personal fields, frozen at planning.
        token_encrypted: the token, sealed.
    """

    subscriber_id: int
    attempt_id: str
    attempts: int
    variables: dict[str, Any]
    token_encrypted: bytes


@dataclass(frozen=True)
class Claims:
    """What one claim yielded.

    Args:
        rows: to be called.
        passed_over: rows that the gates held back (suppressed, token expired).
        lease_end: moment (``time.monotonic``) at which the lease of the rows ends, seen from before the claim.
        turn: to be kept before the first call.
    """

    rows: list[Claimed]
    passed_over: int
    lease_end: float
    turn: guard.Turn


class Source(Protocol):
    """Where a sender takes its rows from: a chunk of waiting ones, or the doubtful ones of the campaign."""

    @property
    def passed_over_as(self) -> str:
        """State of the rows that the gates hold back."""

    def is_due(self, connection: PsycopgConnection) -> bool:
        """Whether somebody may be called now."""

    def claim(self, connection: PsycopgConnection, most: int, lease_s: float, sender: str) -> Sequence[Any]:
        """Rows with a committed intent; gated ones come without an attempt id."""

    def next_due_s(self, connection: PsycopgConnection) -> float | None:
        """Seconds until somebody may be called; None: nobody is left."""


@dataclass
class WaitingChunk:
    """The waiting rows of one chunk, in rounds: whoever came back to waiting is called when the others have been.

    Args:
        campaign_id: ``otn.campaign.id``.
        chunk: number of the chunk.
        after: the person (``otn.subscriber.id``) whom this round has reached.
    """

    campaign_id: int
    chunk: int
    passed_over_as: str = "skipped"
    after: int = 0

    def is_due(self, connection: PsycopgConnection) -> bool:
        """Whether a row may be called now."""
        if self._is_due(connection):
            return True
        if not self.after:
            return False
        self.after = 0
        return self._is_due(connection)

    def claim(self, connection: PsycopgConnection, most: int, lease_s: float, sender: str) -> Sequence[Any]:
        """Claim waiting rows."""
        rows = list(
            queries("recipient").claim(
                connection,
                campaign_id=self.campaign_id,
                chunk=self.chunk,
                after=self.after,
                most=most,
                lease_s=lease_s,
                sender=sender,
            )
        )
        self.after = max((row.subscriber_id for row in rows), default=0)
        return rows

    def _is_due(self, connection: PsycopgConnection) -> bool:
        of = {"campaign_id": self.campaign_id, "chunk": self.chunk, "after": self.after}
        return bool(queries("recipient").is_due(connection, **of).due)

    def next_due_s(self, connection: PsycopgConnection) -> float | None:
        """Seconds until a row may be called."""
        row = queries("recipient").next_waiting(connection, campaign_id=self.campaign_id, chunk=self.chunk)
        return None if row.wait_s is None else float(row.wait_s)


@dataclass(frozen=True)
class Doubtful:
    """The unknown rows of a campaign; rows whose sender lost its lease become unknown first."""

    campaign_id: int
    passed_over_as: str = "unknown"

    def is_due(self, connection: PsycopgConnection) -> bool:
        """Whether a row may be asked about now."""
        queries("recipient").expire_leases(connection, campaign_id=self.campaign_id)
        return bool(queries("recipient").is_doubtful_due(connection, campaign_id=self.campaign_id).due)

    def claim(self, connection: PsycopgConnection, most: int, lease_s: float, sender: str) -> Sequence[Any]:
        """Claim unknown rows."""
        return list(
            queries("recipient").claim_doubtful(
                connection,
                campaign_id=self.campaign_id,
                most=most,
                lease_s=lease_s,
                sender=sender,
            )
        )

    def next_due_s(self, connection: PsycopgConnection) -> float | None:
        """Seconds until a row may be asked, or until another sender's lease ends."""
        row = queries("recipient").next_lease_end(connection, campaign_id=self.campaign_id)
        moments = [float(moment) for moment in (row.lease_s, row.ask_s) if moment is not None]
        return max(0.0, min(moments)) if moments else None


def claim(engine: Engine, source: Source, *, most: int, lease_s: float, sender: str) -> Claims:
    """Claim rows; the intent is committed when this returns.

    Args:
        engine: the project's database.
        source: where from.
        most: rows at most.
        lease_s: seconds that the rows belong to this process.
        sender: who, for the attempt log.

    Raises:
        SendingHaltedError: the database may have been restored; nothing was claimed.
        EpochFileError: nothing may be sent from here; nothing was claimed.
    """
    before = time.monotonic()
    with guard.turn(engine) as turn:
        rows = source.claim(turn.connection, most, lease_s, sender)
        turn.calls = any(row.attempt_id is not None for row in rows)
    claimed = [
        Claimed(row.subscriber_id, row.attempt_id, row.attempts, row.variables, bytes(row.token_encrypted))
        for row in rows
        if row.attempt_id is not None
    ]
    return Claims(claimed, len(rows) - len(claimed), before + lease_s, turn)


def renew(engine: Engine, campaign_id: int, rows: Sequence[Claimed], lease_s: float) -> set[int]:
    """Lengthen the lease of rows that are about to be called; answers whose (``subscriber_id``) lease still held."""
    with transaction(engine) as connection:
        renewed = queries("recipient").renew_leases(
            connection,
            campaign_id=campaign_id,
            lease_s=lease_s,
            subscriber_ids=[row.subscriber_id for row in rows],
            attempt_ids=[row.attempt_id for row in rows],
        )
        return {row.subscriber_id for row in renewed}


@dataclass(frozen=True)
class Recorded:
    """What recording a slice led to.

    Args:
        states: how many rows went where.
        window: the campaign's window after it.
        state: the campaign's state after it.
    """

    states: dict[str, int]
    window: stop_rules.Window
    state: str


def record(
    engine: Engine, campaign_id: int, answers: Sequence[Answer], *, sender: str, page_reason: str | None = None
) -> Recorded:
    """Write a slice's answers, count them for the stop rules, halt if they say so: one transaction.

    The database may be away: an answer in hand is kept and tried again, as written twice it changes nothing twice.

    Args:
        engine: the project's database.
        campaign_id: ``otn.campaign.id``.
        answers: at most one per attempt.
        sender: who, for the attempt log.
        page_reason: the platform refused the page: halt it, with this reason.

    Raises:
        DatabaseError: it could not be written within five minutes. The rows become unknown when their lease ends.
    """
    give_up = time.monotonic() + RECORD_SECONDS
    pause = 0.2
    while True:
        try:
            with transaction(engine) as connection:
                return _record(connection, campaign_id, answers, sender, page_reason)
        except DatabaseError as error:
            # Two settle the same token at the same moment: the second look sees who holds it.
            passing = error.passing or error.constraint == "recipient_token_once"
            if not passing or time.monotonic() + pause > give_up:
                log.exception("%d answers of campaign %d could not be recorded", len(answers), campaign_id)
                raise
            log.warning("recording %d answers failed; trying again in %.1f s", len(answers), pause)
            time.sleep(pause)
            pause = min(pause * 2, 10.0)


def _record(
    connection: PsycopgConnection, campaign_id: int, answers: Sequence[Answer], sender: str, page_reason: str | None
) -> Recorded:
    # The campaign's row is locked before recipients are, as in every other place: nobody waits in a circle.
    row = queries("recipient").window(connection, campaign_id=campaign_id)
    decided = list(
        queries("recipient").record(
            connection,
            campaign_id=campaign_id,
            sender=sender,
            answers=json.dumps([answer.row() for answer in answers]),
        )
    )
    fresh = {one.subscriber_id: one.state for one in decided}
    window = stop_rules.Window(
        float(row.max_refused), row.answered, row.refused, row.recent, row.content_run, row.content_error
    )
    stopped_by: str | None = None
    for answer in answers:
        letter = answer.letter(fresh[answer.subscriber_id]) if answer.subscriber_id in fresh else None
        if letter:
            window.add(letter, answer.content_error)
            # Looked at after each answer: what spoke in the middle of a slice has spoken.
            stopped_by = stopped_by or window.reason()
    queries("recipient").save_window(
        connection,
        campaign_id=campaign_id,
        answered=window.answered,
        refused=window.refused,
        recent=window.recent,
        content_run=window.content_run,
        content_error=window.content_error,
    )
    _raise_alarm(connection, row, sum(bool(one.spent_elsewhere) for one in decided))
    reason = page_reason or stopped_by
    if reason:
        control.halt(connection, row, reason, page=page_reason is not None)
    states: dict[str, int] = {}
    for one in decided:
        if one.state:
            states[one.state] = states.get(one.state, 0) + 1
    return Recorded(states, window, "halted" if reason and row.state == "sending" else row.state)


def _raise_alarm(connection: PsycopgConnection, row: Any, people: int) -> None:
    """A first attempt met a used token: somebody else spends this page's tokens."""
    if people:
        log.error("%d tokens had been spent elsewhere before this campaign tried them", people)
        queries("campaign").write_audit(
            connection,
            actor="platform",
            action="token_spent_elsewhere",
            page_id=row.page_id,
            campaign_id=row.id,
            detail=json.dumps({"people": people}),
        )
