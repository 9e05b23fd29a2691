"""Erasure: a person leaves for good, and no webhook, replay, import or restored backup brings them back.

First the journal outside the database, then one transaction: a crash between the two is made up for by
``apply_journal``, which every ingest and every plan calls.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from otn.consent.pages import Page
from otn.crypto import DecryptionError, Keyring
from otn.database import DatabaseError, Engine, PsycopgConnection, queries, transaction
from otn.errors import UsageError
from otn.messenger.credentials import PATH_PART
from otn.privacy.bodies import mentioned, without_person
from otn.privacy.journal import Journal, read_journal

T = TypeVar("T")

WALK = 10_000  # people in one step of looking for somebody
SCAN = 200  # quarantined items in one step
BODIES = 50  # bodies opened at once; one may have 5 MB
DEADLOCK_TRIES = 5
_ROLLED_BACK = {"40001", "40P01"}  # serialization failure, deadlock

_BY_JOURNAL = ("journal", "stands in the journal")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Erasure:
    """What an erasure found.

    Args:
        subscriber_id: our number of the person; None: we hold nobody of this PSID.
        repeated: the person had been erased before.
    """

    subscriber_id: int | None
    repeated: bool


@dataclass(frozen=True)
class _Person:
    page_row_id: int
    psid: str = field(repr=False)
    psid_hash: bytes = field(repr=False)


@dataclass(frozen=True)
class _Mentions:
    """Quarantined items by the person they name, and the last item that was looked at."""

    items: defaultdict[str, list[int]] = field(repr=False)
    after_id: int


def check_psid(psid: str) -> str:
    """The PSID without spaces around it.

    Raises:
        UsageError: it cannot be one.
    """
    psid = psid.strip()
    if not PATH_PART.fullmatch(psid):
        raise UsageError("That is no PSID. Give the page-scoped id alone, such as 28777805391819468.")
    return psid


def erase(
    engine: Engine, keyring: Keyring, page: Page, psid: str, *, actor: str, reason: str, journal: Journal
) -> Erasure:
    """Erase a person, known or not; the same twice does no harm.

    Calls under way end and are recorded; what they leave behind goes with the next purge (``forget_late``).

    Args:
        engine: the database.
        keyring: hashes the PSID, opens what mentions it.
        page: whose PSID it is.
        psid: the person.
        actor: who asks for it, for the audit.
        reason: why, for the audit; never a name.
        journal: where it is written down first.

    Raises:
        UsageError: it is no PSID.
        JournalError: the journal cannot be written; nobody was erased.
        DatabaseError: the database refused or is away; the next ingest carries the erasure out.
    """
    psid = check_psid(psid)
    person = _Person(page.id, psid, keyring.digest("psid", page.page_id, psid))
    journal.append([(person.psid_hash, None)])
    mentions = _scan(engine, keyring, {psid})
    return _settled(engine, partial(_erase, keyring=keyring, person=person, mentions=mentions, audit=(actor, reason)))


def is_erased(conn: PsycopgConnection, keyring: Keyring, page: Page, psid: str) -> datetime | None:
    """Since when the person is gone; None: they are not."""
    row = queries("erasure").find_tombstone(conn, psid_hash=keyring.digest("psid", page.page_id, psid))
    return row.erased_at if row is not None else None


def apply_journal(
    engine: Engine, keyring: Keyring, environ: Mapping[str, str] | None = None, *, thorough: bool = False
) -> int:
    """Erase again whoever stands in the journal and is here all the same, as after a restored backup.

    Costs one look at the file's end and one at a row while nothing has changed.

    Args:
        engine: the database.
        keyring: hashes PSIDs.
        environ: where the journal's name stands; the process's environment by default. Without a journal: nothing.
        thorough: look for everybody even though the journal has not changed.

    Returns:
        How many people were erased.

    Raises:
        JournalError: the journal cannot be read or written.
    """
    journal = read_journal(environ)
    if journal is None:
        return 0
    state = journal.state()
    reached = {"bytes": state.size, "tail": state.tail}
    with transaction(engine) as conn:
        mark = queries("erasure").mark(conn)
    same = mark is not None and (mark.bytes, bytes(mark.tail)) == (state.size, state.tail)
    if same and mark.followed and not thorough:
        return 0
    content = journal.read()
    if content.unreadable:
        log.warning("%s lines of the erasure journal %s cannot be read", content.unreadable, journal.path)

    def bury(conn: PsycopgConnection) -> tuple[bool, dict[bytes, datetime]]:
        queries("erasure").exclude(conn)
        hashes, times = list(content.erasures), list(content.erasures.values())
        new = queries("erasure").bury(conn, hashes=hashes, times=times) if hashes else 0
        # Looked at again under the lock: another may have buried them just now, and not found them yet.
        known = queries("erasure").mark(conn)
        walk = bool(new) or thorough or (known is not None and not known.walked)
        queries("erasure").set_mark(conn, **reached, walked=not walk)
        return walk, {bytes(row.psid_hash): row.erased_at for row in queries("erasure").tombstones(conn)}

    walk, erased = _settled(engine, bury)
    # A journal that was lost, or is new here, is made whole: the next restored backup needs it.
    lost = [(psid_hash, at) for psid_hash, at in erased.items() if psid_hash not in content.erasures]
    if lost:
        log.warning("%s erasures were missing in the journal %s and were added", len(lost), journal.path)
        journal.append(lost)
    if not walk:
        return 0
    count = _walk(engine, keyring, erased.keys())
    _settled(engine, lambda conn: queries("erasure").mark_walked(conn, **reached))
    return count


def forget_late(engine: Engine, batch: int = 1000) -> int:
    """Take away what calls under way, or a plan at the same moment, have left behind of erased people.

    Returns:
        How many rows that were.
    """
    after_id = count = 0
    while True:
        with transaction(engine) as conn:
            ids = [row.id for row in queries("erasure").next_erased(conn, after_id=after_id, most=batch)]
        if not ids:
            return count
        count += _settled(engine, partial(_forget, ids=ids))
        after_id = ids[-1]


def _walk(engine: Engine, keyring: Keyring, erased: Collection[bytes]) -> int:
    count = 0
    for people in _returned(engine, keyring, erased):
        mentions = _scan(engine, keyring, {person.psid for person in people})
        for person in people:
            work = partial(_erase, keyring=keyring, person=person, mentions=mentions, audit=_BY_JOURNAL)
            count += _settled(engine, work).subscriber_id is not None
    return count


def _returned(engine: Engine, keyring: Keyring, erased: Collection[bytes]) -> Iterator[list[_Person]]:
    """People who are here although they were erased, a step at a time."""
    after_id = 0
    while True:
        with transaction(engine) as conn:
            rows = list(queries("erasure").next_people(conn, after_id=after_id, most=WALK))
        if not rows:
            return
        after_id = rows[-1].id
        people = [_Person(row.page_row_id, row.psid, keyring.digest("psid", row.page_id, row.psid)) for row in rows]
        found = [person for person in people if person.psid_hash in erased]
        if found:
            yield found


def _scan(engine: Engine, keyring: Keyring, psids: Collection[str]) -> _Mentions:
    found: defaultdict[str, list[int]] = defaultdict(list)
    after_id = 0
    while True:
        with transaction(engine) as conn:
            rows = list(queries("quarantine").next_items(conn, after_id=after_id, most=SCAN))
        if not rows:
            return _Mentions(found, after_id)
        for row in rows:
            for psid in mentioned(_opened(keyring, row.item, "quarantine"), psids):
                found[psid].append(row.id)
        after_id = rows[-1].id


def _erase(
    conn: PsycopgConnection, *, keyring: Keyring, person: _Person, mentions: _Mentions, audit: tuple[str, str]
) -> Erasure:
    queries("erasure").exclude(conn)
    new = queries("erasure").bury(conn, hashes=[person.psid_hash], times=[None])
    queries("silence").forget_person(conn, psid_hash=person.psid_hash)
    row = queries("erasure").find_person(conn, page_id=person.page_row_id, psid=person.psid)
    origins = _cut_quarantine(conn, keyring, person.psid, mentions)
    if row is not None:
        origins |= {(one.day, one.id) for one in queries("erasure").webhooks_of_person(conn, id=row.id)}
    _cut_bodies(conn, keyring, person.psid, origins)
    if row is not None:
        _forget(conn, [row.id])
    found = Erasure(row.id if row is not None else None, not new)
    queries("campaign").write_audit(
        conn,
        actor=audit[0],
        action="erased",
        page_id=person.page_row_id,
        campaign_id=None,
        detail=json.dumps({"subscriber_id": found.subscriber_id, "repeated": found.repeated, "reason": audit[1]}),
    )
    return found


def _forget(conn: PsycopgConnection, ids: Sequence[int]) -> int:
    """Everything that is linked to these people; the figures stay."""
    book, who = queries("erasure"), {"ids": list(ids)}
    book.lock_recipients(conn, **who)
    book.lock_window_messages(conn, **who)
    book.forget_subscribers(conn, **who)
    steps = (
        *(book.forget_tokens, book.forget_recipients, book.forget_attempts),
        *(book.forget_window_messages, book.forget_window_attempts, book.lift_silence, book.delete_events),
    )
    return sum(int(step(conn, **who)) for step in steps)


def _cut_quarantine(conn: PsycopgConnection, keyring: Keyring, psid: str, mentions: _Mentions) -> set[tuple[Any, str]]:
    """Empty the items that name the person, those that came since the scan too; answers where they came from."""
    origins: set[tuple[Any, str]] = set()
    for row in queries("quarantine").lock_mentions(conn, ids=mentions.items[psid], after_id=mentions.after_id):
        cut = without_person(_opened(keyring, row.item, "quarantine"), psid)
        if cut is None:
            continue
        origins.add((row.webhook_day, row.webhook_id))
        if row.replayed:
            queries("quarantine").delete_item(conn, id=row.id)
        else:  # it waits still, as the figures of its webhook say; the next replay finds it empty
            queries("quarantine").save_item(conn, id=row.id, item=keyring.encrypt(cut, "quarantine"))
    return origins


def _cut_bodies(conn: PsycopgConnection, keyring: Keyring, psid: str, origins: Collection[tuple[Any, str]]) -> None:
    days: defaultdict[Any, list[str]] = defaultdict(list)
    for day, webhook_id in sorted(origins):
        days[day].append(webhook_id)
    for day, ids in days.items():
        for start in range(0, len(ids), BODIES):
            rows = queries("erasure").lock_bodies(conn, day=day, ids=ids[start : start + BODIES])
            cut = [(row.id, without_person(_opened(keyring, row.body, "webhook"), psid)) for row in rows]
            save_bodies(conn, keyring, day, [(webhook_id, body) for webhook_id, body in cut if body is not None])


def save_bodies(conn: PsycopgConnection, keyring: Keyring, day: Any, bodies: Sequence[tuple[str, bytes]]) -> None:
    """Store other bodies in place of those of some webhooks of one day."""
    if bodies:
        sealed = [keyring.encrypt(body, "webhook") for _, body in bodies]
        queries("erasure").save_bodies(conn, day=day, ids=[webhook_id for webhook_id, _ in bodies], bodies=sealed)


def _opened(keyring: Keyring, sealed: bytes, purpose: str) -> bytes:
    try:
        return keyring.decrypt(sealed, purpose)
    except DecryptionError:  # nobody can read it, here or elsewhere; it goes with its retention
        return b""


def _settled(engine: Engine, work: Callable[[PsycopgConnection], T]) -> T:
    """One transaction, again when Postgres ended it in favour of another."""
    for _ in range(DEADLOCK_TRIES - 1):
        try:
            with transaction(engine) as conn:
                return work(conn)
        except DatabaseError as error:
            if error.sqlstate not in _ROLLED_BACK:
                raise
    with transaction(engine) as conn:
        return work(conn)
