"""Rules: which one answers what, and which ones can be written down."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otn.consent import links, pages, rulemaking, rules, topics
from otn.consent.reference import unpack
from otn.consent.rulemaking import RuleConflictError, RuleSpec, UnknownRuleError
from otn.consent.rules import Rule, RuleBook
from otn.consent.topics import UnknownTopicError
from otn.database import transaction
from otn.errors import UsageError
from otn.messenger.events import Event, EventKind
from tests.clean import database, emptied_url
from tests.consent.inbox import page_settings

__all__ = ["database", "emptied_url"]

CARD = {"topic_id": 7, "topic_key": "restock", "topic_payload": "restock", "topic_title": "Back in stock"}


def rule(key, trigger, pattern=None, page_id=1, **does):
    return Rule(id=0, page_id=page_id, key=key, trigger=trigger, pattern=pattern, **(does or CARD))


def event(kind, **content):
    return Event(kind=EventKind(kind), page_id="1001", psid="2002", occurred_at=datetime.now(UTC), **content)


BOOK = RuleBook.of(
    [
        rule("hello", "word", "hello"),
        rule("buy", "postback", "BUY"),
        rule("start", "get_started"),
        rule("restock", "referral", "restock"),
        rule("deep", "referral", "restock:deep"),
        rule("any link", "referral"),
        rule("spring", "reaction", "spring"),
        rule("any", "any", page_id=1, message={"text": "?"}),
        rule("other page", "word", "hola", page_id=2),
        rule("any reaction", "reaction", page_id=2),
    ]
)


@pytest.mark.parametrize(
    ("kind", "content", "key"),
    [
        ("message", {"text": "hello"}, "hello"),
        ("message", {"text": "  HELLO!! 👋 "}, "hello"),
        ("message", {"text": "ＨＥＬＬＯ"}, "hello"),  # noqa: RUF001 - full width, as phones in Japan write
        ("message", {"text": "hello there"}, "any"),
        ("message", {"text": "hola"}, "any"),
        ("message", {"text": None}, "any"),
        ("message", {"text": "x" * 20_000}, "any"),
        ("message", {"text": "Yes", "payload": "BUY"}, "buy"),
        ("message", {"text": "hello", "payload": "unknown"}, "hello"),
        ("postback", {"payload": "BUY"}, "buy"),
        ("postback", {"payload": "buy"}, None),
        ("postback", {"payload": None}, None),
        ("postback", {"payload": "GET_STARTED"}, "start"),
        ("postback", {"payload": "GET_STARTED", "ref": "restock"}, "restock"),
        ("postback", {"payload": "BUY", "ref": "instagram"}, "any link"),
        ("referral", {"ref": "restock"}, "restock"),
        ("referral", {"ref": "restock:deep"}, "deep"),
        ("referral", {"ref": "Restock"}, "any link"),
        ("referral", {"ref": None}, "any link"),
        ("echo", {"text": "hello"}, None),
        ("optin", {"payload": "BUY"}, None),
        ("read", {}, None),
    ],
)
def test_what_answers(kind, content, key):
    found = BOOK.answer_to(1, event(kind, **content))
    assert (found and found.key) == key


def test_a_reaction_is_answered_by_its_campaign_and_never_when_it_is_taken_back():
    love = event("reaction", mid="m", action="react", reaction="love")
    assert BOOK.answer_to(1, love, campaign="spring").key == "spring"
    assert BOOK.answer_to(1, love, campaign="summer") is None
    assert BOOK.answer_to(1, love) is None
    assert BOOK.answer_to(2, love, campaign="summer").key == "any reaction"
    assert BOOK.answer_to(2, love) is None  # a reaction to something else than a campaign
    assert BOOK.answer_to(2, replace(love, action="unreact"), campaign="summer") is None


def test_rules_are_those_of_their_page():
    assert BOOK.answer_to(2, event("message", text="hola")).key == "other page"
    assert BOOK.answer_to(2, event("message", text="hello")) is None
    assert BOOK.answer_to(3, event("message", text="hello")) is None


def test_the_reference_of_a_link_travels_into_the_card():
    found = BOOK.answer_to(1, event("referral", ref="restock:blue shirt:XL"))
    assert (found.key, found.ref) == ("restock", "blue shirt:XL")
    assert unpack(found.card()["attachment"]["payload"]["payload"]) == ("restock", "blue shirt:XL")
    assert BOOK.answer_to(1, event("postback", payload="GET_STARTED", ref="restock:7")).ref == "7"
    assert BOOK.answer_to(1, event("referral", ref="restock")).ref is None


@pytest.mark.parametrize("ref", ["", "x" * 201, "\x00", "\ud800", "😀" * 4000, ":" * 9000])
def test_a_reference_that_no_card_can_carry_is_left_out(ref):
    found = BOOK.answer_to(1, event("referral", ref=f"restock:{ref}"))
    assert found is not None
    assert found.card() is not None
    if found.key == "restock":
        assert found.ref is None


@given(st.text(), st.one_of(st.none(), st.text()), st.sampled_from(["message", "postback", "referral", "reaction"]))
def test_nothing_that_a_stranger_writes_breaks_the_book_or_its_cards(text, other, kind):
    for said in (event(kind, text=text, payload=other, ref=text), event(kind, payload=text, ref=f"restock:{text}")):
        found = BOOK.answer_to(1, said, campaign=other)
        if found is not None:
            found.card()


def test_buttons_that_nothing_answers_are_named():
    def button(payload):
        return {"type": "postback", "title": payload, "payload": payload}

    buttons = [button("BUY"), button("GET_STARTED"), button("hello"), {"type": "web_url", "url": "https://x.test"}]
    template = {"template_type": "button", "text": "?", "buttons": buttons}
    message = {"attachment": {"type": "template", "payload": template}}
    assert BOOK.unanswered(1, message) == ["hello"]
    replies = {"text": "?", "quick_replies": [{"content_type": "text", "title": "Hola", "payload": "A"}]}
    assert BOOK.unanswered(1, replies) == []  # the rule for anything
    assert BOOK.unanswered(2, replies) == []  # the rule for its title
    assert BOOK.unanswered(3, replies) == ["A"]
    assert BOOK.unanswered(3, {"text": "no buttons"}) == BOOK.unanswered(3, {}) == []


# ─────────────────────────────────────────────────────────────── written down


@pytest.fixture
def page(database):
    with transaction(database) as conn:
        page = pages.register(conn, page_settings())
        topics.add(conn, page, "restock", "Back in stock")
        return page


def add(conn, page, key, trigger="word", pattern=None, **does):
    return rulemaking.add(conn, page, RuleSpec(key, trigger, pattern, **(does or {"topic": "restock"})), actor="test")


def audit(conn):
    with conn.cursor() as cursor:
        cursor.execute("SELECT action FROM otn.audit ORDER BY id")
        return [row.action for row in cursor.fetchall()]


def test_a_rule_is_written_once_changed_and_removed(database, page):
    with transaction(database) as conn:
        assert add(conn, page, "hi", pattern="  Hi!").created == ["hi"]
        assert add(conn, page, "hi", pattern="HI").unchanged == ["hi"]
        assert add(conn, page, "hi", pattern="hi", message="Hi {{ first_name | default('you') }}").changed == ["hi"]
        (known,) = rulemaking.listing(conn, page)
        assert (known.pattern, known.topic_id, known.message) == (
            *("hi", None), {"text": "Hi {{ first_name | default('you') }}"},
        )  # fmt: skip
        assert rules.load(conn).answer_to(page.id, event("message", text="Hi.")) == known
        with pytest.raises(UnknownRuleError, match=r"no rule 'ho' \(known: hi\)"):
            rulemaking.remove(conn, page, "ho", actor="test")
        assert rulemaking.remove(conn, page, "hi", actor="test") == known
        assert rules.load(conn).answer_to(page.id, event("message", text="Hi.")) is None
        assert audit(conn) == ["rule_added", "rule_changed", "rule_removed"]


def test_two_rules_for_the_same_are_refused(database, page):
    with transaction(database) as conn:
        add(conn, page, "one", pattern="hello")
        with pytest.raises(RuleConflictError, match="'one' answers the same"):
            add(conn, page, "two", pattern="Hello!")
        add(conn, page, "all", "referral", "*")
        with pytest.raises(RuleConflictError, match="'all' answers the same"):
            add(conn, page, "all too", "referral", "*")
        assert [rule.key for rule in rulemaking.listing(conn)] == ["all", "one"]


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (RuleSpec("", "any", topic="restock"), "cannot be a rule's key"),
        (RuleSpec("r", "any"), "The rule does nothing"),
        (RuleSpec("r", "any", ref="x", message="hi"), "A reference travels in a topic's card"),
        (RuleSpec("r", "any", "hello", topic="restock"), "listens to all of it"),
        (RuleSpec("r", "word", topic="restock"), "is empty or too long"),
        (RuleSpec("r", "word", "x" * 101, topic="restock"), "Give 1 to 100 characters"),
        (RuleSpec("r", "word", "?!", topic="restock"), "holds no letters"),
        (RuleSpec("r", "word", "Stop!", topic="restock"), "stop or start word"),
        (RuleSpec("r", "word", "СТОП", topic="restock"), "stop or start word"),
        (RuleSpec("r", "word", "START", topic="restock"), "stop or start word"),
        (RuleSpec("r", "word", "stop restock", topic="restock"), "stop or start word"),
        (RuleSpec("r", "word", "stop: Back in stock", topic="restock"), "stop or start word"),
        (RuleSpec("r", "postback", "p\x00", topic="restock"), "is empty or too long"),
        (RuleSpec("r", "referral", "", topic="restock"), "is empty or too long"),
        (RuleSpec("r", "any", topic="restock", stock=0), "The stock is 0"),
        (RuleSpec("r", "any", topic="restock", ref=""), "The reference has 0 characters"),
        (RuleSpec("r", "any", topic="restock", ref="x" * 201), "The reference has 201 characters"),
        (RuleSpec("r", "any", message="{{ first_name"), "The template is broken"),
        (RuleSpec("r", "any", message="x" * 2000), "2000 characters where 1999 are allowed"),
        (RuleSpec("r", "any", message={"text": "x", "metadata": "m"}), "metadata"),
        (RuleSpec("r", "hunch", "x", topic="restock"), "nothing that a rule listens to"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_a_rule_is_refused(database, page, spec, sentence):
    with transaction(database) as conn:
        with pytest.raises(UsageError, match=sentence):
            rulemaking.add(conn, page, spec, actor="test")
        assert rulemaking.listing(conn) == []
        assert audit(conn) == []


def test_a_card_needs_a_registered_topic_that_messenger_takes(database, page):
    with transaction(database) as conn, conn.cursor() as cursor:
        with pytest.raises(UnknownTopicError):
            add(conn, page, "r", pattern="hello", topic="none")
        cursor.execute("INSERT INTO otn.topic (page_id, key, payload) VALUES (%s, 'met', 'met')", (page.id,))
        with pytest.raises(UsageError, match="has no title"):
            add(conn, page, "r", pattern="hello", topic="met")
        topics.add(conn, page, "long", "Long", "x" * 1001)
        with pytest.raises(UsageError, match="cannot be sent"):
            add(conn, page, "r", pattern="hello", topic="long")


def test_a_rule_whose_card_broke_says_its_message_or_nothing_but_holds_nobody_up(database, page):
    with transaction(database) as conn, conn.cursor() as cursor:
        add(conn, page, "card", pattern="card")
        add(conn, page, "both", pattern="both", topic="restock", message="You are on the list")
        cursor.execute("UPDATE otn.topic SET title = repeat('😀', 65)")
        book = rules.load(conn)
        assert book.answer_to(page.id, event("message", text="card")) is None
        both = book.answer_to(page.id, event("message", text="both"))
        assert (both.card(), both.message) == (None, {"text": "You are on the list"})
        assert len(rulemaking.listing(conn)) == 2


def test_get_started_has_the_payload_of_the_setting(database, page):
    with transaction(database) as conn:
        add(conn, page, "start", "get_started")
        book = rules.load(conn, {"OTN_GET_STARTED_PAYLOAD": "BEGIN"})
        assert book.answer_to(page.id, event("postback", payload="BEGIN")).key == "start"
        assert book.answer_to(page.id, event("postback", payload="GET_STARTED")) is None


def test_a_link_leads_to_its_card_and_says_when_it_does_not(database, page):
    with transaction(database) as conn:
        topic = topics.find(conn, page, "restock")
        dead = links.link(rules.load(conn), page, topic, "blue shirt & co")
        assert dead.url == "https://m.me/1001?ref=restock:blue%20shirt%20%26%20co"
        assert (dead.answer, dead.leads_to_topic, dead.unusual) == (None, False, True)
        add(conn, page, "link", "referral", "restock")
        for ref in (None, "sku-1", "a:b"):
            live = links.link(rules.load(conn), page, topic, ref)
            assert (live.answer.key, live.leads_to_topic, live.unusual) == ("link", True, False)
        add(conn, page, "greedy", "referral", "restock:sku-1", message="Hello")
        stolen = links.link(rules.load(conn), page, topic, "sku-1")
        assert (stolen.answer.key, stolen.leads_to_topic) == ("greedy", False)
        for ref in ("", "x" * 201):
            with pytest.raises(UsageError, match="Give 1 to 200"):
                links.link(rules.load(conn), page, topic, ref)
        with pytest.raises(UsageError, match="2083 are allowed"):
            links.link(rules.load(conn), page, topic, "😀" * 190)
