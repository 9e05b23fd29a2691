"""Silences come back after a restored backup: what stands in the journal outside and not in the database.

Whoever writes the journal moves the database's mark along in the same transaction, so that there is nothing to do but
after a crash or a restore. Then the lines behind the mark wait in ``otn.silence`` until their people are found.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from otn.consent.silence import Silence, SilenceJournal, silence_journal
from otn.consent.text import key_of
from otn.crypto import Keyring
from otn.database import Engine, PsycopgConnection, queries, transaction
from otn.journal import JournalError
from otn.privacy.erasure import WALK

PUT = 10_000  # lines in one statement
_TOPIC_ROUNDS = 5

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
    if not thorough and _in_step(journal, mark) and not mark.owed and not _somebody_new(mark):
        return Returned()
    mark = _take_up(engine, journal, thorough=thorough)
    returned = Returned()
    if _somebody_new(mark):
        returned = _walk(engine, keyring, mark.walked_id)
        with transaction(engine) as conn:
            if returned:
                _audit(conn, returned)
            queries("silence").walked(conn, walked_id=mark.newest_id, looks=mark.looks)
            queries("silence").forget_spent(conn, looks=mark.looks)
    if mark.owed:
        _complete(engine, journal)
    return returned


def count_behind(engine: Engine, keyring: Keyring, environ: Mapping[str, str] | None = None) -> int:
    """How many lines of the journal this database has not followed yet; changes nothing.

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


def _in_step(journal: SilenceJournal, mark: Any) -> bool:
    state = journal.state()
    return mark is not None and (mark.bytes, bytes(mark.tail)) == (state.size, state.tail)


def _reaches(journal: SilenceJournal, mark: Any) -> bool:
    """Whether the file still holds what this database has followed; another one is read from its beginning."""
    if mark is None:
        return False
    state = journal.state(mark.bytes)
    return (mark.bytes, bytes(mark.tail)) == (state.size, state.tail)


def _somebody_new(mark: Any) -> bool:
    return bool(mark.waiting and mark.newest_id > mark.walked_id)


def _take_up(engine: Engine, journal: SilenceJournal, *, thorough: bool) -> Any:
    with transaction(engine) as conn:
        book = queries("silence")
        # Whoever is just storing people has finished, so that nobody comes in below the newest number afterwards.
        queries("erasure").exclude(conn)
        mark = book.hold_mark(conn)
        reaches = _reaches(journal, mark)
        if mark is not None and not reaches:
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
    while True:
        with transaction(engine) as conn:
            rows = list(queries("erasure").next_people(conn, after_id=after_id, most=WALK))
        if not rows:
            return Returned(silenced, lifted)
        after_id = rows[-1].id
        hashes = [(row.id, keyring.digest("psid", row.page_id, row.psid)) for row in rows]
        found = [(person, psid_hash) for person, psid_hash in hashes if psid_hash in awaited]
        if found:
            done = _settle(engine, found)
            silenced, lifted = silenced + done.silenced, lifted + done.lifted


def _settle(engine: Engine, found: Sequence[tuple[int, bytes]]) -> Returned:
    who = {"ids": [person for person, _ in found], "hashes": [psid_hash for _, psid_hash in found]}
    with transaction(engine) as conn:
        queries("erasure").exclude(conn)  # no start word is just being stored, and nobody is just being erased
        for _ in range(_TOPIC_ROUNDS):
            missing = list(queries("silence").topics_missing(conn, **who))
            if not missing:
                break
            payloads = [row.payload for row in missing]
            queries("ingest").meet_topics(
                conn, page_ids=[row.page_id for row in missing], keys=list(map(key_of, payloads)), payloads=payloads
            )
        row = queries("silence").settle(conn, **who)
        return Returned(row.silenced, row.lifted)


def _complete(engine: Engine, journal: SilenceJournal) -> None:
    """Make a journal whole that is new here, was lost, or could not be written: the next restored backup needs it."""
    with transaction(engine) as conn:
        book = queries("silence")
        mark = book.hold_mark(conn)
        known = journal.read().silences
        digest = journal.keyring.digest
        missing = [
            one
            for row in book.standing(conn)
            for one in [
                Silence(digest("psid", row.page_id, row.psid), row.payload, row.reason, row.since, lifted=False)
            ]
            if not _stands(one, known.get(one.key))
        ]
        if missing:
            try:
                before, after = journal.append(missing)
            except JournalError as error:  # whoever takes in webhooks goes on: a stop that comes now is obeyed
                log.error("%s", error)  # noqa: TRY400 - the sentence says it all
                return
            log.info("%s silences were missing in the journal %s and were added", len(missing), journal.path)
            if (mark.bytes, bytes(mark.tail)) == (before.size, before.tail):
                book.follow(conn, bytes=after.size, tail=after.tail)
        book.owe_nothing(conn)


def _stands(one: Silence, known: Silence | None) -> bool:
    return known is not None and not known.lifted and (one.reason == "operator" or known.since >= one.since)
