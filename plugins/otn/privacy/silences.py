"""Silences come back after a restored backup: what stands in the journal outside and not in the database.

Whoever writes the journal moves the database's mark along in the same transaction, so that there is nothing to do but
after a crash or a restore. Then the lines behind the mark wait in ``otn.silence`` until their people are found.

The other way round, the journal is given what it lacks: what began or ended while it could not be written.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from otn.consent.silence import Silence, SilenceContent, SilenceJournal, silence_journal
from otn.consent.text import key_of
from otn.consent.topics import MEETING_ROUNDS, TopicRaceError
from otn.crypto import Keyring
from otn.database import Engine, PsycopgConnection, queries, transaction
from otn.journal import JournalError, JournalState
from otn.privacy.erasure import WALK

PUT = 10_000  # lines in one statement
PATIENCE_S = 60.0  # between two tries to write a journal that cannot be written; the responder looks each second
_WRITING_ROUNDS = 3
_INSTANT = timedelta(microseconds=1)
_resting: dict[Path, float] = {}  # until when a journal is left alone, by this process's clock

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Returned:
    """What came back.

    Args:
        silenced: silences that this database did not have.
        lifted: silences that had been lifted and stood here all the same.
    """

    silenced: int = 0
    lifted: int = 0

    def __bool__(self) -> bool:
        return bool(self.silenced or self.lifted)


def apply_silences(
    engine: Engine, keyring: Keyring, environ: Mapping[str, str] | None = None, *, thorough: bool = False
) -> Returned:
    """Bring back what a restored database has forgotten of who asked for silence, and of who took that back.

    Costs one look at the file's end and one at a row while nothing has changed. Safe twice and at once.

    Args:
        engine: the database.
        keyring: hashes PSIDs, opens topics.
        environ: where the journal's name stands; the process's environment by default. Without a journal: nothing.
        thorough: read all of it and compare everybody, even though nothing has changed.

    Raises:
        JournalError: the journal cannot be read.
    """
    journal = silence_journal(environ, keyring)
    if journal is None:
        return Returned()
    with transaction(engine) as conn:
        mark = queries("silence").mark(conn)
    returned = Returned()
    if thorough or _somebody_new(mark) or not _follows(mark, journal.state()):
        mark = _take_up(engine, journal, thorough=thorough)
        if _somebody_new(mark):
            returned = _walk(engine, keyring, mark.walked_id)
            mark = _walked(engine, mark, returned)
    if mark.owed and (thorough or time.monotonic() >= _resting.get(journal.path, 0.0)):
        _complete(engine, journal)
    return returned


def count_behind(engine: Engine, keyring: Keyring, environ: Mapping[str, str] | None = None) -> int:
    """How many silences, begun or lifted, the journal tells of that this database has not followed; changes nothing.

    Several lines about the same person, topic and reason are one.

    Raises:
        JournalError: the journal cannot be read.
    """
    journal = silence_journal(environ, keyring)
    if journal is None:
        return 0
    with transaction(engine) as conn:
        mark = queries("silence").mark(conn)
    return len(journal.read(mark.bytes if _reaches(journal, mark) else 0).silences)


def _audit(conn: PsycopgConnection, returned: Returned) -> None:
    detail = json.dumps(asdict(returned))
    queries("campaign").write_audit(
        conn, actor="journal", action="silences returned", page_id=None, campaign_id=None, detail=detail
    )


def _follows(mark: Any, state: JournalState) -> bool:
    return (mark.bytes, bytes(mark.tail)) == (state.size, state.tail)


def _reaches(journal: SilenceJournal, mark: Any) -> bool:
    """Whether the file still holds what this database has followed; another one is read from its beginning."""
    return _follows(mark, journal.state(mark.bytes))


def _somebody_new(mark: Any) -> bool:
    return bool(mark.waiting and mark.newest_id > mark.walked_id)


def _take_up(engine: Engine, journal: SilenceJournal, *, thorough: bool) -> Any:
    with transaction(engine) as conn:
        book = queries("silence")
        # Whoever is just storing people has finished, so that nobody comes in below the newest number afterwards.
        queries("erasure").exclude(conn)
        mark = book.hold_mark(conn)
        reaches = _reaches(journal, mark)
        if not reaches:
            log.warning("the journal of silences %s is another file than before; it is read anew", journal.path)
        content = journal.read(0 if thorough or not reaches else mark.bytes)
        if content.unreadable:
            log.warning("%s lines of the journal of silences %s cannot be read", content.unreadable, journal.path)
        silences = list(content.silences.values())
        for start in range(0, len(silences), PUT):
            _put(conn, silences[start : start + PUT])
        state = content.state
        fresh, owed = bool(silences), thorough or not reaches
        book.set_mark(conn, bytes=state.size, tail=state.tail, owed=owed, fresh=fresh)
        return book.mark(conn)


def _put(conn: PsycopgConnection, silences: Sequence[Silence]) -> None:
    queries("silence").put(
        conn,
        hashes=[one.psid_hash for one in silences],
        payloads=[one.payload for one in silences],
        reasons=[one.reason for one in silences],
        times=[one.since for one in silences],
        lifted=[one.lifted for one in silences],
    )


def _walk(engine: Engine, keyring: Keyring, after_id: int) -> Returned:
    """Compare everybody after a number with the lines that wait: hashes can only be made outside of Postgres."""
    with transaction(engine) as conn:
        awaited = {bytes(row.psid_hash) for row in queries("silence").awaited(conn)}
    silenced = lifted = 0
    for people in _people(engine, keyring, after_id):
        found = [(person, psid_hash) for person, psid_hash in people if psid_hash in awaited]
        if found:
            done = _settle(engine, found)
            silenced, lifted = silenced + done.silenced, lifted + done.lifted
    return Returned(silenced, lifted)


def _people(engine: Engine, keyring: Keyring, after_id: int = 0) -> Iterator[list[tuple[int, bytes]]]:
    while True:
        with transaction(engine) as conn:
            rows = list(queries("erasure").next_people(conn, after_id=after_id, most=WALK))
        if not rows:
            return
        after_id = rows[-1].id
        yield [(row.id, keyring.digest("psid", row.page_id, row.psid)) for row in rows]


def _walked(engine: Engine, mark: Any, returned: Returned) -> Any:
    with transaction(engine) as conn:
        book = queries("silence")
        # Lines that wait are touched under this lock alone, so that nobody waits in a circle for them and the mark.
        queries("erasure").exclude(conn)
        if returned:
            _audit(conn, returned)
        book.walked(conn, walked_id=mark.newest_id, looks=mark.looks)
        book.forget_spent(conn, looks=mark.looks)
        return book.mark(conn)


def _settle(engine: Engine, found: Sequence[tuple[int, bytes]]) -> Returned:
    who = {"ids": [person for person, _ in found], "hashes": [psid_hash for _, psid_hash in found]}
    with transaction(engine) as conn:
        queries("erasure").exclude(conn)  # no start word is just being stored, and nobody is just being erased
        _meet_topics(conn, who)
        row = queries("silence").settle(conn, **who)
        # A stop that a later start has ended here still stands in the file.
        queries("silence").owe(conn)
        return Returned(row.silenced, row.lifted)


def _meet_topics(conn: PsycopgConnection, who: dict[str, Any]) -> None:
    for _ in range(MEETING_ROUNDS):
        missing = list(queries("silence").topics_missing(conn, **who))
        if not missing:
            return
        payloads = [row.payload for row in missing]
        queries("ingest").meet_topics(
            conn, page_ids=[row.page_id for row in missing], keys=list(map(key_of, payloads)), payloads=payloads
        )
    raise TopicRaceError


def _complete(engine: Engine, journal: SilenceJournal) -> None:
    """Make a journal whole that is new here, was lost, or could not be written: the next restored backup needs it."""
    here: dict[bytes, bool] = {}
    for _ in range(_WRITING_ROUNDS):
        unknown = _write_missing(engine, journal, here)
        if not unknown:
            return
        for people in _people(engine, journal.keyring):  # while nobody has to wait
            here.update((psid_hash, True) for _, psid_hash in people if psid_hash in unknown)
        here = dict.fromkeys(unknown, False) | here


def _write_missing(engine: Engine, journal: SilenceJournal, here: Mapping[bytes, bool]) -> Collection[bytes]:
    """Write down what the file lacks; or nothing yet, and answer of whom it must be known first whether they are here.

    Args:
        engine: the database.
        journal: the file.
        here: hashes of people who were looked for, and whether they are here.
    """
    with transaction(engine) as conn:
        book = queries("silence")
        mark = book.hold_mark(conn)
        content = journal.read()
        if not _follows(mark, content.state):
            return ()  # the next look takes up first what has come without this database
        missing, ended = _compared(conn, journal.keyring, content)
        unknown = {one.psid_hash for one in ended} - here.keys()
        if unknown:
            return unknown
        # Whoever is not here has lifted nothing: the line waits for them.
        missing += [replace(one, since=one.since + _INSTANT, lifted=True) for one in ended if here[one.psid_hash]]
        if missing:
            try:
                before, after = journal.append(missing)
            except JournalError as error:  # whoever takes in webhooks goes on: a stop that comes now is obeyed
                log.error("%s", error)  # noqa: TRY400 - the sentence says it all
                _resting[journal.path] = time.monotonic() + PATIENCE_S
                return ()
            log.info("%s lines were missing in the journal of silences %s and were added", len(missing), journal.path)
            if _follows(mark, before):
                book.follow(conn, bytes=after.size, tail=after.tail)
        book.owe_nothing(conn)
        return ()


def _compared(
    conn: PsycopgConnection, keyring: Keyring, content: SilenceContent
) -> tuple[list[Silence], list[Silence]]:
    """What stands in the database and not in the file, and what stands in the file and not in the database."""
    book = queries("silence")
    waiting = {bytes(row.psid_hash) for row in book.awaited(conn)}  # their word is still to be brought back
    missing, standing = [], set()
    for row in book.standing(conn):
        psid_hash = keyring.digest("psid", row.page_id, row.psid)
        one = Silence(psid_hash, row.payload, row.reason, row.since, lifted=False)
        standing.add(one.key)
        if row.counts and psid_hash not in waiting and not _stands(one, content.silences.get(one.key)):
            missing.append(one)
    ended = [
        one
        for one in content.silences.values()
        if not one.lifted and one.key not in standing and one.psid_hash not in waiting
    ]
    return missing, ended


def _stands(one: Silence, known: Silence | None) -> bool:
    return known is not None and not known.lifted and (one.reason == "operator" or known.since >= one.since)
