"""Whom a campaign would reach that is being composed: counted aside, as a million people take seconds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from otn.campaign import audience
from otn.campaign.model import Audience
from otn.console.counting import PATIENCE_S, Counted, Kept
from otn.database import Engine, queries, transaction

QUICK_S = 0.1
RARELY = 10  # a count that takes a second is shown for ten: whoever writes a text asks for the same at each pause
AT_ONCE = 2  # whoever changes filters quickly leaves counts behind that nobody waits for
FIRST_PEOPLE = 20


def count(
    engine: Engine, topic_id: int, asked: Mapping[str, Any], *, patience_s: float = PATIENCE_S
) -> Counted[Audience] | None:
    """Whom it would reach; None: it is being counted, ask again.

    Args:
        engine: the project's database.
        topic_id: ``otn.topic.id``.
        asked: labels, bound and filter, as ``otn.campaign.audience.count`` takes them.
        patience_s: seconds to wait.
    """
    return _AUDIENCES.get(engine, _key(topic_id, asked), patience_s=patience_s)


def first_people(
    engine: Engine, topic_id: int, asked: Mapping[str, Any], *, patience_s: float = PATIENCE_S
) -> Counted[list[int]] | None:
    """Numbers of some of them; None: they are being looked for, ask again."""
    return _PEOPLE.get(engine, _key(topic_id, asked), patience_s=patience_s)


def _key(topic_id: int, asked: Mapping[str, Any]) -> str:
    return json.dumps({"topic_id": topic_id, **asked, "chosen_by": dict(asked.get("chosen_by") or {})}, sort_keys=True)


def _count(engine: Engine, key: str) -> Audience:
    return audience.count(engine, **json.loads(key))


def _first_people(engine: Engine, key: str) -> list[int]:
    asked = json.loads(key)
    filters = asked | {"filter": json.dumps(asked.pop("chosen_by"))}
    with transaction(engine) as connection:
        queries("campaign").gather(connection)
        rows = queries("console").first_recipients(connection, most=FIRST_PEOPLE, **filters)
        return [row.subscriber_id for row in rows]


_AUDIENCES: Kept[str, Audience] = Kept(_count, lambda _: RARELY, quick_s=QUICK_S, at_once=AT_ONCE)
_PEOPLE: Kept[str, list[int]] = Kept(_first_people, lambda _: RARELY, quick_s=QUICK_S, at_once=AT_ONCE)
