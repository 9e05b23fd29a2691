"""The topics of opt-ins: which one a payload belongs to, and the reference that it carries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from otn.consent.reference import unpack
from otn.consent.text import key_of, storable
from otn.consent.topics import MEETING_ROUNDS, TopicRaceError
from otn.database import PsycopgConnection, queries
from otn.messenger.events import Event, EventKind

_Key = tuple[int, str]  # our number of the page, and a payload as it is stored


@dataclass(frozen=True, slots=True)
class Met:
    """What an opt-in is about.

    Args:
        topic_id: ``otn.topic.id``; of a payload that was adopted, the topic that adopted it.
        ref: the reference; None: none.
        labels: put on whoever opts in.
        reply: the message that thanks for it; None: none.
    """

    topic_id: int
    ref: str | None
    labels: tuple[str, ...]
    reply: dict[str, Any] | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Offer:
    """A payload in its two readings: word for word, and as topic and reference where it can be read so."""

    whole: _Key
    inner: _Key | None
    ref: str | None
    name: str  # under which the topic is kept where nobody has registered it

    def chosen(self, known: Mapping[_Key, Any]) -> tuple[_Key, str | None]:
        """The reading that counts, and the reference that goes with it.

        A payload that somebody registered or adopted as it stands is that topic's: it decides before any reading.
        """
        topic = known.get(self.whole)
        if self.inner is None or (topic is not None and topic.registered):
            return self.whole, None
        if topic is not None and topic.adopted_by is not None:
            return self.whole, self.ref
        return self.inner, self.ref


def meet(conn: PsycopgConnection, pages: Mapping[str, int], events: Sequence[tuple[int, Event]]) -> dict[int, Met]:
    """Find the topic of each opt-in, by its place among the events.

    A payload that nobody registered is kept as a topic of its own, so that no opt-in is lost. Topics come first in the
    order of tables, in the order of page and payload.

    Args:
        conn: a connection in a transaction that holds opt-ins against adoption.
        pages: Facebook's id of each registered page, and ours.
        events: what came, each with the number of its body.

    Raises:
        TopicRaceError: others kept changing these topics.
    """
    offers: dict[_Key, _Offer] = {}
    wanted: dict[int, _Key] = {}
    for place, (_, event) in enumerate(events):
        if event.kind is EventKind.OPTIN:
            key = wanted[place] = (pages[event.page_id], event.payload or "")
            if key not in offers:
                offers[key] = _offer(*key)
    if not wanted:
        return {}
    met = _met(conn, offers)
    return {place: met[key] for place, key in wanted.items()}


def _offer(page: int, payload: str) -> _Offer:
    whole = (page, storable(payload))
    topic, ref = unpack(payload)
    if topic == payload:
        return _Offer(whole, None, None, key_of(payload))
    inner = (page, storable(topic))
    return _Offer(whole, inner, None if ref is None else storable(ref), key_of(topic))


def _met(conn: PsycopgConnection, offers: Mapping[_Key, _Offer]) -> dict[_Key, Met]:
    keys = sorted({key for offer in offers.values() for key in (offer.whole, offer.inner) if key is not None})
    for _ in range(MEETING_ROUNDS):
        known = {(row.page_id, row.payload): row for row in queries("ingest").find_topics(conn, **_columns(keys))}
        chosen = {key: offer.chosen(known) for key, offer in offers.items()}
        missing = {topic: offers[key].name for key, (topic, _) in chosen.items() if topic not in known}
        if not missing:
            return {key: _of(known[topic], ref) for key, (topic, ref) in chosen.items()}
        names = [missing[topic] for topic in sorted(missing)]
        queries("ingest").meet_topics(conn, **_columns(sorted(missing)), keys=names)
    raise TopicRaceError


def _of(row: Any, ref: str | None) -> Met:
    return Met(row.adopted_by or row.id, ref, tuple(row.labels), row.reply)


def _columns(keys: Sequence[_Key]) -> dict[str, Any]:
    return {"page_ids": [page for page, _ in keys], "payloads": [payload for _, payload in keys]}
