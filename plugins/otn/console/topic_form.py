"""The form of a topic: what a person typed, and what is wrong with it, field by field."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from otn.consent import pages, topics
from otn.consent.content import content, message_from
from otn.consent.pages import Page
from otn.consent.titles import Finding, lint
from otn.consent.topics import TITLE_LIMIT, Topic, TopicConflictError
from otn.database import PsycopgConnection, queries
from otn.errors import UsageError

LABELS = {
    "page": "Page",
    "key": "Key",
    "title": "Title",
    "payload": "Payload",
    "reply": "Reply",
    "reply_message": "Reply as a message object",
    "labels": "Labels",
}


class FormError(UsageError):
    """The form cannot be taken as it is. Correct the fields that are named.

    Args:
        problems: name of the field to the sentence.
    """

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__()
        self.problems = dict(problems)


@dataclass(frozen=True)
class TopicForm:
    """What stands in the fields, as text.

    Args:
        page: connection of the page.
        key: the name that people use.
        title: what Messenger shows above *Notify Me*.
        payload: what an opt-in carries back; empty: the key.
        reply: thanks for an opt-in; empty: none, or ``reply_message``.
        reply_message: the same as a Send API message object.
        labels: one a line.
    """

    page: str = ""
    key: str = ""
    title: str = ""
    payload: str = ""
    reply: str = ""
    reply_message: str = ""
    labels: str = ""

    @classmethod
    def typed(cls, fields: Mapping[str, str]) -> TopicForm:
        """What somebody typed; nothing is taken away from it."""
        return cls(**{name: fields.get(name, "") for name in LABELS})

    @classmethod
    def of(cls, row: Any) -> TopicForm:
        """What is stored of a topic.

        Args:
            row: of ``topic_by_number``.
        """
        plain = isinstance(row.reply, dict) and row.reply.keys() == {"text"}
        return cls(
            page=row.page,
            key=row.key,
            title=row.title or "",
            payload=row.payload,
            reply=row.reply["text"] if plain else "",
            reply_message="" if plain or row.reply is None else json.dumps(row.reply, indent=2, ensure_ascii=False),
            labels="\n".join(row.labels),
        )

    def held_to(self, row: Any) -> TopicForm:
        """The same with what an edit cannot change: page and payload, and the key of a registered topic."""
        kept = replace(self, page=row.page, payload=row.payload)
        return kept if row.registered_at is None else replace(kept, key=row.key)

    @property
    def characters(self) -> int:
        """Of the title, as Messenger may count them."""
        return topics.title_length(self.title)

    @property
    def left(self) -> int:
        """How many more the title may have; below zero: how many are too many."""
        return TITLE_LIMIT - self.characters

    @property
    def findings(self) -> list[Finding]:
        """Words of the title that Meta may object to."""
        return lint(self.title)

    @property
    def marks(self) -> list[str]:
        """The labels."""
        return [line.strip() for line in self.labels.splitlines() if line.strip()]

    def check(self) -> dict[str, str]:
        """What is wrong with the fields by themselves: name of the field to the sentence."""
        checks: dict[str, Callable[[], object]] = {
            "key": lambda: topics.check_key(self.key.strip(), "a topic"),
            "title": lambda: topics.check_title(self.title.strip()),
            "payload": lambda: topics.check_payload(self.payload),
            "reply": lambda: self.reply.strip() and content(self.reply),
            "reply_message": self.thanks,
            "labels": lambda: topics.check_labels(self.marks),
        }
        problems = {name: sentence for name, check in checks.items() if (sentence := _refusal(check))}
        if "reply" in problems:
            problems.pop("reply_message", None)
        return problems

    def thanks(self) -> dict[str, Any]:
        """The message that thanks for an opt-in; empty: none.

        Raises:
            UsageError: both fields hold one, or it cannot be sent.
        """
        return message_from(self.reply if self.reply.strip() else None, self.reply_message.strip() or None) or {}


def store(conn: PsycopgConnection, form: TopicForm, *, actor: str, known: Any | None = None) -> Topic:
    """Register or change a topic.

    Args:
        conn: a connection in a transaction.
        form: what was typed.
        actor: who does it, for the audit.
        known: row of the topic that is edited; None: a new one.

    Raises:
        FormError: a field cannot be taken.
    """
    problems = form.check()
    key = form.key.strip()
    page = _page(conn, form.page, problems)
    if page is not None:
        queries("topic").lock_page_of_topics(conn, page_id=page.id)
        if known is None and _registered(conn, page, key):
            problems["key"] = f"The page has a topic {key!r} already. Edit that one, or choose another key."
    if problems or page is None:
        raise FormError(problems)
    payload = key if known is None and not form.payload else form.payload
    try:
        return topics.add(
            conn, page, key, form.title.strip(), payload, reply=form.thanks(), labels=form.marks, actor=actor
        )
    except TopicConflictError as error:
        raise FormError({error.of: str(error)}) from None


def _page(conn: PsycopgConnection, name: str, problems: dict[str, str]) -> Page | None:
    if not name:
        problems["page"] = "No page is chosen. Choose the one whose topic it is."
        return None
    try:
        return pages.find(conn, name)
    except UsageError as error:
        problems["page"] = str(error)
        return None


def _registered(conn: PsycopgConnection, page: Page, key: str) -> bool:
    return any(topic.key == key for topic in topics.registered(conn, page))


def _refusal(check: Callable[[], object]) -> str | None:
    try:
        check()
    except UsageError as error:
        return str(error)
    return None
