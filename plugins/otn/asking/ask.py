"""Asking: who gets a request card now, written down once, and what became of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from otn.consent import reference
from otn.consent.pages import Page
from otn.consent.topics import Topic
from otn.database import Engine, PsycopgConnection, queries, transaction
from otn.errors import UsageError
from otn.messenger.messages import one_time_request


class AskDiffersError(UsageError):
    """An ask of this key exists with other params. Use a new key."""


class AskUnknownError(UsageError):
    """There is no such ask. Look at `./otn asks list`."""


class TopicNotRegisteredError(UsageError):
    """The topic has no title yet, so there is nothing to ask. Register it by `./otn topics add`."""


@dataclass(frozen=True)
class AskSpec:
    """What somebody wants to ask.

    Args:
        key: unique per page; the run that asks.
        ref: what the consent is about beyond the topic; None: the topic alone.
        include_labels: people carry all of them.
        exclude_labels: and none of these.
        filter: ``locale``, ``attributes``, ``interacted_from``, ``interacted_until``.
        stock: people with so many unspent tokens are not asked.
        stock_reason: why more than one.
        max_people: at most so many; those whose window closes first come first.
        gated: countries whose people are not asked.
        gate_reason: why region and feature were not heeded.
    """

    key: str
    ref: str | None = None
    include_labels: tuple[str, ...] = ()
    exclude_labels: tuple[str, ...] = ()
    filter: Mapping[str, Any] = field(default_factory=dict)
    stock: int = 1
    stock_reason: str | None = None
    max_people: int | None = None
    gated: tuple[str, ...] = ()
    gate_reason: str | None = None


@dataclass(frozen=True)
class Ask:
    """An ask as it was written down.

    Args:
        id: ``otn.ask.id``.
        key: unique per page.
        asked: people who get a card.
        excluded: reason → people inside the window who do not.
        resumed: it had been written down before.
    """

    id: int
    key: str
    asked: int
    excluded: dict[str, int]
    resumed: bool = False


def count_people(engine: Engine, spec: AskSpec, page: Page, topic: Topic) -> dict[str, Any]:
    """Who would be asked now: ``asked``, and ``excluded`` by reason; writes nothing.

    Raises:
        TopicNotRegisteredError: the topic has no title.
    """
    card(topic, spec.ref)
    with transaction(engine) as connection:
        rows = list(queries("ask").count_people(connection, **_audience(spec, page, topic)))
    counts = {row.reason: int(row.people) for row in rows}
    return {"asked": counts.pop(None, 0), "excluded": counts}


def open_ask(engine: Engine, spec: AskSpec, page: Page, topic: Topic, *, actor: str) -> Ask:
    """Write down who is asked, and how many are not for what reason: one transaction. The same key again resumes.

    Args:
        engine: the project's database.
        spec: what somebody wants to ask.
        page: whose people.
        topic: what about.
        actor: who asks.

    Raises:
        AskDiffersError: the key is taken by an ask with other params.
        TopicNotRegisteredError: the topic has no title.
    """
    message = card(topic, spec.ref)
    with transaction(engine) as connection:
        queries("ask").lock_asking(connection, page_id=page.id)
        row = queries("ask").find_ask(connection, page_id=page.id, key=spec.key)
        if row is not None:
            return _resumed(connection, row, spec, topic)
        values = _audience(spec, page, topic)
        queries("ask").insert_ask(
            connection,
            key=spec.key,
            stock_reason=spec.stock_reason,
            gate_reason=spec.gate_reason,
            actor=actor,
            **{name: value for name, value in values.items() if name != "gated"},
        )
        row = queries("ask").find_ask(connection, page_id=page.id, key=spec.key)
        planned = queries("ask").plan_ask(connection, ask_id=row.id, message=json.dumps(message), **values)
        ask = Ask(row.id, spec.key, planned.asked, planned.excluded)
        _audit(connection, page, topic, spec, ask, actor)
        return ask


def card(topic: Topic, ref: str | None) -> dict[str, Any]:
    """The request card of a topic, as it is sent.

    Args:
        topic: what about.
        ref: a reference that comes back with the consent.

    Raises:
        TopicNotRegisteredError: the topic has no title.
    """
    if topic.title is None:
        raise TopicNotRegisteredError(
            f"The topic {topic.key!r} has no title, so there is nothing to ask. Register it by `./otn topics add`."
        )
    return one_time_request(topic.title, reference.pack(topic.payload, ref))


def find(engine: Engine, page_row_id: int, key: str) -> int:
    """Id of the ask of a page that people name by its key.

    Raises:
        AskUnknownError: there is none.
    """
    with transaction(engine) as connection:
        row = queries("ask").find_ask(connection, page_id=page_row_id, key=key)
    if row is None:
        raise AskUnknownError(f"There is no ask {key!r} on this page. `./otn asks list` shows what there is.")
    return int(row.id)


def listing(engine: Engine, page_row_id: int | None = None, most: int = 100) -> list[dict[str, Any]]:
    """Asks, newest first.

    Args:
        engine: the project's database.
        page_row_id: of one page only.
        most: so many at most.
    """
    with transaction(engine) as connection:
        rows = queries("ask").list_asks(connection, page_id=page_row_id, most=most)
        return [row._asdict() for row in rows]


def report(engine: Engine, ask_id: int) -> dict[str, Any]:
    """What became of an ask: ``asked`` = waiting + sending + sent + refused + unknown + Σskipped."""
    with transaction(engine) as connection:
        row = queries("ask").report_ask(connection, ask_id=ask_id)
    if row is None:
        raise AskUnknownError
    return dict(row._asdict())


def _resumed(connection: PsycopgConnection, row: Any, spec: AskSpec, topic: Topic) -> Ask:
    found = (
        row.topic_id,
        row.ref,
        set(row.include_labels),
        set(row.exclude_labels),
        row.filter,
        row.stock,
        row.max_people,
    )
    wanted = (
        topic.id, spec.ref, set(spec.include_labels), set(spec.exclude_labels), dict(spec.filter), spec.stock,
        spec.max_people,
    )  # fmt: skip
    if found != wanted:
        raise AskDiffersError(f"The ask {spec.key!r} exists with other params. Trigger a new run for them.")
    figures = queries("ask").report_ask(connection, ask_id=row.id)
    return Ask(row.id, spec.key, figures.asked, row.excluded, resumed=True)


def _audience(spec: AskSpec, page: Page, topic: Topic) -> dict[str, Any]:
    return {
        "page_id": page.id,
        "topic_id": topic.id,
        "ref": spec.ref,
        "include_labels": sorted(set(spec.include_labels)),
        "exclude_labels": sorted(set(spec.exclude_labels)),
        "filter": json.dumps(dict(spec.filter)),
        "stock": spec.stock,
        "gated": list(spec.gated),
        "max_people": spec.max_people,
    }


def _audit(connection: PsycopgConnection, page: Page, topic: Topic, spec: AskSpec, ask: Ask, actor: str) -> None:
    detail = {"ask": ask.key, "topic": topic.key, "asked": ask.asked, "excluded": ask.excluded}
    if spec.gate_reason:
        detail["gates_overridden"] = spec.gate_reason
    if spec.stock_reason:
        detail["stock"] = f"{spec.stock}: {spec.stock_reason}"
    queries("campaign").write_audit(
        connection, actor=actor, action="asked", page_id=page.id, campaign_id=None, detail=json.dumps(detail)
    )
