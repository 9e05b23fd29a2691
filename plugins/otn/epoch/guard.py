"""The guard before each call: the database must be the one that has made all calls so far.

A claim counts the database's number up in its own transaction, compares it with the file before it commits, and brings
the file up to it before the first call. So a database that stands behind the file has forgotten calls, and a number
that is in the file already was given out by two databases.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from otn.database import DatabaseError, Engine, PsycopgConnection, queries, transaction
from otn.epoch.file import EpochFile, EpochFileBrokenError, EpochFileError, NumberTakenError, Record, epoch_file
from otn.errors import OtnError

log = logging.getLogger(__name__)

WAY_OUT = "Read docs/operations.md, Restore; then run `./otn sending confirm`."
HALT_PAUSES_S = (0.2, 1.0, 3.0)  # between the tries to halt; together far less than a lease
_ELSEWHERE = {
    "server": "it is on another server than it was",
    "timeline": "its server was promoted, or brought back to an earlier moment",
    "database": "it is a copy in another database of its server",
    "tables": "its tables were made anew, as by a dump that was restored",
}


class SendingHaltedError(OtnError):
    """Nothing is sent: the database may have been restored or cloned. Run `./otn sending confirm`."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"Nothing is sent: {reason} {WAY_OUT}")


@dataclass(frozen=True)
class State:
    """Whether this database may send.

    Args:
        number: claims that the database knows of.
        file: the file beside it; None: none is known here.
        filed_number: newest claim that the file knows of; None: there is nothing to be read.
        halted: why nothing is sent, as a sentence; None: it may send.
        doubt: what weakens the guard, as a sentence; None: nothing.
    """

    number: int
    file: EpochFile | None
    filed_number: int | None
    halted: str | None
    doubt: str | None = None


class Turn:
    """A claim's transaction, and the number that its calls go under.

    Args:
        connection: in that transaction.
        file: the epoch's file, where one is known.
    """

    def __init__(self, engine: Engine, connection: PsycopgConnection, file: EpochFile | None) -> None:
        self.connection = connection
        self.calls = True  # whoever claimed nothing sets it to False: then nothing is counted
        self._engine = engine
        self._file = file
        self._number: int | None = None

    def count(self) -> None:
        """Count the claim, as the last statement before its commit.

        Raises:
            SendingHaltedError: this is not the database that has made all calls so far.
            EpochFileError: the file cannot be read.
        """
        row = queries("epoch").hold(self.connection)
        reason, record = judge(row, self._file)
        if reason:
            raise SendingHaltedError(reason)
        if self._file and record is None:
            self._file.make(row.number, row.here)
        self._number = int(queries("epoch").advance(self.connection, filed=self._file is not None))

    def keep(self) -> None:
        """Bring the file up to the number: after the commit, before the first call.

        Raises:
            SendingHaltedError: another database has called under this number. There must be no call.
            EpochFileError: the file cannot be written. There must be no call.
        """
        if self._file is None or self._number is None:
            return
        try:
            self._file.call(self._number)
        except NumberTakenError:
            reason = "two databases have sent under the same number: one of them was restored while the other sent."
            self._halt(reason)
            raise SendingHaltedError(reason) from None
        except EpochFileBrokenError:
            raise EpochFileError(f"The file {self._file.path} was overwritten while it was in use.") from None

    def _halt(self, reason: str) -> None:
        """Halt all sending, or log that it could not be: the rows of the claim must be given back all the same."""
        for pause in HALT_PAUSES_S:
            try:
                halt(self._engine, reason, self._file)
            except DatabaseError as error:
                log.warning("the halt could not be written (%s): %s", error.sqlstate, reason)
                time.sleep(pause)
            else:
                return


@contextmanager
def turn(engine: Engine, environ: Mapping[str, str] | None = None) -> Iterator[Turn]:
    """The transaction of a claim. It is rolled back where this database must not send, and all sending is halted.

    Args:
        engine: the project's database.
        environ: where the file's name stands; the process's environment by default.

    Raises:
        SendingHaltedError: nothing may be sent until a person confirms.
        EpochFileError: nothing may be sent from here.
    """
    file = epoch_file(environ)
    try:
        with transaction(engine) as connection:
            claim = Turn(engine, connection, file)
            yield claim
            if claim.calls:
                claim.count()
    except SendingHaltedError as error:
        halt(engine, error.reason, file)
        raise


def check(engine: Engine, environ: Mapping[str, str] | None = None) -> None:
    """See that this database may send, before anything is planned; from the first look on it is known again.

    Raises:
        SendingHaltedError: it may not.
        EpochFileError: nothing may be sent from here.
    """
    with turn(engine, environ) as claim:
        pass
    claim.keep()


def state(connection: PsycopgConnection, environ: Mapping[str, str] | None = None) -> State:
    """Whether this database may send; changes nothing.

    Args:
        connection: a connection in a transaction.
        environ: where the file's name stands; the process's environment by default.

    Raises:
        EpochFileError: the file cannot be read, or is not known here although there is one.
    """
    file = epoch_file(environ)
    row, reason, record = look(connection, file)
    return State(row.number, file, record.number if record else None, reason, _doubt(row, file))


def refuse_halted(connection: PsycopgConnection) -> None:
    """Refuse what would lead to calls.

    Raises:
        SendingHaltedError: all sending is halted.
    """
    row = queries("epoch").halted_reason(connection)
    if row is not None:
        raise SendingHaltedError(row.halt_reason)


def halt(engine: Engine, reason: str, file: EpochFile | None = None) -> None:
    """Halt all sending; a halt that stands already keeps its reason.

    Args:
        engine: the project's database.
        reason: why, as a sentence.
        file: the epoch's, where one is known: the halt keeps how far it was.
    """
    try:
        record = file.read() if file else None
    except (EpochFileError, EpochFileBrokenError):
        record = None
    with transaction(engine) as connection:
        if queries("epoch").halt(connection, reason=reason, last_call=record.last_call if record else None):
            log.error("all sending is halted: %s", reason)
            queries("campaign").write_audit(
                connection, actor="guard", action="sending halted", page_id=None, campaign_id=None, detail="{}"
            )


def look(connection: PsycopgConnection, file: EpochFile | None) -> tuple[Any, str | None, Record | None]:
    """The row of ``otn.epoch`` without holding it, and what ``judge`` says of it.

    A claim between the two looks leaves a file that is ahead of the row. So what seems wrong is looked at once more,
    the file first: then a claim between them leaves the row ahead, as it may be.

    Args:
        connection: a connection in a transaction that sees what others commit.
        file: the epoch's, where one is known.

    Raises:
        EpochFileError: the file cannot be read, or is not known here although there is one.
    """
    row = queries("epoch").look(connection)
    reason, record = judge(row, file)
    if reason and row.halt_reason is None:
        found = _read(file)
        row = queries("epoch").look(connection)
        reason, record = _judged(row, file, found)
    return row, reason, record


def judge(row: Any, file: EpochFile | None) -> tuple[str | None, Record | None]:
    """Why the database is not the one that has made all calls so far, if it is not; and what the file says.

    Args:
        row: of ``otn.epoch``.
        file: beside it, where one is known.

    Raises:
        EpochFileError: the file cannot be read, or is not known here although there is one.
    """
    return _judged(row, file, _read(file))


def _read(file: EpochFile | None) -> Record | EpochFileBrokenError | None:
    try:
        return file.read() if file else None
    except EpochFileBrokenError as error:
        return error


def _judged(
    row: Any, file: EpochFile | None, found: Record | EpochFileBrokenError | None
) -> tuple[str | None, Record | None]:
    if isinstance(found, EpochFileBrokenError):
        broken = f"the file {file.path if file else ''} holds something else than it should."
        return row.halt_reason or broken, None
    return row.halt_reason or _mismatch(row, file, found), found


def _mismatch(row: Any, file: EpochFile | None, record: Record | None) -> str | None:
    if file is None and row.filed:
        raise EpochFileError(
            "The file that says how far this installation has called is not known here. Set OTN_EPOCH_FILE to it; all"
            " that send share one."
        )
    if record is not None and record.last_call > row.number:
        return (
            f"the database stands at claim {row.number}, and calls were made up to claim {record.last_call}:"
            " it was restored from a backup."
        )
    if record is not None and record.number > row.number:
        return f"another database was confirmed as the true one after claim {record.last_call}."
    moved = _moved(row.identity, row.here) or (record and _moved(record.identity, row.here))
    if moved:
        return f"the database has sent before, and now {moved}."
    if file and record is None and row.filed:
        return f"the database has sent from elsewhere, or the file {file.path} was lost: it is not there."
    if file and record and file.is_copy(record):
        return f"the file {file.path} was copied to where it is, so the database may be a copy too."
    return None


def _moved(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> str | None:
    """What has changed of what the server tells; what it keeps to itself cannot be compared."""
    for name, sentence in _ELSEWHERE.items():
        known = (before or {}).get(name)
        if known is not None and now.get(name) is not None and known != now[name]:
            return sentence
    return None


def _doubt(row: Any, file: EpochFile | None) -> str | None:
    if file is None:
        return "No file outside the database says how far it has called, so a copy of the whole server is not noticed."
    if row.here["server"] is None or row.here["timeline"] is None:
        return "The server does not tell its identifier or timeline; only the file tells a copy of it."
    return None
