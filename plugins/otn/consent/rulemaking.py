"""Rules written down: checked once, so that nothing has to be checked while people wait for an answer."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any

from otn.consent import topics
from otn.consent.content import content
from otn.consent.pages import Page
from otn.consent.reference import REF_LIMIT
from otn.consent.rules import TRIGGERS, WORD_LIMIT, Rule, Trigger, carries
from otn.consent.suppression import Words, read_words
from otn.consent.text import KEY_LIMIT, plain_words, storable
from otn.consent.topics import Topic, as_json, check_key, write_audit
from otn.database import PsycopgConnection, queries
from otn.errors import UsageError
from otn.messenger.messages import PAYLOAD_LIMIT, MessageError

ANY = "*"  # as people write "any link", "any campaign"
STOCK_LIMIT = 100
_REF_LIMIT = 2083  # characters (Meta docs, m.me links)
_WITH_PATTERN = ("word", "postback", "referral", "reaction")
_WITH_ANY = ("referral", "reaction")
_COLUMNS = ("page_id", "key", "trigger", "pattern", "topic_id", "ref", "stock")


class RuleConflictError(UsageError):
    """Another rule answers the same. Look at `./otn rules list`."""


class UnknownRuleError(UsageError):
    """There is no such rule. Look at `./otn rules list`."""


@dataclass(frozen=True)
class RuleSpec:
    """A rule as people write it.

    Args:
        key: the name that people use, up to 200 characters.
        trigger: what it listens to.
        pattern: the word, payload, ref or campaign; ``*`` for any ref or campaign; None for the other triggers.
        topic: key of the topic whose request card is sent; None: only the message.
        ref: reference in the card's payload.
        message: a text or a Send API message object.
        stock: a card goes to people with fewer unspent tokens than this.
    """

    key: str
    trigger: Trigger
    pattern: str | None = None
    topic: str | None = None
    ref: str | None = None
    message: str | Mapping[str, Any] | None = None
    stock: int = 1


@dataclass(frozen=True)
class Written:
    """What became of rules that were written down; with one refused, none was.

    Args:
        created: keys of new rules.
        changed: keys of rules that were otherwise.
        unchanged: keys of rules that were so already.
        refused: key → why.
    """

    created: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    refused: dict[str, UsageError] = field(default_factory=dict)


def add(conn: PsycopgConnection, page: Page, spec: RuleSpec, *, actor: str) -> Written:
    """Write a rule down, or change the one with that key; the same twice changes nothing.

    Args:
        conn: a connection in a transaction.
        page: whose rule it is.
        spec: the rule.
        actor: who does it, for the audit.

    Raises:
        UsageError: the rule cannot be used as written.
        RuleConflictError: another rule answers the same.
        UnknownTopicError: there is no such topic.
    """
    written = write(conn, page, [spec], actor=actor)
    for refusal in written.refused.values():
        raise refusal
    return written


def write(conn: PsycopgConnection, page: Page, specs: Sequence[RuleSpec], *, actor: str) -> Written:
    """Write down rules that may take each other's places, or none of them.

    Args:
        conn: a connection in a transaction.
        page: whose rules they are.
        specs: the rules, each key once.
        actor: who does it, for the audit.
    """
    queries("topic").lock_page_of_topics(conn, page_id=page.id)
    known = {rule.key: rule for rule in listing(conn, page)}
    named = {spec.key for spec in specs}
    taken = {(rule.trigger, rule.pattern): rule.key for rule in known.values() if rule.key not in named}
    words, names = read_words(), _names_of_topics(conn, page)
    written, wanted = Written(), []
    for spec in specs:
        try:
            rule = _checked(conn, page, spec)
            _refuse_stop_words(words, names, rule)
            _refuse_taken(taken, rule)
        except UsageError as error:
            written.refused[spec.key] = error
            continue
        taken[rule.trigger, rule.pattern] = rule.key
        same = known.get(rule.key)
        fate = written.created if same is None else written.changed
        if same is not None and replace(rule, id=same.id) == same:
            fate = written.unchanged
        else:
            wanted.append(rule)
        fate.append(rule.key)
    if not written.refused:
        _store(conn, page, wanted, written, actor)
    return written


def _store(conn: PsycopgConnection, page: Page, rules: Sequence[Rule], written: Written, actor: str) -> None:
    if written.changed and len(rules) > 1:
        queries("rule").park_rules(conn, page_id=page.id, keys=written.changed)
    for rule in rules:
        columns = {name: getattr(rule, name) for name in _COLUMNS}
        queries("rule").write_rule(conn, **columns, message=as_json(rule.message))
        action = "rule_changed" if rule.key in written.changed else "rule_added"
        write_audit(conn, page, actor, action, describe(rule))


def remove(conn: PsycopgConnection, page: Page, key: str, *, actor: str) -> Rule:
    """Take a rule away; what it has answered stays answered.

    Raises:
        UnknownRuleError: there is none; the sentence names those that look alike.
    """
    queries("topic").lock_page_of_topics(conn, page_id=page.id)
    rules = {rule.key: rule for rule in listing(conn, page)}
    if key not in rules:
        near = get_close_matches(key, rules, n=3, cutoff=0.5) or list(rules)[:5]
        raise UnknownRuleError(
            f"The page {page.connection_id!r} has no rule {key!r} (known: {', '.join(near) or 'none'})."
            " Look at `./otn rules list`."
        )
    queries("rule").remove_rule(conn, id=rules[key].id)
    write_audit(conn, page, actor, "rule_removed", describe(rules[key]))
    return rules[key]


def listing(conn: PsycopgConnection, page: Page | None = None) -> list[Rule]:
    """The rules as they were written, by page and key; also those whose card could not be sent now."""
    rules = (Rule(**row._asdict()) for row in queries("rule").rule_book(conn))
    return [rule for rule in rules if page is None or rule.page_id == page.id]


def describe(rule: Rule) -> dict[str, Any]:
    """A rule in the words of a file: what it listens to, and what it does; only what is set."""
    listens = {rule.trigger: (rule.pattern or ANY) if rule.trigger in _WITH_PATTERN else True}
    does = {"topic": rule.topic_key, "ref": rule.ref, "stock": rule.stock if rule.stock > 1 else None}
    said = rule.message["text"] if rule.message is not None and rule.message.keys() == {"text"} else rule.message
    return {"rule": rule.key} | listens | {name: value for name, value in {**does, "message": said}.items() if value}


def _checked(conn: PsycopgConnection, page: Page, spec: RuleSpec) -> Rule:
    check_key(spec.key, "a rule")
    if spec.trigger not in TRIGGERS:
        raise UsageError(f"{spec.trigger!r} is nothing that a rule listens to. Use one of {', '.join(TRIGGERS)}.")
    if spec.topic is None and not spec.message:
        raise UsageError("The rule does nothing. Give a topic, whose request card is sent, or a message.")
    if spec.topic is None and spec.ref is not None:
        raise UsageError("A reference travels in a topic's card. Give a topic, or leave the reference out.")
    if isinstance(spec.stock, bool) or not 1 <= spec.stock <= STOCK_LIMIT:
        raise UsageError(f"The stock is {spec.stock!r}. Give 1 to {STOCK_LIMIT} tokens.")
    rule = Rule(
        id=0,
        page_id=page.id,
        key=spec.key,
        trigger=spec.trigger,
        pattern=_pattern(spec.trigger, spec.pattern),
        message=content(spec.message) if spec.message else None,
        stock=spec.stock,
    )
    return rule if spec.topic is None else _with_card(rule, topics.find(conn, page, spec.topic), spec.ref)


def _refuse_taken(taken: Mapping[tuple[Trigger, str | None], str], rule: Rule) -> None:
    owner = taken.get((rule.trigger, rule.pattern))
    if owner is not None:
        raise RuleConflictError(
            f"The rule {owner!r} answers the same. Remove it by `./otn rules remove`, or change that one."
        )


def _refuse_stop_words(words: Words, names: Collection[str], rule: Rule) -> None:
    if rule.trigger != "word":
        return
    if words.meaning(rule.pattern) is not None or any(name in names for _, name in words.naming(rule.pattern)):
        raise UsageError(f"{rule.pattern!r} is a stop or start word: it always means that. Choose another word.")


def _names_of_topics(conn: PsycopgConnection, page: Page) -> set[str]:
    """What a stop word may name."""
    return {plain_words(name) for topic in topics.registered(conn, page) for name in (topic.key, topic.title or "")}


def _with_card(rule: Rule, topic: Topic, ref: str | None) -> Rule:
    if not topic.registered:
        raise UsageError(f"{topic.key!r} is not registered and has no title. Register it by `./otn topics add` first.")
    card = replace(
        rule, topic_id=topic.id, topic_key=topic.key, topic_payload=topic.payload, topic_title=topic.title, ref=ref
    )
    if ref is not None and not carries(topic.payload, ref):
        raise UsageError(f"The reference has {len(ref)} characters. Give 1 to {REF_LIMIT} plain ones.")
    try:
        card.card()
    except MessageError as error:
        raise UsageError(f"The request card of {topic.key!r} cannot be sent: {error}") from None
    return card


def _pattern(trigger: Trigger, pattern: str | None) -> str | None:
    """What is compared: a word in its normal form, anything else as it stands."""
    if trigger not in _WITH_PATTERN:
        if pattern is not None:
            raise UsageError(f"A rule for {trigger} listens to all of it. Leave {pattern!r} out.")
        return None
    if pattern == ANY and trigger in _WITH_ANY:
        return None
    limit = {"word": WORD_LIMIT, "postback": PAYLOAD_LIMIT, "referral": _REF_LIMIT}.get(trigger, KEY_LIMIT)
    if not pattern or len(pattern) > limit or storable(pattern) != pattern:
        raise UsageError(f"The {trigger} that the rule listens to is empty or too long. Give 1 to {limit} characters.")
    return _word(pattern) if trigger == "word" else pattern


def _word(text: str) -> str:
    word = plain_words(text)
    if not word:
        raise UsageError(f"{text!r} holds no letters. Give a word that people write.")
    return word
