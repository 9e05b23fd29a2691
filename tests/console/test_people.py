"""People: found without a trace of the text, shown whole, changed and erased with the name of whoever did it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from otn.console.people import ROWS
from otn.crypto import new_key
from otn.database import Engine, transaction
from tests.named_queries import sql_of

Visit = Callable[..., TestClient]
Write = Callable[..., Any]

LAST_AUDIT = "SELECT jsonb_build_array(actor, action, detail) FROM otn.audit ORDER BY id DESC LIMIT 1"
CHANGES = ("labels", "suppress", "release", "erase")


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """What an API server has: keys, and the journal of erasures outside the database."""
    journal = tmp_path / "erasures.jsonl"
    monkeypatch.setenv("OTN_HASH_KEY", new_key())
    monkeypatch.setenv("OTN_ENCRYPTION_KEYS", new_key())
    monkeypatch.setenv("OTN_ERASURE_JOURNAL", str(journal))
    return journal


@pytest.fixture
def person(shop: Any, write: Write) -> int:
    shop.opt_in("restock", 3)
    found: int = write("SELECT min(id) FROM otn.subscriber")
    return found


def found(page: str) -> list[int]:
    return [int(one) for one in re.findall(r'<a href="/people/(\d+)">', page)]


def test_who_may_not_see_people_finds_none(visit: Visit, person: int) -> None:
    for role, path in (("viewer", "/people"), ("viewer", f"/people/{person}"), ("user", f"/people/{person}")):
        answer = visit(role).get(path)
        assert answer.status_code == 403
        assert "70000000" not in answer.text
    assert visit("user").post("/people", data={"text": "First"}).status_code == 403
    assert all(visit("user").post(f"/people/{person}/{change}").status_code == 403 for change in CHANGES)


def test_people_are_found_by_the_beginning_of_a_name_or_a_whole_psid(visit: Visit, person: int) -> None:
    client = visit("admin")
    for text, places in (
        ("7000000000000002", [1]),
        ("  7000000000000002 ", [1]),
        ("First2", [1]),
        ("first2", [1]),
        ("Last3", [2]),
        ("First3  Last3", [2]),
        ("First", [0, 1, 2]),
        ("irst", []),
        ("%%", []),
        ("First_", []),
        ("7000000000000009", []),
        ("'; DROP TABLE otn.page --", []),
    ):
        page = client.post("/people", data={"text": text}).text
        assert found(page) == [person + place for place in places], text


def test_people_are_found_by_our_number(visit: Visit, person: int) -> None:
    assert found(visit("admin").post("/people", data={"text": f"#{person + 1}"}).text) == [person + 1]
    assert "Nobody has this number" in visit("admin").post("/people", data={"text": "#999999999999999999"}).text


def test_an_accent_is_the_same_however_it_was_typed(visit: Visit, person: int, write: Write) -> None:
    write("UPDATE otn.subscriber SET first_name = %s WHERE id = %s", "Ren\u00e9", person)
    assert found(visit("admin").post("/people", data={"text": "rene\u0301"}).text) == [person]


def test_a_search_is_audited_without_what_was_searched(visit: Visit, person: int, write: Write) -> None:
    for text, by, hits in (("First", "name", 3), ("7000000000000001", "psid", 1), (f"#{person}", "number", 1)):
        visit("admin", name="eve").post("/people", data={"text": text})
        actor, action, detail = write(LAST_AUDIT)
        assert (actor, action) == ("eve", "people_searched")
        assert detail == {"by": by, "hits": hits, "more": False}


def test_a_search_that_cannot_be_is_named_and_kept(visit: Visit, person: int, write: Write) -> None:
    client = visit("admin")
    for text in ("", "  ", "x", "a\u202eb", "n" * 201):
        answer = client.post("/people", data={"text": text})
        assert answer.status_code == 422, text
        assert 'id="wrong-text"' in answer.text
        assert f'name="text" value="{text}"' in answer.text
    assert write("SELECT count(*) FROM otn.audit WHERE action = 'people_searched'") == 0


def test_many_hits_are_walked_by_key(visit: Visit, shop: Any) -> None:
    shop.opt_in("restock", ROWS + 3)
    client = visit("admin")
    first = client.post("/people", data={"text": "First"}).text
    later = re.search(r'name="after_name" value="([^"]+)"><input type="hidden" name="after" value="(\d+)"', first)
    assert later is not None
    second = client.post("/people", data={"text": "First", "after_name": later[1], "after": later[2]}).text
    assert len(found(first)) == ROWS
    assert len(found(second)) == 3
    assert not set(found(first)) & set(found(second))
    assert 'name="after"' not in second


@pytest.mark.parametrize("text", ["BERG", "berg", "Åse B", "åse berg", "100%", "a_b"])
def test_a_name_is_found_from_its_beginning_whatever_its_case(visit: Visit, shop: Any, write: Write, text: str) -> None:
    shop.opt_in("restock", 4)
    names = [("Åse", "Berg"), ("Berg", None), ("100%", "Sure"), (None, "a_b")]
    for number, name in enumerate(names, 1):
        write(
            "UPDATE otn.subscriber SET first_name = %s, last_name = %s WHERE psid = %s",
            *name,
            f"700000000000000{number}",
        )
    page = visit("admin").post("/people", data={"text": text}).text
    wanted = {"BERG": 2, "berg": 2, "Åse B": 1, "åse berg": 1, "100%": 1, "a_b": 1}
    assert len(found(page)) == wanted[text]


def test_whoever_is_called_the_same_twice_is_found_once(visit: Visit, shop: Any, write: Write) -> None:
    shop.opt_in("restock", 1)
    write("UPDATE otn.subscriber SET first_name = 'Paul', last_name = 'Paul'")
    assert len(found(visit("admin").post("/people", data={"text": "paul"}).text)) == 1


def test_a_person_stands_with_all_that_is_known(visit: Visit, shop: Any, person: int, write: Write) -> None:
    campaign = shop.planned("spring")
    write(
        "UPDATE otn.recipient SET state = 'sent', evidence = 'answer', attempts = 1, attempt_id = gen_random_uuid(),"
        " message_id = 'm', sent_at = now(), delivered_at = now(), read_at = now() WHERE subscriber_id = %s",
        person,
    )
    page = visit("admin").get(f"/people/{person}").text
    assert "7000000000000001" in page
    assert re.search(rf'Back in stock.*?spent.*?/campaigns/{campaign}/recipients/{person}">spring</a>', page, re.DOTALL)
    assert "the platform accepted it" in page
    assert "saw the message of “spring”" in page
    assert ">read<" not in page


def test_doubt_is_said_as_unconfirmed(visit: Visit, shop: Any, person: int, write: Write) -> None:
    shop.planned("spring")
    write(
        "UPDATE otn.recipient SET state = 'unknown', reason = 'timeout', unanswered = 1, attempts = 1,"
        " attempt_id = gen_random_uuid() WHERE subscriber_id = %s",
        person,
    )
    page = visit("admin").get(f"/people/{person}").text
    assert "was in the campaign “spring” - unconfirmed: no answer came in time" in page
    assert ">unknown<" not in page


def test_who_was_left_out_sees_why_on_the_persons_page(visit: Visit, shop: Any, person: int, write: Write) -> None:
    write("INSERT INTO otn.suppression (subscriber_id, reason) VALUES (%s, 'stop_word')", person)
    campaign = shop.planned("spring")
    page = visit("admin").get(f"/people/{person}").text
    assert "left out" in page
    assert "asked not to be written to" in page
    assert f"/campaigns/{campaign}/recipients/{person}" in page
    assert "said a stop word" in page


def test_a_hostile_person_stays_text(visit: Visit, person: int, write: Write) -> None:
    write(
        "UPDATE otn.subscriber SET first_name = %s, labels = ARRAY[%s], attributes = %s WHERE id = %s",
        "\u202e<script>alert(1)</script>",
        '"><img src=x>\u202e',
        json.dumps({"note": "</dd><script>\u202e"}),
        person,
    )
    for page in (
        visit("admin").get(f"/people/{person}").text,
        visit("admin").post("/people", data={"text": f"#{person}"}).text,
    ):
        assert "<script>alert" not in page
        assert "<img" not in page
        bare = re.sub(r"<bdi>[^<]*</bdi>|(?:value|aria-label)=\"[^\"]*\"", "", page)
        assert "\u202e" not in bare


def test_a_person_who_is_not_there_is_told(visit: Visit) -> None:
    for number, status in (("999999", 404), ("0", 400), ("-1", 400), ("x", 400), ("9223372036854775808", 400)):
        assert visit("admin").get(f"/people/{number}").status_code == status, number


def test_a_name_is_looked_up_from_what_was_typed_and_not_from_the_first_of_all(shop: Any) -> None:
    typed = {"text": "Nobody", "beginning": "Nobody%", "after_name": "", "after": 0, "most": 51}
    with transaction(shop.engine) as connection, connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN {sql_of('console', 'people_by_name')}", typed)
        explained = "\n".join(row[0] for row in cursor.fetchall())
    assert explained.count("> ROW('nobody'::text") == 2, explained


def test_labels_are_put_on_and_taken_off_by_name(visit: Visit, person: int, write: Write) -> None:
    client = visit("admin", name="eve")
    answer = client.post(f"/people/{person}/labels", data={"add": " vip "})
    assert (answer.status_code, answer.headers["location"]) == (303, f"/people/{person}?done=labels")
    assert write("SELECT labels FROM otn.subscriber WHERE id = %s", person) == ["vip"]
    assert write(LAST_AUDIT) == ["eve", "labels_changed", {"subscriber_id": person, "add": ["vip"], "remove": []}]
    assert "The labels were changed" in client.get(answer.headers["location"]).text
    assert client.post(f"/people/{person}/labels", data={"add": "vip"}).headers["location"].endswith("same")
    client.post(f"/people/{person}/labels", data={"remove": "vip"})
    assert write("SELECT labels FROM otn.subscriber WHERE id = %s", person) == []


def test_a_label_that_cannot_be_is_named_and_kept(visit: Visit, person: int, write: Write) -> None:
    client = visit("admin")
    for label in ("", "a\tb", "l" * 101):
        answer = client.post(f"/people/{person}/labels", data={"add": label})
        assert answer.status_code == 422, label
        assert 'id="wrong-add"' in answer.text
        assert f'name="add" value="{label}"' in answer.text
    assert write("SELECT labels FROM otn.subscriber WHERE id = %s", person) == []


def test_one_label_too_many_is_refused(visit: Visit, person: int, write: Write) -> None:
    write(
        "UPDATE otn.subscriber SET labels = ARRAY(SELECT 'l' || n FROM generate_series(1, 100) n) WHERE id = %s", person
    )
    answer = visit("admin").post(f"/people/{person}/labels", data={"add": "more"})
    assert answer.status_code == 422
    assert "Take one off first" in answer.text


def test_an_operator_silences_and_lifts_it_again(visit: Visit, person: int, write: Write, keys: Path) -> None:
    client = visit("admin", name="eve")
    for topic, about in (("", None), ("restock", "restock")):
        answer = client.post(f"/people/{person}/suppress", data={"topic": topic, "note": "asked by letter"})
        assert answer.headers["location"] == f"/people/{person}?done=suppressed"
        assert write(LAST_AUDIT) == ["eve", "suppressed", {"subscriber_id": person, "topic": about}]
        assert write("SELECT note FROM otn.suppression WHERE reason = 'operator'") == "asked by letter"
        assert "asked by letter" in client.get(f"/people/{person}").text
        assert client.post(f"/people/{person}/release", data={"topic": topic}).headers["location"].endswith("released")
        assert write("SELECT count(*) FROM otn.suppression") == 0
        assert write(LAST_AUDIT)[:2] == ["eve", "released"]
        assert client.post(f"/people/{person}/release", data={"topic": topic}).headers["location"].endswith("same")
    assert (keys.parent / "silences.jsonl").read_text().count("\n") == 4


def test_what_a_person_said_no_operator_lifts(visit: Visit, person: int, write: Write) -> None:
    write("INSERT INTO otn.suppression (subscriber_id, reason) VALUES (%s, 'stop_word')", person)
    page = visit("admin").get(f"/people/{person}").text
    assert "/release" not in page
    assert visit("admin").post(f"/people/{person}/release").headers["location"].endswith("same")
    assert write("SELECT count(*) FROM otn.suppression") == 1


def test_a_silence_that_cannot_be_entered_is_named_and_kept(visit: Visit, person: int, write: Write) -> None:
    client = visit("admin")
    for field, value in (("topic", "gone"), ("note", "n" * 5_000)):
        answer = client.post(f"/people/{person}/suppress", data={"note": "by letter", field: value})
        assert answer.status_code == 422
        assert f'id="wrong-{field}"' in answer.text
        assert ("by letter" if field == "topic" else value) in answer.text
    assert write("SELECT count(*) FROM otn.suppression") == 0


def test_erasing_needs_the_number_to_be_written(visit: Visit, person: int, write: Write, keys: Path) -> None:
    client = visit("admin", name="eve")
    for typed in ("", str(person + 1), "yes"):
        answer = client.post(f"/people/{person}/erase", data={"number": typed, "reason": "by letter"})
        assert answer.status_code == 422
        assert "Nobody was erased" in answer.text
        assert f'name="number" value="{typed}"' in answer.text
        assert 'name="reason" value="by letter"' in answer.text
    assert not keys.exists()
    answer = client.post(f"/people/{person}/erase", data={"number": str(person), "reason": "by letter"})
    assert answer.headers["location"] == f"/people/{person}?done=erased"
    assert write("SELECT count(*) FROM otn.subscriber WHERE id = %s AND psid IS NULL AND erased_at IS NOT NULL", person)
    assert keys.read_text().count("\n") == 1
    actor, action, detail = write(LAST_AUDIT)
    assert (actor, action, detail["reason"]) == ("eve", "erased", "by letter")
    page = client.get(answer.headers["location"]).text
    assert "This person was erased." in page
    assert "First1" not in page
    assert "7000000000000001" not in page
    assert found(client.post("/people", data={"text": "First"}).text) == [person + 1, person + 2]


def test_nobody_is_erased_without_journal_or_keys(
    visit: Visit, person: int, write: Write, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for missing in ("OTN_ERASURE_JOURNAL", "OTN_HASH_KEY"):
        with monkeypatch.context() as without:
            without.delenv(missing)
            answer = visit("admin").post(f"/people/{person}/erase", data={"number": str(person)})
        assert answer.status_code == 503
        assert missing in answer.text
    assert write("SELECT psid FROM otn.subscriber WHERE id = %s", person) == "7000000000000001"


def test_a_person_who_was_erased_meanwhile_is_not_changed(visit: Visit, person: int, write: Write, keys: Path) -> None:
    client = visit("admin")
    client.post(f"/people/{person}/erase", data={"number": str(person)})
    audited = write("SELECT count(*) FROM otn.audit")
    for change in CHANGES:
        answer = client.post(f"/people/{person}/{change}", data={"add": "vip", "number": str(person)})
        assert answer.status_code == 409, change
        assert "This person was erased" in answer.text
    assert write("SELECT count(*) FROM otn.audit") == audited
    assert "<form" not in client.get(f"/people/{person}").text


def test_a_senders_login_is_enough(visit: Visit, person: int, write: Write, keys: Path, database: Engine) -> None:
    name = write("SELECT current_database()")
    write(f'ALTER DATABASE "{name}" SET role = otn_sender')
    database.dispose()
    assert write("SELECT current_user") == "otn_sender"
    client = visit("admin")
    assert client.post("/people", data={"text": "First"}).status_code == 200
    assert client.post(f"/people/{person}/labels", data={"add": "vip"}).status_code == 303
    assert client.post(f"/people/{person}/suppress").status_code == 303
    assert client.post(f"/people/{person}/release").status_code == 303
    assert client.get(f"/people/{person}").status_code == 200
    assert client.post(f"/people/{person}/erase", data={"number": str(person)}).status_code == 303
