from __future__ import annotations

import io
import threading
from typing import Any

import pytest

from otn.consent import pages, people_file, subscribers
from otn.consent.labels import LabelError, check_attribute
from otn.consent.people_file import PeopleFileError
from otn.consent.subscribers import Change, ChangeFigures, Chosen, UnknownSubscriberError
from otn.database import Engine, transaction
from otn.errors import UsageError
from tests.clean import database, emptied_url
from tests.consent.inbox import page_settings

__all__ = ["database", "emptied_url"]


@pytest.fixture
def page(database: Engine) -> pages.Page:
    """A page with five people, 1 to 5."""
    with transaction(database) as conn:
        page = pages.register(conn, page_settings())
        conn.cursor().execute(
            "INSERT INTO otn.subscriber (page_id, psid) SELECT %s, n::text FROM generate_series(1, 5) AS n", (page.id,)
        )
    return page


def sql(database: Engine, statement: str, *values: Any) -> list[Any]:
    with transaction(database) as conn, conn.cursor() as cursor:
        cursor.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else []


def labels(database: Engine) -> dict[str, list[str]]:
    return dict(sql(database, "SELECT psid, labels FROM otn.subscriber WHERE labels <> '{}'"))


def attributes(database: Engine) -> dict[str, dict[str, str]]:
    return dict(sql(database, "SELECT psid, attributes FROM otn.subscriber WHERE attributes <> '{}'"))


# labels and attributes by name and by choice


def test_labels_are_put_on_once_in_their_order_and_taken_off(database: Engine, page: pages.Page) -> None:
    change = Change(add=("b", "a"))
    assert subscribers.change_named(database, page, ["1", "2", " 1 ", ""], change) == ChangeFigures(2, 2)
    again = subscribers.change_named(database, page, ["1"], change)
    assert (again.changed, again.unchanged) == (0, 1)
    subscribers.change_named(database, page, ["1"], Change(add=("c",), remove=("b", "never")))
    assert labels(database) == {"1": ["a", "c"], "2": ["b", "a"]}


def test_who_is_not_there_is_counted_and_not_made(database: Engine, page: pages.Page) -> None:
    sql(database, "UPDATE otn.subscriber SET erased_at = now(), psid = NULL WHERE psid = '3'")
    figures = subscribers.change_named(database, page, ["1", "3", "404", "a\x00b"], Change(add=("a",)))
    assert (figures.people, figures.changed, figures.skipped) == (4, 1, {"unknown_person": 3})
    assert sql(database, "SELECT count(*) AS n FROM otn.subscriber")[0].n == 5


def test_attributes_are_set_and_taken_away(database: Engine, page: pages.Page) -> None:
    subscribers.change_named(database, page, ["1"], Change(set={"city": "Oslo", "size": "42"}))
    subscribers.change_named(database, page, ["1"], Change(set={"city": "Bergen"}, unset=("size",)))
    assert attributes(database) == {"1": {"city": "Bergen"}}


def test_a_dry_run_counts_and_writes_nothing(database: Engine, page: pages.Page) -> None:
    figures = subscribers.change_named(database, page, ["1", "404"], Change(add=("a",)), dry_run=True)
    assert (figures.changed, figures.skipped) == (1, {"unknown_person": 1})
    assert labels(database) == {}


def test_people_are_chosen_by_label_attribute_and_slices(
    database: Engine, page: pages.Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscribers, "SLICE_ROWS", 2)
    subscribers.change_named(database, page, ["1", "2", "3", "5"], Change(add=("vip",), set={"city": "Oslo"}))
    subscribers.change_named(database, page, ["5"], Change(set={"city": "Bergen"}))
    everyone = subscribers.change_chosen(database, page, Chosen(), Change(add=("all",)))
    assert (everyone.people, everyone.changed) == (5, 5)
    chosen = Chosen(labels=("vip", "all"), attributes={"city": "Oslo"})
    assert subscribers.change_chosen(database, page, chosen, Change(add=("oslo",))).changed == 3
    assert {psid for psid, some in labels(database).items() if "oslo" in some} == {"1", "2", "3"}
    with pytest.raises(UsageError, match="A campaign and its result go together"):
        subscribers.change_chosen(database, page, Chosen(result="sent"), Change(add=("x",)))
    with pytest.raises(UsageError, match="Results are: sent, refused"):
        subscribers.change_chosen(database, page, Chosen(campaign_id=1, result="seen"), Change(add=("x",)))


def test_nobody_carries_more_than_a_person_may(database: Engine, page: pages.Page) -> None:
    many = tuple(f"l{n}" for n in range(100))
    assert subscribers.change_named(database, page, ["1"], Change(add=many)).changed == 1
    full = subscribers.change_named(database, page, ["1", "2"], Change(add=("one more",)))
    assert (full.changed, full.skipped) == (1, {"too_many_labels": 1})
    assert subscribers.change_named(database, page, ["1"], Change(add=("one more",), remove=("l0",))).changed == 1
    lots = {f"a{n}": "x" for n in range(50)}
    assert subscribers.change_named(database, page, ["1"], Change(set=lots)).changed == 1
    assert subscribers.change_named(database, page, ["1"], Change(set={"more": "x"})).skipped == {
        "too_many_attributes": 1
    }
    # Who carries more already, from elsewhere, may still be changed downwards.
    sql(database, "UPDATE otn.subscriber SET labels = labels || '{x, y}' WHERE psid = '1'")
    assert subscribers.change_named(database, page, ["1"], Change(remove=("x",))).changed == 1


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (Change(), "There is nothing to change"),
        (Change(add=("",)), "The label '' cannot be used"),
        (Change(add=(" a",)), "without spaces around them"),
        (Change(add=("a\nb",)), "printable"),
        (Change(add=("x" * 101,)), "Give 1 to 100 printable characters"),
        (Change(remove=("\ud800",)), "cannot be used"),
        (Change(add=("a",), remove=("a",)), "'a' is both put on and taken off"),
        (Change(set={"a": "1"}, unset=("a",)), "'a' is both put on and taken off"),
        (Change(set={"1a": "x"}), "no digit first: texts use it as {{ name }}"),
        (Change(set={"first_name": "x"}), "texts know that name already"),
        (Change(set={"a": ""}), "The value '' cannot be used"),
        (Change(set={"a": "x" * 501}), "Give 1 to 500 printable characters"),
    ],
)
def test_what_cannot_be_put_on_is_refused_before_anything_is_written(
    database: Engine, page: pages.Page, change: Change, sentence: str
) -> None:
    with pytest.raises(LabelError) as caught:
        subscribers.change_named(database, page, ["1"], change)
    assert sentence in str(caught.value)
    assert len(str(caught.value)) < 300


def test_names_of_attributes() -> None:
    assert check_attribute("city_2") == "city_2"
    for name in ("", "a b", "a-b", "ä", "x" * 101, 7, "psid", "ref"):
        with pytest.raises(LabelError):
            check_attribute(name)


def test_two_changes_at_once_both_count(database: Engine, page: pages.Page) -> None:
    together = threading.Barrier(2, timeout=10)

    def put(label: str, order: list[str]) -> None:
        together.wait()
        for _ in range(10):
            subscribers.change_named(database, page, order, Change(add=(label,)))
            subscribers.change_named(database, page, order, Change(remove=(label,)))
        subscribers.change_named(database, page, order, Change(add=(label,)))

    threads = [
        threading.Thread(target=put, args=("a", ["1", "2", "3"])),
        threading.Thread(target=put, args=("b", ["3", "2", "1"])),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {psid: sorted(some) for psid, some in labels(database).items()} == {psid: ["a", "b"] for psid in "123"}


# files


def load(database: Engine, page: pages.Page, text: str, **options: Any) -> people_file.FileFigures:
    return people_file.import_file(database, page, io.StringIO(text, newline=""), **options)


def test_a_file_puts_labels_and_attributes_on(database: Engine, page: pages.Page) -> None:
    figures = load(database, page, '\ufeffpsid,labels,city,size\n1,"a;b| c",Oslo,\n2,,Bergen,42\n1,d,,41\n')
    assert (figures.rows, figures.people, figures.changed, figures.merged, figures.left_out) == (3, 2, 2, 1, {})
    assert labels(database) == {"1": ["a", "b", "c", "d"]}
    assert attributes(database) == {"1": {"city": "Oslo", "size": "41"}, "2": {"city": "Bergen", "size": "42"}}
    assert load(database, page, "psid;label\r\n1;a\r\n").changed == 0


def test_rows_that_cannot_be_used_are_counted_with_their_reason_and_their_line(
    database: Engine, page: pages.Page
) -> None:
    text = (
        "psid\tlabel\tcity\n404\ta\t\n\n\ta\t\n2.87778E+16\ta\t\n1\t" + "x" * 101 + "\t\n"
        "2\ta\t" + "y" * 501 + "\n3\ta\n4\t\t\n5\ta\tOslo\n"
    )
    figures = load(database, page, text)
    assert figures.left_out == {
        "unknown_person": 1,
        "no_psid": 1,
        "psid_rounded_by_a_spreadsheet": 1,
        "label_not_usable": 1,
        "value_not_usable": 1,
        "wrong_number_of_cells": 1,
        "nothing_to_change": 1,
    }
    assert figures.rows == figures.people + figures.merged + sum(figures.left_out.values()) == 8
    assert (2, "unknown_person") in figures.examples
    assert (5, "psid_rounded_by_a_spreadsheet") in figures.examples
    assert labels(database) == {"5": ["a"]}


def test_a_dry_run_of_a_file_says_the_same_and_writes_nothing(database: Engine, page: pages.Page) -> None:
    text = "psid,label\n1,a\n2,a\n404,a\n"
    dry = load(database, page, text, dry_run=True)
    assert labels(database) == {}
    assert load(database, page, text) == dry


def test_a_file_is_read_in_slices(database: Engine, page: pages.Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people_file, "SLICE_ROWS", 2)
    told: list[int] = []
    figures = load(database, page, "psid,label\n" + "".join(f"{n},a\n" for n in range(1, 6)), on_rows=told.append)
    assert (figures.changed, told) == (5, [2, 2, 1])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "The file is empty"),
        ("\n\n", "The file is empty"),
        ("name,label\n1,a\n", "names no column 'psid'"),
        ("psid\n1\n", "no column beside 'psid'"),
        ("psid,a,a\n", "The column 'a' stands there twice"),
        ("psid,first_name\n", "texts know that name already. Choose another. It is the heading of a column"),
        ("psid,my city\n", "The attribute 'my city' cannot be used"),
        ("psid," + ",".join(f"a{n}" for n in range(60)), "Give 60 at most"),
        ('psid,label\n1,"a\n2,b\n', "cannot be read near line 3"),
        ("psid,label\n1," + "x" * 200_000 + "\n", "cannot be read near line 2"),
    ],
)
def test_a_file_that_cannot_be_used_is_a_sentence(database: Engine, page: pages.Page, text: str, sentence: str) -> None:
    with pytest.raises(PeopleFileError) as caught:
        load(database, page, text)
    assert sentence in str(caught.value)
    assert labels(database) == {}


def test_a_file_of_other_bytes_is_a_sentence(database: Engine, page: pages.Page) -> None:
    stream = io.TextIOWrapper(io.BytesIO("psid,label\n1,Grün\n".encode("latin-1")), encoding="utf-8", newline="")
    with pytest.raises(PeopleFileError, match="no UTF-8 text"):
        people_file.import_file(database, page, stream)


# lists and one person


def test_a_list_is_walked_by_key(database: Engine, page: pages.Page) -> None:
    subscribers.change_named(database, page, ["1", "2", "4"], Change(add=("vip",)))
    walked: list[dict[str, Any]] = []
    while rows := subscribers.listing(
        database, page, Chosen(labels=("vip",)), after=walked[-1]["subscriber_id"] if walked else 0, most=2
    ):
        walked += rows
    assert [row["psid"] for row in walked] == ["1", "2", "4"]
    assert (walked[0]["labels"], walked[0]["unspent"], walked[0]["suppressed"]) == (["vip"], 0, [])


STORY = """
INSERT INTO otn.topic (page_id, key, title, payload, registered_at)
    SELECT id, 'shoes', 'Shoes', 'shoes', now() FROM otn.page;
INSERT INTO otn.event (fingerprint, page_id, subscriber_id, kind, occurred_at, webhook_day, webhook_id, payload, ref)
    SELECT sha256(kind::bytea), s.page_id, s.id, kind::otn.event_kind, at::timestamptz, '2026-01-01',
           gen_random_uuid(), kind, ref
    FROM otn.subscriber s, (VALUES ('referral', '2026-01-01T10:00:00Z', 'flyer'),
        ('optin', '2026-01-01T10:00:09Z', NULL), ('reaction', '2026-01-02T10:00:07Z', NULL),
        ('echo', '2026-01-02T10:00:01Z', NULL)) AS e(kind, at, ref)
    WHERE s.psid = '1';
INSERT INTO otn.window_message (page_id, subscriber_id, cause, event_id, topic_id, ref, card, message, state, attempts,
        attempt_id, evidence, message_id, not_after, called_at, sent_at)
    SELECT s.page_id, s.id, 'rule', n, t.id, CASE WHEN card THEN 'sku' END, card, '{}', 'sent', 1, gen_random_uuid(),
           'answer', 'm' || n, now(), at::timestamptz, at::timestamptz
    FROM otn.subscriber s, otn.topic t, (VALUES (1, true, '2026-01-01T10:00:02Z'), (2, false, '2026-01-02T10:00:08Z'),
        (3, true, '2026-01-02T10:00:09Z')) AS w(n, card, at) WHERE s.psid = '1';
INSERT INTO otn.token (subscriber_id, topic_id, token_hash, token_encrypted, opted_in_at, expires_at, ref, card_id)
    SELECT s.id, t.id, sha256('1'), 'x', '2026-01-01T10:00:09Z', '2026-12-31T10:00:09Z', 'sku', w.id
    FROM otn.subscriber s, otn.topic t, otn.window_message w WHERE s.psid = '1' AND w.event_id = 1;
INSERT INTO otn.campaign (page_id, topic_id, key, message, content_hash, needs_approval, state, planned_at, chunks)
    SELECT page_id, id, 'spring', '{}', sha256('1'), false, 'sending', now(), 1 FROM otn.topic;
INSERT INTO otn.recipient (campaign_id, subscriber_id, token_id, chunk, state, attempts, attempt_id, evidence,
        message_id, sent_at, delivered_at, read_at)
    SELECT c.id, k.subscriber_id, k.id, 1, 'sent', 1, gen_random_uuid(), 'answer', 'm', '2026-01-02T10:00:00Z',
           '2026-01-02T10:00:03Z', '2026-01-02T10:00:05Z'
    FROM otn.campaign c, otn.token k;
INSERT INTO otn.suppression (subscriber_id, reason, since, actor)
    SELECT id, 'operator', '2026-01-03T10:00:00Z', 'cli:ops' FROM otn.subscriber WHERE psid = '1';
UPDATE otn.subscriber SET created_at = '2026-01-01T10:00:01Z' WHERE psid = '1';
"""


def test_a_person_is_one_story(database: Engine, page: pages.Page) -> None:
    sql(database, STORY)
    person = subscribers.show(database, page, "1")
    story = [(moment["what"], moment["about"], moment["ref"], moment["detail"]) for moment in person["timeline"]]
    assert story == [
        ("met", None, None, None),
        ("came by link", None, "flyer", None),
        ("asked", "shoes", "sku", "sent"),
        ("tapped", "shoes", "sku", "webhook"),
        ("token", "shoes", "sku", "spent"),
        ("campaign", "spring", "sku", "sent"),
        ("delivered", "spring", None, None),
        ("read", "spring", None, None),
        ("reacted", None, None, None),
        ("answered", "shoes", None, "sent"),
        ("asked", "shoes", "sku", "sent"),
        ("silenced", None, None, "operator"),
    ]
    assert [one["at"] for one in person["timeline"]] == sorted(one["at"] for one in person["timeline"])
    assert [row["state"] for row in person["consents"]] == ["spent"]
    assert [(row["campaign"], row["state"]) for row in person["campaigns"]] == [("spring", "sent")]
    assert len(person["window_messages"]) == 3
    assert [(row["reason"], row["actor"]) for row in person["suppressions"]] == [("operator", "cli:ops")]
    with transaction(database) as conn:
        newest = subscribers.timeline(conn, person["subscriber_id"], most=2)
    assert [moment["what"] for moment in newest] == ["asked", "silenced"]
    assert subscribers.listing(database, page, most=1)[0]["suppressed"] == ["operator"]


def test_an_erased_person_is_found_by_number_only(database: Engine, page: pages.Page) -> None:
    number = subscribers.show(database, page, "1")["subscriber_id"]
    sql(database, "UPDATE otn.subscriber SET erased_at = now(), psid = NULL WHERE psid = '1'")
    assert subscribers.show(database, page, f"#{number}")["timeline"][-1]["what"] == "erased"
    for name in ("1", "#0", "#x", "#" + "9" * 19, "#" + "9" * 40, "a\x00"):
        with pytest.raises(UnknownSubscriberError, match="knows nobody of this PSID"):
            subscribers.show(database, page, name)
