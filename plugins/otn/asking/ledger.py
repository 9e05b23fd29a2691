"""Claiming window messages before their call and recording what came back: the only two doors to their state."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from otn.asking.answers import Answer
from otn.database import DatabaseError, Engine, PsycopgConnection, queries, transaction
from otn.epoch import guard

RECORD_SECONDS = 300.0  # an answer in hand is worth waiting for a database that comes back

_log = structlog.get_logger("otn.asking")


@dataclass(frozen=True)
class Claimed:
    """A message that this process may send now.

    Args:
        id: ``otn.window_message.id``.
        attempt_id: fresh; travels as the message's metadata.
        attempts: calls of this message, this one included.
        psid: whom it goes to.
        card: a request card, which goes as it stands; a message may hold personal fields.
        message: as it was frozen.
        variables: the person's fields.
    """

    id: int
    attempt_id: str
    attempts: int
    psid: str = field(repr=False)
    card: bool
    message: dict[str, Any] = field(repr=False)
    variables: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Claims:
    """What one claim yielded.

    Args:
        rows: to be called.
        skipped: rows that may not be sent any more; they say why.
        lease_end: moment (``time.monotonic``) at which the lease of the rows ends, seen from before the claim.
        turn: to be kept before the call.
    """

    rows: list[Claimed]
    skipped: int
    lease_end: float
    turn: guard.Turn


def claim(engine: Engine, page_row_id: int, *, asks: bool, most: int, lease_s: float, sender: str) -> Claims:
    """Claim messages; the intent is committed when this returns.

    Args:
        engine: the project's database.
        page_row_id: ``otn.page.id``.
        asks: cards of asks; False: answers.
        most: messages at most.
        lease_s: seconds that they belong to this process.
        sender: who, for the attempt log.

    Raises:
        SendingHaltedError: the database may have been restored; nothing was claimed.
        EpochFileError: nothing may be sent from here; nothing was claimed.
    """
    before = time.monotonic()
    with guard.turn(engine) as turn:
        connection = turn.connection
        held = [row.id for row in queries("window").hold(connection, page_id=page_row_id, asks=asks, most=most)]
        rows = list(
            queries("window").claim(connection, page_id=page_row_id, ids=held, lease_s=lease_s, sender=sender)
            if held
            else ()
        )
        turn.calls = any(row.attempt_id is not None for row in rows)
    claimed = [Claimed(**row._asdict()) for row in rows if row.attempt_id is not None]
    return Claims(claimed, len(rows) - len(claimed), before + lease_s, turn)


def record(
    engine: Engine, page_row_id: int, answers: Sequence[Answer], *, sender: str, page_reason: str | None = None
) -> dict[str, int]:
    """Write the answers of one call, and halt the page if it was refused itself: one transaction.

    The database may be away: an answer in hand is kept and tried again, as written twice it changes nothing twice.

    Args:
        engine: the project's database.
        page_row_id: ``otn.page.id``.
        answers: at most one per attempt.
        sender: who, for the attempt log.
        page_reason: the platform refused the page: halt it, with this reason.

    Returns:
        Messages by the state that they went to.

    Raises:
        DatabaseError: it could not be written within five minutes. The messages become unknown when their lease ends.
    """
    give_up = time.monotonic() + RECORD_SECONDS
    pause = 0.2
    while True:
        try:
            with transaction(engine) as connection:
                return _record(connection, page_row_id, answers, sender, page_reason)
        except DatabaseError as error:
            if not error.passing or time.monotonic() + pause > give_up:
                _log.error("answers could not be recorded", answers=len(answers), sqlstate=error.sqlstate)
                raise
            _log.warning("recording failed and is tried again", answers=len(answers), in_s=pause)
            time.sleep(pause)
            pause = min(pause * 2, 10.0)


def _record(
    connection: PsycopgConnection, page_row_id: int, answers: Sequence[Answer], sender: str, page_reason: str | None
) -> dict[str, int]:
    rows = json.dumps([answer.row() for answer in answers])
    states = {row.state: int(row.rows) for row in queries("window").record(connection, answers=rows, sender=sender)}
    if page_reason and queries("campaign").halt_page(connection, page_id=page_row_id, reason=page_reason):
        queries("campaign").write_audit(
            connection,
            actor="platform",
            action="page halted",
            page_id=page_row_id,
            campaign_id=None,
            detail=json.dumps({"reason": page_reason}),
        )
    return states
