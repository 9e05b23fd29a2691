"""Adoption: opt-ins whose payload misses a registered topic by case, spaces or signs are given to it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from psycopg2.errors import LockNotAvailable

from otn.consent import topics
from otn.consent.pages import Page
from otn.consent.reference import unpack
from otn.consent.silence import REASONS, Change, SilenceJournal, write_down
from otn.consent.text import plain_words
from otn.consent.topics import Topic, TopicConflictError, UnknownTopicError, write_audit
from otn.database import PsycopgConnection, queries
from otn.errors import OtnError

PATIENCE = "10s"


class BusyError(OtnError):
    """Opt-ins are being written just now. Try again in a moment."""


@dataclass(frozen=True)
class Adopted:
    """What an adoption did.

    Args:
        payload: whose opt-ins they were.
        topic: whose they are now.
        opt_ins: tokens that moved; later ones follow.
    """

    payload: str
    topic: Topic
    opt_ins: int


class Listed(Protocol):
    """A topic as a list shows it, such as ``TopicCounts``."""

    @property
    def id(self) -> int:
        """Our number of it."""

    @property
    def page(self) -> str:
        """The page's connection."""

    @property
    def key(self) -> str:
        """The name that people use."""

    @property
    def payload(self) -> str:
        """What an opt-in carries back."""

    @property
    def registered(self) -> bool:
        """Whether somebody gave it a title."""

    @property
    def adopted_by(self) -> str | None:
        """Key of the topic that its opt-ins belong to; None: itself."""


def looks_like(found: Iterable[Listed]) -> dict[int, str]:
    """Which unregistered topics are probably a registered one, misspelt.

    Args:
        found: topics of any pages.

    Returns:
        ``otn.topic.id`` of the unregistered one → key of the registered one.
    """
    listed = list(found)
    names: dict[tuple[str, str], str] = {}
    for one in listed:
        for name in filter(None, (_plain(one.payload), _plain(one.key)) if one.registered else ()):
            names.setdefault((one.page, name), one.key)
    alike = {
        one.id: names.get((one.page, _plain(unpack(one.payload)[0])))
        for one in listed
        if not one.registered and one.adopted_by is None
    }
    return {topic_id: key for topic_id, key in alike.items() if key is not None}


def adopt(
    conn: PsycopgConnection, page: Page, payload: str, key: str, *, actor: str, journal: SilenceJournal | None = None
) -> Adopted:
    """Give the opt-ins of an unregistered payload, and all later ones, to a registered topic; the same twice is once.

    Whoever stopped the one topic has stopped the other.

    Args:
        conn: a connection in a transaction that has written nothing yet.
        page: whose topics they are.
        payload: what the opt-ins carried; or the name under which the list shows it.
        key: the registered topic.
        actor: who does it, for the audit.
        journal: where the silences that go along are written down; None: this process knows none.

    Raises:
        UnknownTopicError: there is no such topic, or no opt-in with that payload.
        TopicConflictError: the payload is a registered topic's, was adopted by another, or a campaign uses it.
        BusyError: somebody has been writing opt-ins for too long.
    """
    _hold(conn, page)
    target = topics.find(conn, page, key)
    source = _source(conn, page, payload)
    _refuse(conn, source, target)
    moved = {"id": source.id, "adopted_by": target.id}
    if source.adopted_by is None:
        queries("topic").adopt_topic(conn, **moved)
    opt_ins = queries("topic").move_opt_ins(conn, ref=unpack(source.payload)[1], **moved)
    copied = [Change(**row._asdict()) for row in queries("topic").copy_silence(conn, **moved)]
    if source.adopted_by is None or opt_ins:
        detail = {"payload": source.payload, "topic": target.key, "opt_ins": opt_ins}
        write_audit(conn, page, actor, "opt_ins_adopted", detail)
    write_down(conn, journal, [one for one in copied if one.reason in REASONS])
    return Adopted(source.payload, target, opt_ins)


def release(conn: PsycopgConnection, page: Page, payload: str, *, actor: str) -> str:
    """Keep later opt-ins of an adopted payload apart again; those that moved stay, as they may have been spent.

    Returns:
        The payload.

    Raises:
        UnknownTopicError: nothing adopted has that payload.
        BusyError: somebody has been writing opt-ins for too long.
    """
    _hold(conn, page)
    source = _source(conn, page, payload)
    if source.adopted_by is None:
        raise UnknownTopicError(f"No topic has adopted the payload {payload!r}. Look at `./otn topics list`.")
    queries("topic").adopt_topic(conn, id=source.id, adopted_by=None)
    write_audit(conn, page, actor, "opt_ins_released", {"payload": source.payload})
    return source.payload


def _hold(conn: PsycopgConnection, page: Page) -> None:
    queries("topic").wait_at_most(conn, patience=PATIENCE)
    try:
        queries("topic").hold_opt_ins(conn)
    except LockNotAvailable:
        raise BusyError from None
    queries("topic").lock_page_of_topics(conn, page_id=page.id)


def _source(conn: PsycopgConnection, page: Page, payload: str) -> Topic:
    for row in queries("topic").topics_to_adopt(conn, page_id=page.id, payload=payload):
        found: Any = row._asdict()
        return Topic(**found)
    raise UnknownTopicError(f"No opt-in has come with the payload {payload!r}. Look at `./otn topics list`.")


def _refuse(conn: PsycopgConnection, source: Topic, target: Topic) -> None:
    if not target.registered:
        raise TopicConflictError(
            f"{target.key!r} is not registered. Register it by `./otn topics add`, or name a registered topic."
        )
    if source.registered:
        raise TopicConflictError(
            f"The payload {source.payload!r} belongs to the registered topic {source.key!r}. It cannot be adopted."
        )
    if source.adopted_by not in {None, target.id}:
        raise TopicConflictError(
            f"The payload {source.payload!r} was adopted by another topic. Release it first by `./otn topics release`."
        )
    under_way = [row.key for row in queries("topic").campaigns_under_way(conn, topic_id=source.id)]
    if under_way:
        raise TopicConflictError(
            f"The campaign {under_way[0]!r} sends to the opt-ins of {source.key!r}. Let it finish or cancel it first."
        )


def _plain(text: str) -> str:
    """Letters and digits alone, of one width and case."""
    return "".join(character for character in plain_words(text) if unicodedata.category(character)[0] in "LNM")
