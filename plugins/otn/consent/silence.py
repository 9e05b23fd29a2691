"""Silences, written down outside the database: a restored backup does not know who has asked for silence since.

One JSON line for what begins or ends in ``otn.suppression`` by the word of a person or an operator: the keyed hash of
the person, the topic (sealed), the reason, the time. It is on the disk before the transaction commits.
"""

from __future__ import annotations

import base64
import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from otn.crypto import DecryptionError, Keyring, read_keyring
from otn.database import PsycopgConnection, queries
from otn.journal import JournalError, JournalState, append_lines, erasure_path, read_lines, state_of

FILE = "silences.jsonl"
HASH_BYTES = 32
REASONS = ("stop_word", "operator")
_PURPOSE = "silence"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Change:
    """A silence that began or ended in this transaction.

    Args:
        subscriber_id: whose.
        topic_id: of which topic; None: of all.
        reason: ``stop_word`` or ``operator``.
        since: when it began, or what lifted it was said.
        lifted: it ended.
    """

    subscriber_id: int
    topic_id: int | None
    reason: str
    since: datetime
    lifted: bool = False


@dataclass(frozen=True, slots=True)
class Silence:
    """A line of the journal.

    Args:
        psid_hash: keyed hash of the person.
        payload: of the topic; None: of all.
        reason: as a change has it.
        since: likewise.
        lifted: likewise.
    """

    psid_hash: bytes
    payload: str | None
    reason: str
    since: datetime
    lifted: bool

    @property
    def key(self) -> tuple[bytes, str | None, str]:
        """What it is about: the later line about the same decides."""
        return self.psid_hash, self.payload, self.reason


@dataclass(frozen=True)
class SilenceContent:
    """What stands in the journal.

    Args:
        silences: the last line about each person, topic and reason.
        unreadable: lines that are none, such as the last one after a crash.
        state: how far that goes.
    """

    silences: dict[tuple[bytes, str | None, str], Silence] = field(repr=False)
    unreadable: int
    state: JournalState


@dataclass(frozen=True)
class SilenceJournal:
    """The journal of one installation.

    Args:
        path: its file; made at the first silence.
        keyring: hashes people, seals topics.
    """

    path: Path
    keyring: Keyring

    def append(self, silences: Iterable[Silence]) -> tuple[JournalState, JournalState]:
        """Write silences down, all at once; on the disk when this returns.

        Returns:
            How far the file went before, and how far it goes now.

        Raises:
            JournalError: it cannot be written.
        """
        seal = cache(self._sealed)  # a slice names few topics
        lines = "".join(
            json.dumps(
                {
                    "psid_hash": one.psid_hash.hex(),
                    "topic": None if one.payload is None else seal(one.payload),
                    "reason": one.reason,
                    "since": one.since.isoformat(),
                    "lifted": one.lifted,
                }
            )
            + "\n"
            for one in silences
        )
        try:
            return append_lines(self.path, lines)
        except OSError as error:
            raise self._failed("written", error) from None

    def state(self, size: int | None = None) -> JournalState:
        """How far it goes, or went when it had that many bytes.

        Raises:
            JournalError: it cannot be read.
        """
        try:
            return state_of(self.path, size)
        except OSError as error:
            raise self._failed("read", error) from None

    def read(self, start: int = 0) -> SilenceContent:
        """Its lines from a place on. A line torn by a crash is passed over: its transaction never committed.

        Args:
            start: in bytes.

        Raises:
            JournalError: it cannot be read.
        """
        try:
            lines, state = read_lines(self.path, start)
        except OSError as error:
            raise self._failed("read", error) from None
        open_topic = cache(self._opened)
        silences: dict[tuple[bytes, str | None, str], Silence] = {}
        unreadable = 0
        for line in lines:
            try:
                one = _parsed(line, open_topic)
            except (ValueError, TypeError, KeyError, AttributeError):
                unreadable += 1
            else:
                if one is not None:
                    silences[one.key] = one
        return SilenceContent(silences, unreadable, state)

    def _sealed(self, payload: str) -> str:
        return base64.b64encode(self.keyring.encrypt(payload.encode(), _PURPOSE)).decode()

    def _opened(self, sealed: str) -> str | None:
        try:
            return self.keyring.decrypt(base64.b64decode(sealed, validate=True), _PURPOSE).decode()
        except DecryptionError:
            return None

    def _failed(self, what: str, error: OSError) -> JournalError:
        return JournalError(
            f"The journal of silences {self.path} cannot be {what} ({error.strerror or type(error).__name__}). Correct"
            " the file's rights and disk: a restored backup would bring people back who have asked for silence."
        )


def silence_journal(environ: Mapping[str, str] | None = None, keyring: Keyring | None = None) -> SilenceJournal | None:
    """The journal beside that of erasures; None where it or the keys are not known.

    Args:
        environ: the environment; the process's own by default.
        keyring: of the installation; read from the environment by default.

    Raises:
        ConfigurationError: what the environment says cannot be used.
    """
    values = os.environ if environ is None else environ
    path = erasure_path(values)
    if path is None or (keyring is None and not values.get("OTN_HASH_KEY")):
        return None
    return SilenceJournal(path.with_name(FILE), keyring or read_keyring(values))


def write_down(
    conn: PsycopgConnection, journal: SilenceJournal | None, changes: Sequence[Change], *, needed: bool = False
) -> None:
    """Write changes down before their transaction commits; its last statement, so that nobody waits for long.

    A person's word is obeyed with or without the journal: where it cannot be written, what it lacks is made up for
    later.

    Args:
        conn: a connection in the transaction of the changes.
        journal: where; None: this process knows none.
        changes: what began or ended.
        needed: nobody waits for this change, so it can wait for the journal.

    Raises:
        JournalError: it is needed and cannot be written.
    """
    if not changes:
        return
    book = queries("silence")
    if journal is None:
        book.owe(conn)
        return
    lines = _lines(conn, journal.keyring, changes)
    if not lines:
        return
    mark = book.hold_mark(conn)
    try:
        before, after = journal.append(lines)
    except JournalError as error:
        if needed:
            raise
        log.error("%s", error)  # noqa: TRY400 - the sentence says it all
        book.owe(conn)
        return
    if (mark.bytes, bytes(mark.tail)) == (before.size, before.tail):
        book.follow(conn, bytes=after.size, tail=after.tail)
    else:
        # Somebody has written without a commit, or this database was restored: the next look reads from where the mark
        # stands. Or this is another file than the one that is followed, which lacks the lines then.
        book.owe(conn)


def _lines(conn: PsycopgConnection, keyring: Keyring, changes: Sequence[Change]) -> list[Silence]:
    book = queries("silence")
    people = sorted({one.subscriber_id for one in changes})
    topics = sorted({one.topic_id for one in changes if one.topic_id is not None})
    hashes = {row.id: keyring.digest("psid", row.page_id, row.psid) for row in book.names(conn, ids=people)}
    payloads = {row.id: row.payload for row in book.payloads(conn, ids=topics)} if topics else {}
    return [
        Silence(
            hashes[one.subscriber_id],
            None if one.topic_id is None else payloads[one.topic_id],
            one.reason,
            one.since,
            one.lifted,
        )
        for one in changes
        if one.subscriber_id in hashes
    ]


def _parsed(line: bytes, open_topic: Any) -> Silence | None:
    """A line; None: it lifts the silence of a topic that nobody can read any more."""
    found = json.loads(line)
    psid_hash, since, lifted = (
        bytes.fromhex(found["psid_hash"]),
        datetime.fromisoformat(found["since"]),
        found["lifted"],
    )
    if (
        len(psid_hash) != HASH_BYTES
        or since.tzinfo is None
        or found["reason"] not in REASONS
        or lifted not in {True, False}
    ):
        raise ValueError
    payload = None if found["topic"] is None else open_topic(found["topic"])
    if payload is None and found["topic"] is not None and lifted:
        return None
    # A topic that cannot be read any more, as its key is gone: silence about everything is the safe way to be wrong.
    return Silence(psid_hash, payload, found["reason"], since, bool(lifted))
