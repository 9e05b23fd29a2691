"""Topics and rules of a page as a file for git: written in a stable order, taken back as a whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from otn.consent import marked_yaml, rulemaking, topics
from otn.consent.marked_yaml import Document
from otn.consent.pages import Page
from otn.consent.rulemaking import RuleSpec
from otn.consent.rules import TRIGGERS
from otn.consent.titles import Finding, lint
from otn.consent.topics import Topic
from otn.database import PsycopgConnection, queries
from otn.errors import UsageError

MISTAKES_SHOWN = 20
_TOPIC_FIELDS = ("title", "payload", "reply", "labels")
_RULE_FIELDS = (*TRIGGERS, "topic", "ref", "stock", "message")
_HEAD = "# Topics and rules of a page. Read back by: ./otn topics import FILE\n"


class TopicFileError(UsageError):
    """The file cannot be used. Correct the mistakes and try again; nothing was changed."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        shown = list(mistakes[:MISTAKES_SHOWN])
        if len(mistakes) > MISTAKES_SHOWN:
            shown.append(f"… and {len(mistakes) - MISTAKES_SHOWN} more")
        super().__init__("\n".join(["The file cannot be used; nothing was changed.", *shown]))
        self.mistakes = tuple(mistakes)


@dataclass
class Fates:
    """What became of the topics, or the rules, of a file.

    Args:
        created: keys of new ones.
        changed: keys of those that were otherwise.
        unchanged: keys of those that were so already.
        not_in_file: keys of those that the database has beside; they are left as they are.
    """

    created: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    not_in_file: list[str] = field(default_factory=list)


@dataclass
class Imported:
    """What a file did.

    Args:
        topics: its topics.
        rules: its rules.
        warnings: key of a topic → words of its title that Meta may object to.
    """

    topics: Fates = field(default_factory=Fates)
    rules: Fates = field(default_factory=Fates)
    warnings: dict[str, list[Finding]] = field(default_factory=dict)


def export_file(conn: PsycopgConnection, page: Page) -> str:
    """Topics and rules of a page as YAML: the same content is always the same text; no ids, no secrets.

    Args:
        conn: a connection.
        page: whose they are.
    """
    found = {topic.key: _topic_entry(topic) for topic in topics.registered(conn, page)}
    rules = sorted(rulemaking.listing(conn, page), key=lambda rule: rule.key)
    written = {
        rule.key: {name: value for name, value in rulemaking.describe(rule).items() if name != "rule"} for rule in rules
    }
    return _HEAD + marked_yaml.write({"topics": found, "rules": written})


def import_file(conn: PsycopgConnection, page: Page, raw: bytes, *, actor: str) -> Imported:
    """Make the topics and rules of a page what a file says; what the file does not name stays as it is.

    Args:
        conn: a connection in a transaction; after an error it must be rolled back.
        page: whose they are.
        raw: the file, at most 512 KiB.
        actor: who does it, for the audit.

    Raises:
        YamlError: it is no YAML.
        TopicFileError: it says what cannot be; all mistakes are named.
    """
    file = _File(marked_yaml.read(raw))
    file.check_sections()
    wanted_topics, wanted_rules = file.topics(), file.rules()
    if file.mistakes:
        raise TopicFileError(file.mistakes)
    queries("topic").lock_page_of_topics(conn, page_id=page.id)
    done = Imported()
    failed = _import_topics(conn, page, wanted_topics, actor, done, file)
    _import_rules(conn, page, [rule for rule in wanted_rules if rule.topic not in failed], actor, done, file)
    if file.mistakes:
        raise TopicFileError(file.mistakes)
    return done


def _import_topics(
    conn: PsycopgConnection, page: Page, entries: Mapping[str, dict[str, Any]], actor: str, done: Imported, file: _File
) -> set[str]:
    known = {topic.key: topic for topic in topics.registered(conn, page)}
    failed = set()
    for key, entry in entries.items():
        try:
            topic = topics.add(conn, page, key, **entry, actor=actor)
        except UsageError as error:
            file.wrong(str(error), "topics", key)
            failed.add(key)
            continue
        before = known.get(key)
        fate = done.topics.created if before is None else done.topics.changed
        (done.topics.unchanged if topic == before else fate).append(key)
        findings = lint(entry["title"])
        if findings:
            done.warnings[key] = findings
    done.topics.not_in_file = [key for key in known if key not in entries]
    return failed


def _import_rules(
    conn: PsycopgConnection, page: Page, specs: Sequence[RuleSpec], actor: str, done: Imported, file: _File
) -> None:
    known = [rule.key for rule in rulemaking.listing(conn, page)]
    written = rulemaking.write(conn, page, specs, actor=actor)
    for key, error in written.refused.items():
        file.wrong(str(error), "rules", key)
    named = {spec.key for spec in specs}
    done.rules = Fates(written.created, written.changed, written.unchanged, [key for key in known if key not in named])


def _topic_entry(topic: Topic) -> dict[str, Any]:
    entry: dict[str, Any] = {"title": topic.title}
    if topic.payload != topic.key:
        entry["payload"] = topic.payload
    if topic.reply is not None:
        entry["reply"] = topic.reply["text"] if topic.reply.keys() == {"text"} else topic.reply
    if topic.labels:
        entry["labels"] = topic.labels
    return entry


class _File:
    """A document, and the mistakes in it."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self.mistakes: list[str] = []

    def wrong(self, text: str, *path: str | int) -> None:
        """Note a mistake with its line and field."""
        name = ".".join(str(part) for part in path)
        self.mistakes.append(f"Line {self._document.line(*path)}, {name or 'file'}: {text}")

    def topics(self) -> dict[str, dict[str, Any]]:
        """What ``topics.add`` takes, by key. What a topic leaves out it does not have."""
        return {key: self._topic(key, entry) for key, entry in self._entries("topics", _TOPIC_FIELDS)}

    def rules(self) -> list[RuleSpec]:
        """The rules."""
        specs = (self._rule(key, entry) for key, entry in self._entries("rules", _RULE_FIELDS))
        return [spec for spec in specs if spec is not None]

    def check_sections(self) -> None:
        """See whether the file as a whole is one of topics and rules."""
        content = self._document.value
        if not isinstance(content, dict):
            self.wrong("The file holds no topics and no rules. Write them as topics: {...} and rules: {...}.")
            return
        self._refuse_unknown(content, ("topics", "rules"))

    def _entries(self, section: str, fields: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        content = self._document.value
        found = content.get(section) if isinstance(content, dict) else None
        if found is not None and not isinstance(found, dict):
            self.wrong("This is no mapping. Write one key per entry.", section)
            return
        for key, entry in (found or {}).items():
            if not isinstance(entry, dict):
                self.wrong(f"This is no mapping. Use the fields {', '.join(fields)}.", section, key)
                continue
            self._refuse_unknown(entry, fields, section, key)
            yield key, entry

    def _refuse_unknown(self, entry: Mapping[str, Any], fields: Sequence[str], *path: str) -> None:
        for name in entry:
            if name not in fields:
                self.wrong(f"This is not known. Use {', '.join(fields)}.", *path, name)

    def _topic(self, key: str, entry: Mapping[str, Any]) -> dict[str, Any]:
        labels = entry.get("labels") or []
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            self.wrong("Labels are a list of texts. Write [a, b]; put numbers in quotes.", "topics", key, "labels")
        if entry.get("title") is None:
            self.wrong("The title is missing.", "topics", key)
        return {
            "title": self._text(entry, "topics", key, "title"),
            "payload": self._text(entry, "topics", key, "payload"),
            "reply": self._message(entry, "topics", key, "reply") or {},
            "labels": labels,
        }

    def _rule(self, key: str, entry: Mapping[str, Any]) -> RuleSpec | None:
        triggers = [trigger for trigger in TRIGGERS if trigger in entry]
        if len(triggers) != 1:
            self.wrong(f"A rule listens to exactly one of {', '.join(TRIGGERS)}.", "rules", key)
            return None
        (trigger,) = triggers
        pattern = None
        if trigger not in {"get_started", "any"}:
            pattern = self._text(entry, "rules", key, trigger)
        elif entry[trigger] is not True:
            self.wrong("Write true.", "rules", key, trigger)
        stock = entry.get("stock", 1)
        if isinstance(stock, bool) or not isinstance(stock, int):
            self.wrong("This is no whole number.", "rules", key, "stock")
            stock = 1
        return RuleSpec(
            key=key,
            trigger=trigger,
            pattern=pattern,
            topic=self._text(entry, "rules", key, "topic"),
            ref=self._text(entry, "rules", key, "ref"),
            message=self._message(entry, "rules", key, "message"),
            stock=stock,
        )

    def _text(self, entry: Mapping[str, Any], *path: str) -> str | None:
        value = entry.get(path[-1])
        if value is None or isinstance(value, str):
            return value
        self.wrong(f"This is a {type(value).__name__}, not a text. Put it in quotes.", *path)
        return None

    def _message(self, entry: Mapping[str, Any], *path: str) -> str | dict[str, Any] | None:
        value = entry.get(path[-1])
        if value is None or isinstance(value, str | dict):
            return value
        self.wrong("This is no message. Write a text, or a Send API message object.", *path)
        return None
