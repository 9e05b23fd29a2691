"""From new events to what is sent back inside the 24 h window: thanks, rules, confirmations of stop and start words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from otn.consent import rules
from otn.consent.rules import Rule
from otn.consent.suppression import Heard, Words
from otn.database import PsycopgConnection, queries
from otn.intake.meeting import Met
from otn.intake.staging import Stage
from otn.messenger.events import Event, EventKind
from otn.messenger.messages import MessageError

FLOOD = 20  # answers to one person in an hour
_ANSWERED = {EventKind.MESSAGE, EventKind.POSTBACK, EventKind.REFERRAL, EventKind.REACTION}


@dataclass(frozen=True)
class Answer:
    """What an event may be answered with; Postgres decides whether it is.

    Args:
        event_id: the event.
        cause: why: a rule, thanks for an opt-in, a stop or start word.
        message: what is sent; None: nothing, and ``reason`` says why.
        card: it is a request card.
        instead: sent in place of a card to people who hold enough tokens.
        rule_id: the rule.
        topic_id: of a card, of an opt-in, of a word.
        ref: the reference of a card, or of an opt-in.
        stock: a card goes to people with fewer unspent tokens than this.
        reason: why nothing is sent.
    """

    event_id: int
    cause: Literal["rule", "opt_in", "stop"]
    message: dict[str, Any] | None = field(repr=False)
    card: bool = False
    instead: dict[str, Any] | None = field(default=None, repr=False)
    rule_id: int | None = None
    topic_id: int | None = None
    ref: str | None = None
    stock: int = 1
    reason: str | None = None


def choose(
    conn: PsycopgConnection,
    pages: Mapping[str, int],
    events: Sequence[tuple[int, Event]],
    heard: Mapping[int, Heard],
) -> dict[int, Rule]:
    """Find the rules that answer events, by the event's place. A stop word is answered by none.

    Args:
        conn: a connection.
        pages: Facebook's id of each registered page, and ours.
        events: what came, each with the number of its body.
        heard: stop and start words among them.
    """
    asked = {
        place: event
        for place, (_, event) in enumerate(events)
        if event.kind in _ANSWERED
        and event.psid is not None
        and not event.standby  # whoever owns the thread answers
        and not _is_stop(heard.get(place))
    }
    if not asked:
        return {}
    book = rules.load(conn)
    if not book.rules:
        return {}
    campaigns = _campaigns(conn, pages, asked.values())
    found = {
        place: book.answer_to(
            pages[event.page_id], event, campaign=campaigns.get((event.page_id, event.psid, event.mid))
        )
        for place, event in asked.items()
    }
    return {place: rule for place, rule in found.items() if rule is not None}


def _is_stop(heard: Heard | None) -> bool:
    return heard is not None and heard.meaning == "stop_word"


def _campaigns(
    conn: PsycopgConnection, pages: Mapping[str, int], events: Iterable[Event]
) -> dict[tuple[str, str | None, str | None], str]:
    """Keys of the campaigns to whose messages people reacted."""
    reactions = {
        (event.page_id, event.psid, event.mid)
        for event in events
        if event.kind is EventKind.REACTION and event.mid is not None
    }
    if not reactions:
        return {}
    facebook_ids = {number: page_id for page_id, number in pages.items()}
    rows = queries("answering").campaigns_of_messages(
        conn,
        page_ids=[pages[page_id] for page_id, _, _ in reactions],
        psids=[psid for _, psid, _ in reactions],
        mids=[mid for _, _, mid in reactions],
    )
    return {(facebook_ids[row.page_id], row.psid, row.mid): row.key for row in rows}


def answer(conn: PsycopgConnection, stage: Stage, words: Words, new: Mapping[int, int], lifted: set[int]) -> None:
    """Put down what new events are answered with, each at most once; what is not sent says why.

    Args:
        conn: the transaction that stores the events; words were settled.
        stage: what was learned of them. Thanks go to those whose token is new too: the others were thanked.
        words: word the confirmations.
        new: ids of the new events, by place.
        lifted: people of whom a silence was just lifted.
    """
    confirmed = {place: new[place] for place in stage.heard if place in new}
    answers = list(_confirmations(conn, words, stage.heard, confirmed, lifted))
    taken = {given.event_id for given in answers}
    answers += [_thanks(new[place], met) for place, met in stage.met.items() if place in new and met.reply is not None]
    answers += [
        _ruled(new[place], rule) for place, rule in stage.rules.items() if place in new and new[place] not in taken
    ]
    if answers:
        _put(conn, answers)


def _confirmations(
    conn: PsycopgConnection, words: Words, heard: Mapping[int, Heard], new: Mapping[int, int], lifted: set[int]
) -> Iterator[Answer]:
    if not new:
        return
    places = {event_id: place for place, event_id in new.items()}
    for row in queries("answering").words_said(conn, event_ids=sorted(places)):
        said = heard[places[row.event_id]]
        is_stop = said.meaning == "stop_word"
        if not (is_stop or row.stopped_before or row.all_stopped or row.subscriber_id in lifted):
            continue  # who never stopped says hello; a rule may answer
        # A topic is not started while everything is stopped, and the person is told what holds.
        topic = None if row.all_stopped else row.topic
        text = words.answer(said, row.locale, topic, silent=is_stop or row.all_stopped)
        reason = "overtaken" if row.overtaken else None
        if row.objected and not is_stop:  # "you can get messages again" would not be true
            reason = "suppressed"
        yield Answer(row.event_id, "stop", {"text": text}, topic_id=said.topic_id, reason=reason)


def _thanks(event_id: int, met: Met) -> Answer:
    return Answer(event_id, "opt_in", met.reply, topic_id=met.topic_id, ref=met.ref)


def _ruled(event_id: int, rule: Rule) -> Answer:
    try:
        card = rule.card()
    except MessageError:
        card = None
        if rule.message is None:
            return Answer(event_id, "rule", None, rule_id=rule.id, reason="message_not_valid")
    if card is None:
        return Answer(event_id, "rule", rule.message, rule_id=rule.id)
    return Answer(
        event_id,
        "rule",
        card,
        card=True,
        instead=rule.message,
        rule_id=rule.id,
        topic_id=rule.topic_id,
        ref=rule.ref,
        stock=rule.stock,
    )


def _put(conn: PsycopgConnection, answers: Sequence[Answer]) -> None:
    """Messages go over once each: a thousand opt-ins to one topic are thanked with the same words."""
    numbers: dict[str, int] = {}

    def number_of(message: dict[str, Any] | None) -> int | None:
        return None if message is None else numbers.setdefault(json.dumps(message), len(numbers))

    rows = [
        {**vars(given), "message": number_of(given.message), "instead": number_of(given.instead)} for given in answers
    ]
    queries("answering").put_answers(
        conn, answers=json.dumps(rows), messages=f"[{','.join(numbers)}]", most_an_hour=FLOOD
    )
