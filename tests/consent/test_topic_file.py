"""Topics and rules as a file: written and read back the same, taken as a whole or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otn.consent import marked_yaml, pages, rulemaking, topics
from otn.consent.marked_yaml import BYTES_LIMIT, YamlError
from otn.consent.rulemaking import RuleSpec
from otn.consent.topic_file import TopicFileError, export_file, import_file
from otn.database import transaction
from tests.clean import database, emptied_url
from tests.consent.inbox import page_settings

__all__ = ["database", "emptied_url"]

FILE = """
topics:
  restock:
    title: Back in stock
    labels: [vip, asked]
    reply: |-
      Thanks {{ first_name | default("you") }}!
      We write once.
  "2027":
    title: "Season 2027"
    payload: SEASON
rules:
  hello:
    word: " HELLO!"
    topic: restock
    stock: 2
  link:
    referral: restock
    topic: restock
    ref: from-link
  reacted:
    reaction: "*"
    message: {text: "Like it?", quick_replies: [{content_type: text, title: "Yes", payload: BUY}]}
  no:
    any: true
    message: "?"
"""


@pytest.fixture
def page(database):
    with transaction(database) as conn:
        return pages.register(conn, page_settings())


def take(database, page, text, **options):
    with transaction(database) as conn:
        return import_file(conn, page, text if isinstance(text, bytes) else text.encode(), actor="test", **options)


def export(database, page):
    with transaction(database) as conn:
        return export_file(conn, page)


def test_a_file_is_taken_once_and_comes_back_the_same(database, page):
    done = take(database, page, FILE)
    assert (done.topics.created, done.rules.created) == (["restock", "2027"], ["hello", "link", "reacted", "no"])
    with transaction(database) as conn:
        restock = topics.find(conn, page, "restock")
        assert (restock.labels, restock.reply["text"].splitlines()[1]) == (["asked", "vip"], "We write once.")
        assert topics.find(conn, page, "2027").payload == "SEASON"
        hello = rulemaking.listing(conn, page)[0]
        assert (hello.key, hello.pattern, hello.stock) == ("hello", "hello", 2)
    written = export(database, page)
    again = take(database, page, written)
    assert (again.topics.unchanged, again.rules.unchanged) == (["2027", "restock"], ["hello", "link", "no", "reacted"])
    assert again.topics.created == again.topics.changed == again.rules.created == again.rules.changed == []
    assert export(database, page) == written
    assert take(database, page, FILE).topics.changed == []
    with transaction(database) as conn, conn.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM otn.audit")
        assert cursor.fetchone().count == 6


def test_what_a_file_leaves_out_of_an_entry_goes_and_entries_stay(database, page):
    take(database, page, FILE)
    done = take(database, page, "topics:\n  restock: {title: Back in stock}\n")
    assert (done.topics.changed, done.topics.not_in_file) == (["restock"], ["2027"])
    assert done.rules.not_in_file == ["hello", "link", "no", "reacted"]
    with transaction(database) as conn:
        restock = topics.find(conn, page, "restock")
        assert (restock.reply, restock.labels) == (None, [])
        assert len(rulemaking.listing(conn, page)) == 4


def test_rules_may_change_places(database, page):
    pair = "rules:\n  a: {{word: {0}, message: A}}\n  b: {{word: {1}, message: B}}\n"
    take(database, page, pair.format("one", "two"))
    assert take(database, page, pair.format("two", "one")).rules.changed == ["a", "b"]
    moved = "rules:\n  c: {word: two, message: C}\n  a: {word: three, message: A}\n"
    done = take(database, page, moved)
    assert (done.rules.created, done.rules.changed) == (["c"], ["a"])
    with transaction(database) as conn:
        assert [(rule.key, rule.pattern) for rule in rulemaking.listing(conn, page)] == [
            *(("a", "three"), ("b", "one"), ("c", "two")),
        ]


MISTAKES = """topics:
  a: {title: }
  b: {title: 7, payload: b}
  c: {title: C, colour: red}
  d: [1]
  e: {title: E, labels: x, reply: [1]}
rules:
  f: {word: hi, any: true}
  g: {word: 2027-01-01, topic: a, stock: many}
  h: {any: 1, message: 5}
extra: 1
"""


def test_every_mistake_is_named_with_its_line(database, page):
    with pytest.raises(TopicFileError) as caught:
        take(database, page, MISTAKES)
    named = [tuple(mistake.split(":")[0].split(", ")) for mistake in caught.value.mistakes]
    assert named == [
        ("Line 11", "extra"),
        ("Line 2", "topics.a"),
        ("Line 3", "topics.b.title"),
        ("Line 4", "topics.c.colour"),
        ("Line 5", "topics.d"),
        ("Line 6", "topics.e.labels"),
        ("Line 6", "topics.e.reply"),
        ("Line 8", "rules.f"),
        ("Line 9", "rules.g.word"),
        ("Line 9", "rules.g.stock"),
        ("Line 10", "rules.h.any"),
        ("Line 10", "rules.h.message"),
    ]
    assert "Put it in quotes" in str(caught.value)


WRONG = """topics:
  good: {title: Good}
  long: {title: "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}
  taken: {title: Taken, payload: good}
  broken: {title: Broken, reply: "{{ name"}
rules:
  stop: {word: Stop, topic: good}
  one: {word: hello, topic: good}
  two: {word: HELLO, topic: good}
  lost: {word: lost, topic: nowhere}
  quiet: {word: quiet, topic: long}
"""


def test_what_the_database_refuses_is_named_too_and_nothing_is_kept(database, page):
    with pytest.raises(TopicFileError) as caught:
        take(database, page, WRONG)
    assert [mistake.split(":")[0] for mistake in caught.value.mistakes] == [
        "Line 3, topics.long",
        "Line 4, topics.taken",
        "Line 5, topics.broken",
        "Line 7, rules.stop",
        "Line 9, rules.two",
        "Line 10, rules.lost",
    ]
    with transaction(database) as conn, conn.cursor() as cursor:
        cursor.execute("SELECT (SELECT count(*) FROM otn.topic) + (SELECT count(*) FROM otn.rule) AS rows")
        assert cursor.fetchone().rows == 0


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("topics: {a: {title: A}, a: {title: B}}", "Line 1: The key 'a' is there twice"),
        ("a: &x [1]\nb: *x", r"Line 2: An alias \(\*name\) is not allowed"),
        ("topics:\n  a: !!python/object/apply:os.system [ls]", "nested|mapping|YAML"),
        ("topics: {a: {title: !!python/name:os.system x}}", "Line 1: This is no YAML"),
        ("topics: {", "Line 1: This is no YAML"),
        ("a: 1\n---\nb: 2", "This is no YAML"),
        ("[1, 2]: x", "Line 1: A key is no text"),
        ("topics: {a: {title: 2027-99-99}}", "Line 1: This is no number and no date"),
        ("", "holds no topics and no rules"),
        ("just text", "holds no topics and no rules"),
        ("topics: [a]", "This is no mapping"),
        (b"topics: {a: {title: \xff}}", "no UTF-8"),
        ("[" * 50_000, "nested too deeply"),
        ("x: " + "y" * BYTES_LIMIT, "bytes where 524,288 are allowed"),
    ],
    ids=range(14),
)
def test_hostile_files_are_a_sentence(database, page, text, sentence):
    with pytest.raises((YamlError, TopicFileError), match=sentence):
        take(database, page, text)


def test_two_pages_share_a_file(database, page):
    take(database, page, FILE)
    with transaction(database) as conn:
        other = pages.register(conn, page_settings("1002", "other"))
    assert take(database, other, export(database, page)).topics.created == ["2027", "restock"]
    assert export(database, other) == export(database, page)


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=30)


@given(
    st.dictionaries(
        TEXTS, st.one_of(TEXTS, st.lists(TEXTS), st.dictionaries(TEXTS, TEXTS), st.integers(), st.booleans())
    )
)
def test_what_is_written_reads_the_same(value):
    text = marked_yaml.write(value)
    assert marked_yaml.read(text.encode()).value == value
    assert marked_yaml.write(value) == text


def test_an_export_of_many_rules_is_in_a_stable_order(database, page):
    with transaction(database) as conn:
        for key in ("b", "ä", "a", "Z"):
            rulemaking.add(conn, page, RuleSpec(key, "word", f"word {key}", message="x"), actor="test")
    lines = [line for line in export(database, page).splitlines() if line.startswith("  ") and line.endswith(":")]
    assert lines == ["  Z:", "  a:", "  b:", "  ä:"]
