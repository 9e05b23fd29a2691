"""Rules: what a person's word, tap, link or reaction is answered with.

A rule belongs to one page and answers one thing: the schema has at most one rule for each. Matching looks things up and
nothing more, so that no rule and no text of a stranger can make it slow.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from otn.consent.reference import pack, unpack
from otn.consent.text import plain_words, storable
from otn.database import PsycopgConnection, queries
from otn.messenger.events import Event, EventKind
from otn.messenger.messages import MessageError, one_time_request, postbacks

log = logging.getLogger(__name__)

Trigger = Literal["word", "postback", "get_started", "referral", "reaction", "any"]
TRIGGERS: tuple[Trigger, ...] = get_args(Trigger)

GET_STARTED = "GET_STARTED"  # what Meta's own samples set as the payload of Get Started
WORD_LIMIT = 100  # characters of a rule's word; a longer message is prose
REF_SEPARATOR = ":"  # between the rule's part of a link's ref and the reference that goes into the card
_CUTS = 20  # separators looked at in a ref that anybody may have written


@dataclass(frozen=True)
class Rule:
    """One thing that is answered, and the answer: a request card, a message, or both.

    Args:
        id: our number of it.
        page_id: our number of its page.
        key: the name that people use; unique per page.
        trigger: what it listens to.
        pattern: the word in its normal form, the payload, the ref or the campaign's key; None: any of them.
        topic_id: the topic whose request card is sent; None: only the message.
        topic_key: its name.
        topic_payload: its payload.
        topic_title: its title.
        ref: reference in the card's payload.
        message: sent when there is no card, or to people who hold enough tokens.
        stock: a card goes to people with fewer unspent tokens than this.
    """

    id: int
    page_id: int
    key: str
    trigger: Trigger
    pattern: str | None
    topic_id: int | None = None
    topic_key: str | None = None
    topic_payload: str | None = None
    topic_title: str | None = None
    ref: str | None = None
    message: dict[str, Any] | None = field(default=None, repr=False)
    stock: int = 1

    def card(self) -> dict[str, Any] | None:
        """The request card; None where the rule has no topic.

        Raises:
            MessageError: the topic's title or payload, with the reference, is more than Messenger takes.
        """
        if self.topic_id is None:
            return None
        return one_time_request(self.topic_title, pack(self.topic_payload or "", self.ref))

    def about(self, ref: str | None) -> Rule:
        """The rule with the reference that a link carried; as it stands where that is none that a card can carry."""
        if ref is None or self.topic_payload is None:
            return self
        if not carries(self.topic_payload, ref):
            return self
        told = replace(self, ref=ref)
        try:
            told.card()
        except MessageError:
            return self
        return told


def carries(payload: str, ref: str) -> bool:
    """Whether a reference comes back from a card of that payload as it went, and can be stored."""
    return storable(ref) == ref and unpack(pack(payload, ref)) == (payload, ref)


@dataclass(frozen=True)
class RuleBook:
    """All rules, asked in memory.

    Args:
        rules: by page, trigger and pattern.
        get_started: payload of the pages' Get Started button.
    """

    rules: Mapping[tuple[int, str, str | None], Rule]
    get_started: str = GET_STARTED

    @classmethod
    def of(cls, rules: Iterable[Rule], get_started: str = GET_STARTED) -> RuleBook:
        """A book of these rules."""
        return cls({(rule.page_id, rule.trigger, rule.pattern): rule for rule in rules}, get_started)

    def answer_to(self, page_row_id: int, event: Event, *, campaign: str | None = None) -> Rule | None:
        """The rule that answers an event; None: nothing does.

        Whether the event is a stop word, and whether the person may be written to, is not asked here.

        Args:
            page_row_id: ``otn.page.id``.
            event: what happened on that page.
            campaign: of a reaction: key of the campaign whose message it is to.
        """
        for trigger, pattern, ref in self._asked(event, campaign):
            rule = self.rules.get((page_row_id, trigger, pattern))
            if rule is not None:
                return rule.about(ref)
        return None

    def unanswered(self, page_row_id: int, message: Mapping[str, Any]) -> list[str]:
        """Payloads of a message's buttons and quick replies that no rule answers.

        Args:
            page_row_id: ``otn.page.id``.
            message: a Send API message object.
        """
        titles = _titles_of_quick_replies(message)
        return [tap for tap in postbacks(message) if not self._answers_tap(page_row_id, tap, titles.get(tap))]

    def _answers_tap(self, page_row_id: int, payload: str, title: str | None) -> bool:
        """Whether a tap is answered; one on a quick reply arrives as a message with the title as its text."""
        asked = self._postback(payload) if title is None else self._message(payload, title)
        return any((page_row_id, trigger, pattern) in self.rules for trigger, pattern, _ in asked)

    def _asked(self, event: Event, campaign: str | None) -> Iterator[tuple[Trigger, str | None, str | None]]:
        """What is looked up, in this order: trigger, pattern, and the reference that goes with it."""
        if event.kind is EventKind.MESSAGE:
            yield from self._message(event.payload, event.text)
        elif event.kind is EventKind.POSTBACK:
            if event.ref is not None:
                yield from _referral(event.ref)
            yield from self._postback(event.payload)
        elif event.kind is EventKind.REFERRAL:
            yield from _referral(event.ref)
        elif event.kind is EventKind.REACTION and campaign is not None and event.action != "unreact":
            yield "reaction", campaign, None
            yield "reaction", None, None

    def _message(self, payload: str | None, text: str | None) -> Iterator[tuple[Trigger, str | None, str | None]]:
        if payload is not None:
            yield "postback", payload, None
        if text and len(text) <= WORD_LIMIT * 2:
            yield "word", plain_words(text), None
        yield "any", None, None

    def _postback(self, payload: str | None) -> Iterator[tuple[Trigger, str | None, str | None]]:
        if payload is not None:
            yield "postback", payload, None
        if payload == self.get_started:
            yield "get_started", None, None


def _referral(ref: str | None) -> Iterator[tuple[Trigger, str | None, str | None]]:
    """The whole ref, then what stands before its last separator, and so on; then a rule for any link."""
    if ref is not None:
        yield "referral", ref, None
        head = ref
        for _ in range(_CUTS):
            head, separator, _tail = head.rpartition(REF_SEPARATOR)
            if not separator:
                break
            yield "referral", head, ref[len(head) + 1 :]
    yield "referral", None, None


def _titles_of_quick_replies(message: Mapping[str, Any]) -> dict[str, str]:
    replies = message.get("quick_replies")
    found = [reply for reply in replies if isinstance(reply, Mapping)] if isinstance(replies, list) else []
    return {str(reply.get("payload")): str(reply.get("title")) for reply in found}


def load(conn: PsycopgConnection, environ: Mapping[str, str] | None = None) -> RuleBook:
    """Read the rules of all pages.

    A rule whose card Messenger would refuse keeps its message; without one it answers nothing and is logged: a rule
    must never hold up the events it is asked about.

    Args:
        conn: a connection.
        environ: the environment; the process's own by default. ``OTN_GET_STARTED_PAYLOAD`` is read from it.
    """
    values = os.environ if environ is None else environ
    usable = (_usable(Rule(**row._asdict())) for row in queries("rule").rule_book(conn))
    return RuleBook.of(
        (rule for rule in usable if rule is not None), values.get("OTN_GET_STARTED_PAYLOAD") or GET_STARTED
    )


def _usable(rule: Rule) -> Rule | None:
    try:
        rule.card()
    except MessageError as error:
        log.warning("The card of the rule %r cannot be sent: %s", rule.key, error)
        return replace(rule, topic_id=None, topic_payload=None, ref=None) if rule.message is not None else None
    return rule
