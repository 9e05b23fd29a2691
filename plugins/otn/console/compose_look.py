"""What a campaign would do, shown while it is composed: the message, who gets it, who does not, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from otn.campaign.model import Audience
from otn.consent.pages import Page
from otn.console.compose_counts import count, first_people
from otn.console.compose_form import AUDIENCE, CONTENT, Draft
from otn.console.tally import tally
from otn.database import Engine, queries, transaction
from otn.errors import OtnError
from otn.messenger.attachments import is_played
from otn.orchestration.hook import MessengerHook
from otn.orchestration.preview import unanswered_buttons
from otn.pace import Pace
from otn.rendering import SAMPLE_PERSON, MessageTemplate, RenderError

INVENTED = f"{SAMPLE_PERSON['first_name']} {SAMPLE_PERSON['last_name']}, an invented person"
_UNRENDERED = {
    "personal_field_missing": "a personal field is not known of them, and has no fall-back",
    "personal_field_unusable": "a personal field holds what the text cannot use",
    "message_over_limit": "with their fields the message is too long",
    "message_not_valid": "with their fields the message is none that Messenger takes",
}


@dataclass(frozen=True)
class Cost:
    """What a campaign costs.

    Args:
        spent: consents that are spent for ever.
        left: of the topic's unspent consents, how many remain.
        dying: of the spent ones, how many end within 30 days anyway.
        stock_dying: of the topic's unspent consents, how many end within 30 days.
        seconds: of sending, at the page's pace while nobody else sends; None: not known.
    """

    spent: int
    left: int
    dying: int
    stock_dying: int
    seconds: int | None


@dataclass
class Look:
    """What stands beside the form.

    Args:
        audience: whom it would reach now; None: not counted.
        cost: of that.
        message: as somebody gets it; None: there is none yet.
        reader: who that somebody is.
        skipped: why the chosen person would get nothing.
        unanswered: payloads of its buttons that no rule answers.
        people: numbers of the first who get it.
        counting: the audience, or its first people, are being counted: ask again.
        troubles: sentences about what keeps it from being counted or shown.
        counted_at: when; a large audience is not counted again at each letter of a text.
    """

    audience: Audience | None = None
    cost: Cost | None = None
    message: dict[str, Any] | None = None
    reader: str = INVENTED
    skipped: str | None = None
    unanswered: list[str] = field(default_factory=list)
    people: list[int] = field(default_factory=list)
    counting: bool = False
    troubles: list[str] = field(default_factory=list)
    counted_at: datetime | None = None


def look_at(
    engine: Engine, draft: Draft, page: Page | None, topic: Any, *, patience_s: float | None, people: bool
) -> Look:
    """Look at a form; writes nothing.

    Args:
        engine: the project's database.
        draft: the form.
        page: of the campaign; None: not chosen.
        topic: its row; None: not chosen.
        patience_s: seconds to wait for the audience; a million people take longer. None: it is not counted at all.
        people: show single people to this visitor.
    """
    found = Look()
    if page is None or topic is None:
        found.troubles.append("Choose a page and a topic: then everybody is counted.")
    elif not draft.sound(AUDIENCE):
        wrong = [sentence for name, sentence in draft.problems.items() if name in AUDIENCE]
        found.troubles += [f"Not counted yet. {sentence}" for sentence in wrong]
    elif patience_s is not None:
        _count(engine, found, draft, page, topic.id, patience_s)
        if people and (draft.typed["preview_as"] or draft.typed["do"] == "people"):
            first = first_people(engine, topic.id, draft.audience(), patience_s=patience_s)
            found.people = first.figures if first else []
            found.counting = found.counting or first is None
    if draft.template is not None and draft.sound(CONTENT):
        chosen = draft.typed["preview_as"] if people else ""
        _show(engine, found, draft.template, page, topic, chosen)
        if page is not None:
            found.unanswered = unanswered_buttons(engine, page.id, draft.template.message)
    return found


def _count(engine: Engine, found: Look, draft: Draft, page: Page, topic_id: int, patience_s: float) -> None:
    counted = count(engine, topic_id, draft.audience(), patience_s=patience_s)
    if counted is None:
        found.counting = True
        return
    audience, found.counted_at = counted.figures, counted.at
    stock = tally(engine).of(topic_id)
    found.audience = audience
    found.cost = Cost(
        spent=audience.recipients,
        left=max(0, stock.unspent - audience.recipients),
        dying=audience.dying,
        stock_dying=stock.dying,
        seconds=_seconds(engine, page, audience.recipients, draft.template),
    )


def _seconds(engine: Engine, page: Page, recipients: int, template: MessageTemplate | None) -> int | None:
    try:
        settings = MessengerHook(page.connection_id).settings
    except OtnError:  # the page's connection is missing or incomplete: the first task of the run says so
        return None
    played = template is not None and is_played(template.message)
    rate = Pace.of(engine, page.id, settings, media=played).shared_rate
    return None if rate is None else math.ceil(recipients / rate)


def _show(engine: Engine, found: Look, template: MessageTemplate, page: Page | None, topic: Any, chosen: str) -> None:
    variables: Mapping[str, Any] | None = None
    if chosen and page is not None and topic is not None:
        variables = _variables(engine, page.id, topic.id, chosen)
        if variables is None:
            found.troubles.append(f"This page knows no person of the number {chosen[:20]}. Choose another.")
        else:
            found.reader = f"person {int(chosen):,}"
    try:
        found.message = template.sample() if variables is None else template.render(variables)
    except RenderError as error:
        found.skipped = _UNRENDERED.get(error.reason, error.reason)


def _variables(engine: Engine, page_row_id: int, topic_id: int, chosen: str) -> Mapping[str, Any] | None:
    """Personal fields of somebody, as the plan would freeze them."""
    if not (chosen.isascii() and chosen.isdecimal() and len(chosen) <= 18):
        return None
    with transaction(engine) as connection:
        row = queries("console").fields_of_person(
            connection, page_id=page_row_id, topic_id=topic_id, subscriber_id=int(chosen)
        )
    return None if row is None else dict(row.fields)
