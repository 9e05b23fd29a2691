"""Objections: an operator silences a person, and only an operator lifts that again."""

from __future__ import annotations

import json

from otn.consent.pages import Page
from otn.consent.silence import Change, SilenceJournal, write_down
from otn.consent.text import TEXT_LIMIT, storable
from otn.consent.topics import Topic
from otn.database import PsycopgConnection, queries
from otn.errors import UsageError


class UnknownPersonError(UsageError):
    """The page holds nobody of this PSID. Look whether page and PSID belong together."""


def find_person(conn: PsycopgConnection, page: Page, psid: str) -> int:
    """Our number of a person.

    Raises:
        UnknownPersonError: we hold nobody of this PSID.
    """
    row = queries("erasure").find_person(conn, page_id=page.id, psid=psid)
    if row is None:
        raise UnknownPersonError
    return int(row.id)


def suppress(
    conn: PsycopgConnection,
    page: Page,
    psid: str,
    *,
    topic: Topic | None,
    actor: str,
    note: str | None = None,
    journal: SilenceJournal | None = None,
) -> int:
    """Silence a person, for a topic or for everything; the same twice is one entry with the later note.

    No later word or opt-in of the person lifts it.

    Args:
        conn: a connection in a transaction.
        page: whose PSID it is.
        psid: the person.
        topic: of which nothing may be sent any more; None: of none.
        actor: who enters it.
        note: why; never a name.
        journal: where it is written down, so that a restored backup knows it; None: this process knows none.

    Returns:
        Our number of the person.

    Raises:
        UnknownPersonError: we hold nobody of this PSID.
        UsageError: the note cannot be stored.
    """
    if note is not None and (len(note) > TEXT_LIMIT or storable(note) != note):
        raise UsageError("The note is too long or holds characters that cannot be stored. Give a short, plain one.")
    person = find_person(conn, page, psid)
    topic_id = topic.id if topic else None
    row = queries("objection").enter(conn, subscriber_id=person, topic_id=topic_id, actor=actor, note=note)
    _audit(conn, page, actor, "suppressed", person, topic)
    write_down(conn, journal, [Change(**row._asdict())])
    return person


def release(
    conn: PsycopgConnection,
    page: Page,
    psid: str,
    *,
    topic: Topic | None,
    actor: str,
    journal: SilenceJournal | None = None,
) -> bool:
    """Lift an operator's entry; what the person said by a stop word stays.

    Args:
        conn: a connection in a transaction.
        page: whose PSID it is.
        psid: the person.
        topic: the entry of this topic; None: the one about everything.
        actor: who lifts it.
        journal: as ``suppress`` has it.

    Returns:
        Whether there was one.

    Raises:
        UnknownPersonError: we hold nobody of this PSID.
        JournalError: the journal cannot be written. Roll back: the person stays silenced.
    """
    person = find_person(conn, page, psid)
    rows = queries("objection").lift(conn, subscriber_id=person, topic_id=topic.id if topic else None)
    lifted = [Change(**row._asdict(), lifted=True) for row in rows]
    if lifted:
        _audit(conn, page, actor, "released", person, topic)
        write_down(conn, journal, lifted, needed=True)
    return bool(lifted)


def _audit(conn: PsycopgConnection, page: Page, actor: str, action: str, person: int, topic: Topic | None) -> None:
    detail = json.dumps({"subscriber_id": person, "topic": topic.key if topic else None})
    queries("campaign").write_audit(conn, actor=actor, action=action, page_id=page.id, campaign_id=None, detail=detail)
