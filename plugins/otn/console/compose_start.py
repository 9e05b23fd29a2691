"""What a form of a campaign starts from: defaults, an old campaign, consents that are dying, or an example."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from otn.campaign.state import CampaignUnknownError
from otn.consent.filters import SPANS
from otn.consent.pages import Page
from otn.console.compose_counts import count
from otn.console.compose_form import DEFAULTS
from otn.console.tally import FIRST_S, tally
from otn.console.zones import clock_time
from otn.database import Engine, PsycopgConnection, queries, transaction
from otn.errors import UsageError

PROPOSALS: Final = 50
_TOPIC_PART: Final = 180  # characters of a key of 200
_SHOP: Final = "https://shop.example/"
_BUTTONS: Final = [
    {"type": "web_url", "title": "Have a look", "url": _SHOP},
    {"type": "postback", "title": "Ask us", "payload": "ask-us"},
]
EXAMPLES: Final[Mapping[str, tuple[str, dict[str, Any]]]] = {
    "image": ("An image", {"attachment": {"type": "image", "payload": {"url": f"{_SHOP}new.jpg"}}}),
    "uploaded": (
        "An image by its attachment_id",
        {"attachment": {"type": "image", "payload": {"attachment_id": "1234567890"}}},
    ),
    "carousel": (
        "Cards side by side",
        {
            "attachment": {
                "type": "template",
                "payload": {
                    "template_type": "generic",
                    "elements": [
                        {
                            "title": f"{name} is back",
                            "subtitle": 'For you, {{ first_name | default("dear friend") }}',
                            "image_url": f"{_SHOP}{name.lower()}.jpg",
                            "buttons": _BUTTONS,
                        }
                        for name in ("Lamp", "Chair")
                    ],
                },
            }
        },
    ),
    "button": (
        "A text with buttons",
        {
            "attachment": {
                "type": "template",
                "payload": {
                    "template_type": "button",
                    "text": 'Hi {{ first_name | default("there") }}, it is back in stock.',
                    "buttons": _BUTTONS,
                },
            }
        },
    ),
    "quick_replies": (
        "A text with quick replies",
        {
            "text": 'Hi {{ first_name | default("there") }}, which size do you want?',
            "quick_replies": [
                {"content_type": "text", "title": size, "payload": f"size-{size.lower()}"}
                for size in ("Small", "Large")
            ],
        },
    ),
}


def example(name: str) -> str:
    """A message to begin with, as text.

    Raises:
        UsageError: there is none of this name.
    """
    if name not in EXAMPLES:
        raise UsageError(f"There is no example {name[:40]!r}. Choose one of the list.")
    return as_text(EXAMPLES[name][1])


def as_text(message: Mapping[str, Any]) -> str:
    """A message as people edit it."""
    return json.dumps(message, indent=2, ensure_ascii=False)


def of_campaign(engine: Engine, campaign_id: int) -> dict[str, str]:
    """The form of an old campaign, for another one: its content and its limits, without key and time.

    Raises:
        CampaignUnknownError: there is none of this number.
    """
    with transaction(engine) as connection:
        row = queries("campaign").find_campaign(connection, campaign_id=campaign_id)
    if row is None:
        raise CampaignUnknownError(f"There is no campaign number {campaign_id}. Take one of the list of campaigns.")
    chosen_by = dict(row.filter)
    plain = set(row.message) == {"text"}
    return {
        **DEFAULTS,
        "page": row.connection_id,
        "topic": row.topic_key,
        **({"text": row.message["text"]} if plain else {"kind": "message", "message": as_text(row.message)}),
        "include_labels": "\n".join(row.include_labels),
        "exclude_labels": "\n".join(row.exclude_labels),
        "max_recipients": str(row.max_recipients or ""),
        "ref": "\n".join(chosen_by.get("ref", ())),
        "locale": "\n".join(chosen_by.get("locale", ())),
        "attributes": _as_pairs(chosen_by.get("attributes", {})),
        **{
            name: clock_time(datetime.fromisoformat(chosen_by[name]))
            for span in SPANS
            for name in span
            if name in chosen_by
        },
        "if_late": row.if_late,
        "late_after": _span(row.late_after),
        "canary": str(row.canary),
        "canary_labels": "\n".join(row.canary_labels),
        "max_refused": f"{float(row.max_refused):g}",
        "result_labels": _as_pairs(row.result_labels),
    }


def of_dying(engine: Engine, topic_id: int) -> dict[str, str]:
    """The form for those of a topic whose consents end within 30 days: the soonest to end come first anyway.

    Raises:
        UsageError: there is no topic of this number.
    """
    with transaction(engine) as connection:
        row = queries("console").topic_by_number(connection, id=topic_id)
    if row is None:
        raise UsageError(f"There is no topic number {topic_id}. Take one of the list of topics.")
    everybody: dict[str, Any] = {"include_labels": (), "exclude_labels": (), "max_recipients": None}
    found = count(engine, topic_id, everybody, patience_s=FIRST_S)
    dying = found.figures.dying if found else tally(engine).of(topic_id).dying
    return {**DEFAULTS, "page": row.page, "topic": row.key, "max_recipients": str(dying or "")}


def proposed_key(connection: PsycopgConnection, page: Page, topic: str, today: date) -> str:
    """A key that no campaign of the page has: topic and day, numbered where that is taken."""
    first = f"{topic[:_TOPIC_PART]}-{today.isoformat()}"
    keys = [first, *(f"{first}-{number}" for number in range(2, PROPOSALS))]
    taken = {row.key for row in queries("console").keys_taken(connection, page_id=page.id, keys=keys)}
    return next((key for key in keys if key not in taken), "")


def keep_or_propose(engine: Engine, page: Page, topic: str, typed: Mapping[str, str]) -> dict[str, str]:
    """Fields of the key: one that somebody wrote stays, and one that was proposed for this topic.

    A proposal that was taken meanwhile stays too: whoever comes back to a form that he started already is told so, and
    does not start it a second time under another key.
    """
    key, before = typed["campaign"], typed["proposed"]
    if key and (key != before or before.startswith(f"{topic[:_TOPIC_PART]}-")):
        return {"campaign": key, "proposed": before}
    with transaction(engine) as connection:
        proposal = proposed_key(connection, page, topic, datetime.now(UTC).date())
    return {"campaign": proposal, "proposed": proposal}


def _as_pairs(values: Mapping[str, Sequence[str]]) -> str:
    return "\n".join(f"{name} = {value}" for name in values for value in values[name])


def _span(value: timedelta) -> str:
    seconds = int(value.total_seconds())
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds and seconds % length == 0:
            return f"{seconds // length} {unit}"
    minutes, rest = divmod(seconds, 60)
    return f"PT{minutes}M{rest}S"
