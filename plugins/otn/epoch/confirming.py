"""A person says that this database is the true one: whom it may have called without knowing is in doubt then."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from otn.database import DatabaseError, Engine, PsycopgConnection, queries, transaction
from otn.epoch import guard
from otn.epoch.file import EpochFile, Record, epoch_file
from otn.errors import UsageError

MOST_TRIES = 5
_DEADLOCK = "40P01"


class NothingToConfirmError(UsageError):
    """This database may send; there is nothing to confirm."""


class CallsAreMissingError(UsageError):
    """Calls are missing in this database, so something was lost."""


@dataclass(frozen=True)
class Confirmation:
    """What a confirmation does, or did.

    Args:
        reason: why nothing is sent.
        lost: calls, answers and stop words since the backup may be missing.
        missing: claims that the file knows of and the database does not.
        recipients: people of campaigns who wait and may have been called: in doubt, asked again with their token.
        messages: cards and answers that may have been sent: in doubt for good, never sent again.
        halted: campaigns that were sending, and go on when somebody triggers them, as ``page/key``.
        unplanned: campaigns without recipients; they may have been sent since the backup, as ``page/key``.
    """

    reason: str
    lost: bool
    missing: int
    recipients: int
    messages: int
    halted: tuple[str, ...]
    unplanned: tuple[str, ...]


def look(engine: Engine, *, nothing_lost: bool = False, environ: Mapping[str, str] | None = None) -> Confirmation:
    """What a confirmation would do; changes nothing.

    Args:
        engine: the project's database.
        nothing_lost: the database was moved while nothing was sent: nobody is in doubt.
        environ: where the file's name stands; the process's environment by default.

    Raises:
        NothingToConfirmError: it may send.
        CallsAreMissingError: nothing was said to be lost, and calls are missing.
    """
    with transaction(engine) as connection:
        row, reason, record = guard.look(connection, epoch_file(environ))
        until = _until(connection, row, record)
        return _look(connection, row, reason, record, until=until, nothing_lost=nothing_lost)


def confirm(
    engine: Engine, *, actor: str, reason: str, nothing_lost: bool = False, environ: Mapping[str, str] | None = None
) -> Confirmation:
    """Adopt this database; whoever waits in it is in doubt, unless nothing was lost.

    Args:
        engine: the project's database.
        actor: who, for the audit.
        reason: why, for the audit.
        nothing_lost: as ``look`` has it.
        environ: likewise.

    Raises:
        NothingToConfirmError: it may send.
        CallsAreMissingError: nothing was said to be lost, and calls are missing.
        EpochFileError: the file cannot be written; nothing was changed.
    """
    tries = 0
    while True:
        try:
            return _confirm(engine, epoch_file(environ), actor=actor, reason=reason, nothing_lost=nothing_lost)
        except DatabaseError as error:
            # A claim under way holds its rows and waits for the epoch, which is held here: Postgres ends one of both.
            tries += 1
            if error.sqlstate != _DEADLOCK or tries == MOST_TRIES:
                raise


def _confirm(engine: Engine, file: EpochFile | None, *, actor: str, reason: str, nothing_lost: bool) -> Confirmation:
    with transaction(engine) as connection:
        row = queries("epoch").hold(connection)
        why, record = guard.judge(row, file)
        until = _until(connection, row, record)
        done = _look(connection, row, why, record, until=until, nothing_lost=nothing_lost)
        if done.lost:
            halted = "The database was restored from a backup: trigger it again with the same key to go on."
            queries("epoch").halt_campaigns(connection, reason=halted, actor=actor)
            queries("epoch").doubt_recipients(connection)
            queries("epoch").doubt_messages(connection, until=until)
        number = max(row.number, record.number if record else 0) + 1
        queries("epoch").adopt(
            connection, number=number, filed=file is not None, restored_at=until if done.lost else None
        )
        detail = {**asdict(done), "said": reason}
        queries("campaign").write_audit(
            connection,
            actor=actor,
            action="sending confirmed",
            page_id=None,
            campaign_id=None,
            detail=json.dumps(detail),
        )
        # The file last: a crash before the commit leaves a database that is still halted, and a file that knows this
        # number for no claim.
        if file:
            file.adopt(number, row.here)
    return done


def _look(
    connection: PsycopgConnection,
    row: Any,
    reason: str | None,
    record: Record | None,
    *,
    until: datetime,
    nothing_lost: bool,
) -> Confirmation:
    if reason is None:
        raise NothingToConfirmError
    missing = max(0, record.last_call - row.number) if record else 0
    if nothing_lost and missing:
        raise CallsAreMissingError(
            f"{missing} claims with calls are missing in this database, so it was restored from a backup. Leave"
            " --nothing-lost out."
        )
    counted = queries("epoch").count_doubts(connection, until=until)
    campaigns = list(queries("epoch").campaigns_to_look_at(connection))
    return Confirmation(
        reason=reason,
        lost=not nothing_lost,
        missing=missing,
        recipients=0 if nothing_lost else counted.recipients,
        messages=0 if nothing_lost else counted.messages,
        halted=tuple(f"{one.page}/{one.key}" for one in campaigns if one.planned and not nothing_lost),
        unplanned=tuple(f"{one.page}/{one.key}" for one in campaigns if not one.planned and not nothing_lost),
    )


def _until(connection: PsycopgConnection, row: Any, record: Record | None) -> datetime:
    """Up to when calls may be missing.

    A database has made none since it was halted. The halt of a backup that was made meanwhile says nothing of the calls
    after its confirmation; and whether this is one, only the file tells.
    """
    still = record is not None and row.halt_number is not None and record.last_call <= row.halt_number
    moment: datetime = row.halted_at if still and row.halted_at else queries("epoch").now(connection)
    return moment
