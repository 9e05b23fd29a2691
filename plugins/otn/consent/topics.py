"""Topics: what a page asks about."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from difflib import get_close_matches
from typing import Any

from otn.consent.content import content
from otn.consent.labels import LABELS_PER_PERSON, check_label
from otn.consent.pages import Page
from otn.consent.reference import unpack
from otn.consent.text import KEY_LIMIT, storable
from otn.database import PsycopgConnection, queries
from otn.errors import OtnError, UsageError

TITLE_LIMIT = 65  # characters (Meta docs, One-Time Notification: title of the request)
EXPIRING_DAYS = 30
MEETING_ROUNDS = 5  # of storing topics that others adopt, register or release meanwhile


@dataclass(frozen=True)
class Topic:
    """What a page asks about.

    Args:
        id: our number of it.
        page_id: our number of its page.
        key: the name that people use; unique per page.
        title: what Messenger shows above *Notify Me*; None while the topic is not registered.
        payload: what an opt-in carries back; unique per page.
        registered_at: None: met in an opt-in, and nobody has registered it yet.
        reply: the message that thanks for an opt-in; None: none.
        labels: put on whoever opts in.
        adopted_by: the topic that opt-ins under this payload belong to; None: this one.
    """

    id: int
    page_id: int
    key: str
    title: str | None
    payload: str
    registered_at: datetime | None
    reply: dict[str, Any] | None = field(default=None, repr=False)
    labels: list[str] = field(default_factory=list)
    adopted_by: int | None = None

    @property
    def registered(self) -> bool:
        """Whether somebody gave it a title."""
        return self.registered_at is not None


@dataclass(frozen=True)
class TopicCounts:
    """A topic, and what became of its opt-ins: opt_ins = unspent + reserved + spent + expired.

    Args:
        id: our number of the topic.
        page: the page's connection.
        key: the name that people use.
        title: None while it is not registered.
        payload: what an opt-in carries back.
        registered_at: None: met in an opt-in, not yet registered.
        reply: the message that thanks for an opt-in; None: none.
        labels: put on whoever opts in.
        adopted_by: key of the topic that opt-ins under this payload belong to; None: this one.
        opt_ins: tokens ever received.
        people: who gave them.
        unspent: may be sent to.
        expiring: of the unspent, those that end within 30 days.
        reserved: planned, or with an unknown end.
        spent: sent, or refused as used.
        expired: past a year, never spent.
    """

    id: int
    page: str
    key: str
    title: str | None
    payload: str
    registered_at: datetime | None
    reply: dict[str, Any] | None
    labels: list[str]
    adopted_by: str | None
    opt_ins: int
    people: int
    unspent: int
    expiring: int
    reserved: int
    spent: int
    expired: int

    @property
    def registered(self) -> bool:
        """Whether somebody gave it a title."""
        return self.registered_at is not None


class TopicConflictError(UsageError):
    """Key or payload belong to another topic. Look at `./otn topics list`.

    Args:
        message: what belongs to whom, and what to do.
        of: ``key`` or ``payload``, whichever must be another one.
    """

    def __init__(self, message: str, *, of: str = "key") -> None:
        super().__init__(message)
        self.of = of


class TopicRaceError(OtnError):
    """A topic could not be stored: others kept changing it. Do the same again; nothing comes in twice."""


class UnknownTopicError(UsageError):
    """There is no such topic. Look at `./otn topics list`."""


def add(
    conn: PsycopgConnection,
    page: Page,
    key: str,
    title: str,
    payload: str | None = None,
    *,
    reply: str | Mapping[str, Any] | None = None,
    labels: Collection[str] | None = None,
    actor: str | None = None,
) -> Topic:
    """Register a topic; one that was met in opt-ins under this payload becomes it, with all of them.

    The same twice is one topic; another title, reply or other labels replace the old ones.

    Args:
        conn: a connection in a transaction.
        page: whose topic it is.
        key: the name that people use, up to 200 characters.
        title: what Messenger shows above *Notify Me*, up to 65 characters.
        payload: what an opt-in carries back; the key by default.
        reply: thanks for an opt-in: a text or a Send API message object; empty: none. None leaves it as it is.
        labels: put on whoever opts in; empty: none. None leaves them as they are.
        actor: who does it, for the audit; None: nobody asks.

    Raises:
        UsageError: key, title, payload, reply or labels cannot be used.
        TopicConflictError: key or payload belong to another topic.
    """
    payload = key if payload is None else payload
    _check(key, title, payload)
    thanks = content(reply) if reply else None
    marks = check_labels(labels or ())
    queries("topic").lock_page_of_topics(conn, page_id=page.id)
    known = queries("topic").find_topic(conn, page_id=page.id, key=key)
    queries("topic").insert_topic(conn, page_id=page.id, key=key, title=title, payload=payload)
    alike = [_topic(row) for row in queries("topic").topics_like(conn, page_id=page.id, key=key, payload=payload)]
    for topic in alike:
        _refuse_conflict(topic, key, payload)
    for topic in alike:
        if not topic.registered or topic.title != title:
            queries("topic").register_topic(conn, id=topic.id, key=key, title=title)
        wanted = (topic.reply if reply is None else thanks, topic.labels if labels is None else marks)
        if wanted != (topic.reply, topic.labels):
            queries("topic").edit_topic(conn, id=topic.id, reply=as_json(wanted[0]), labels=wanted[1])
    stored = find(conn, page, key)
    if actor is not None and (known is None or stored != _topic(known)):
        detail = {"topic": key, "title": title, "payload": payload, "reply": stored.reply, "labels": stored.labels}
        changed = known is not None and known.registered_at is not None
        write_audit(conn, page, actor, "topic_changed" if changed else "topic_registered", detail)
    return stored


def check_labels(labels: Collection[str]) -> list[str]:
    """Give the labels of a topic back, each once and in order.

    Raises:
        UsageError: one of them cannot be used, or they are too many.
    """
    marks = sorted({check_label(label) for label in labels})
    if len(marks) > LABELS_PER_PERSON:
        raise UsageError(f"A topic puts {LABELS_PER_PERSON} labels on people at most. Leave some out.")
    return marks


def write_audit(conn: PsycopgConnection, page: Page, actor: str, action: str, detail: Mapping[str, Any]) -> None:
    """Write down who changed what is asked for or answered."""
    queries("campaign").write_audit(
        conn, actor=actor, action=action, page_id=page.id, campaign_id=None, detail=json.dumps(detail)
    )


def as_json(value: Mapping[str, Any] | None) -> str | None:
    """What a jsonb parameter takes."""
    return None if value is None else json.dumps(value)


def _check(key: str, title: str, payload: str) -> None:
    check_key(key, "a topic")
    check_title(title)
    check_payload(payload)


def title_length(title: str) -> int:
    """How many characters Messenger may count: UTF-16 is the larger count, and right in either case."""
    return len(title.encode("utf-16-le", "surrogatepass")) // 2


def check_title(title: str) -> None:
    """See whether Messenger shows a title above *Notify Me*.

    Raises:
        UsageError: it is empty, longer than 65 characters, or holds what cannot be stored.
    """
    length = title_length(title)
    if not title.strip() or length > TITLE_LIMIT:
        raise UsageError(
            f"The title has {length} characters. Give 1 to {TITLE_LIMIT}: Messenger refuses a longer request."
        )
    if storable(title) != title:
        raise UsageError("The title holds characters that cannot be stored. Give plain text.")


def check_payload(payload: str) -> None:
    """See whether an opt-in can carry a payload back.

    Raises:
        UsageError: it cannot be stored, or it reads as that of a card with a reference.
    """
    if storable(payload) != payload:
        raise UsageError(
            "The payload is too long or holds characters that cannot be stored. Give a shorter, plain one."
        )
    if unpack(payload) != (payload, None):
        raise UsageError(
            "The payload reads as a topic with a reference, as the cards of another topic carry it. Give a plain one."
        )


def check_key(key: str, owner: str) -> None:
    """See whether people can use a key on a command line.

    Raises:
        UsageError: it is empty, too long, or not printable.
    """
    if not key.strip() or len(key) > KEY_LIMIT or not key.isprintable():
        raise UsageError(f"{key!r} cannot be {owner}'s key. Give 1 to {KEY_LIMIT} printable characters.")


def _refuse_conflict(topic: Topic, key: str, payload: str) -> None:
    if topic.adopted_by is not None:
        raise TopicConflictError(
            f"Opt-ins with the payload {topic.payload!r} were adopted by another topic. Release the payload first by"
            " `./otn topics release`, or choose another one.",
            of="payload" if topic.payload == payload else "key",
        )
    if topic.payload == payload and (topic.key == key or not topic.registered):
        return
    if topic.payload == payload:
        raise TopicConflictError(
            f"The payload {payload!r} belongs to the topic {topic.key!r} already. Use that topic, or another payload.",
            of="payload",
        )
    if topic.registered:
        raise TopicConflictError(
            f"The topic {key!r} is registered with the payload {topic.payload!r}. Choose another key, or keep that"
            " payload."
        )
    raise TopicConflictError(
        f"The key {key!r} stands for opt-ins that arrived with the payload {topic.payload!r}. Register that payload"
        " under it, or choose another key."
    )


def listing(conn: PsycopgConnection, page: Page | None = None) -> list[TopicCounts]:
    """All topics with their counts, registered ones first.

    Args:
        conn: a connection.
        page: of one page only.
    """
    rows = queries("topic").list_topics(conn, page_id=page.id if page else None, days=EXPIRING_DAYS)
    return [TopicCounts(**row._asdict()) for row in rows]


def registered(conn: PsycopgConnection, page: Page) -> list[Topic]:
    """The registered topics of a page, by key."""
    return [_topic(row) for row in queries("topic").registered_topics(conn, page_id=page.id)]


def find(conn: PsycopgConnection, page: Page, key: str) -> Topic:
    """Find a topic by its key, registered or not.

    Raises:
        UnknownTopicError: there is none, and the sentence names those that look alike; or its opt-ins were adopted.
    """
    row = queries("topic").find_topic(conn, page_id=page.id, key=key)
    if row is not None and row.adopted_by is not None:
        raise UnknownTopicError(
            f"The opt-ins of {key!r} were adopted by another topic. Use that one; `./otn topics list` names it."
        )
    if row is not None:
        return _topic(row)
    keys = [found.key for found in queries("topic").topic_keys(conn, page_id=page.id)]
    near = get_close_matches(key, keys, n=3, cutoff=0.5)
    known = f"near: {', '.join(near)}" if near else f"known: {', '.join(keys[:5]) or 'none'}"
    raise UnknownTopicError(
        f"The page {page.connection_id!r} has no topic {key!r} ({known})."
        f" Look at `./otn topics list`, or register it by `./otn topics add`."
    )


def _topic(row: Any) -> Topic:
    return Topic(**row._asdict())
