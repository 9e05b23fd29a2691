"""Links that lead into a chat with the page, and from there to a topic's request card.

The link's ``ref`` is the topic's key, and after a colon the reference: one rule for the topic answers all of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from otn.consent.pages import Page
from otn.consent.reference import REF_LIMIT
from otn.consent.rules import REF_SEPARATOR, Rule, RuleBook, carries
from otn.consent.topics import Topic
from otn.errors import UsageError
from otn.messenger.events import Event, EventKind

REF_PARAMETER_LIMIT = 2083  # characters (Meta docs, m.me links)
_SAFE = "-._~:"
_USUAL = re.compile(r"[A-Za-z0-9+/=\-.:_]*")


@dataclass(frozen=True)
class Link:
    """A link, and what becomes of a tap on it.

    Args:
        url: to be shared.
        ref: what Messenger hands over.
        answer: the rule that answers; None: nothing happens.
        leads_to_topic: whether that is this topic's card with this reference.
        unusual: the ref has characters that some phones may not hand over.
    """

    url: str
    ref: str
    answer: Rule | None
    leads_to_topic: bool
    unusual: bool


def link(book: RuleBook, page: Page, topic: Topic, ref: str | None = None) -> Link:
    """Make the link to a topic's request card.

    Source: Meta docs, m.me links.

    Args:
        book: all rules.
        page: whose topic it is.
        topic: a registered topic.
        ref: reference that the card shall carry, such as a product.

    Raises:
        UsageError: the reference cannot travel in a card, or the link gets too long.
    """
    if ref is not None and not carries(topic.payload, ref):
        raise UsageError(f"The reference has {len(ref)} characters. Give 1 to {REF_LIMIT} plain ones.")
    whole = topic.key if ref is None else f"{topic.key}{REF_SEPARATOR}{ref}"
    parameter = quote(whole, safe=_SAFE, errors="replace")
    if len(parameter) > REF_PARAMETER_LIMIT:
        raise UsageError(f"The link's ref has {len(parameter)} characters; {REF_PARAMETER_LIMIT} are allowed.")
    event = Event(kind=EventKind.REFERRAL, page_id=page.page_id, psid=None, occurred_at=datetime.now(UTC), ref=whole)
    answer = book.answer_to(page.id, event)
    return Link(
        url=f"https://m.me/{page.page_id}?ref={parameter}",
        ref=whole,
        answer=answer,
        leads_to_topic=answer is not None and answer.topic_id == topic.id and ref in {None, answer.ref},
        unusual=_USUAL.fullmatch(whole) is None,
    )
