"""Topics in the console: what became of their opt-ins, and forms that lose nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from fastapi.testclient import TestClient

from otn.campaign import control
from otn.consent.topics import TITLE_LIMIT

Visit = Callable[..., TestClient]
Write = Callable[..., Any]

REPLY = 'Thanks {{ first_name | default("you") }}!'
MESSAGE = {"attachment": {"type": "image", "payload": {"url": "https://example.com/a.png"}}}
TYPED = {
    "page": "messenger_default",
    "key": "spring",
    "title": "Spring collection",
    "payload": "SPRING",
    "reply": REPLY,
    "reply_message": "",
    "labels": "vip\nasked spring",
    "do": "save",
}
CARD = """
INSERT INTO otn.window_message (page_id, subscriber_id, cause, ask_id, topic_id, card, message, not_after, state,
    attempts, attempt_id, called_at, evidence, sent_at, message_id, tapped_at)
SELECT s.page_id, s.id, 'ask', a.id, a.topic_id, true, '{}', now() + interval '1 hour', 'sent', 1, gen_random_uuid(),
    now(), 'answer', now(), 'm' || s.id, CASE WHEN mod(s.id, 2) = 0 THEN now() END
FROM otn.subscriber s CROSS JOIN otn.ask a
"""


@pytest.fixture
def met(shop: Any, write: Write) -> int:
    """A payload that nobody registered, with two opt-ins."""
    number: int = write(
        "INSERT INTO otn.topic (page_id, key, payload) VALUES (%s, 'Re-Stock!', 'Re-Stock!') RETURNING id",
        shop.page_row,
    )
    shop.topics["met"] = number
    shop.opt_in("met", 2)
    return number


def words(text: str) -> str:
    """What a reader reads of a page."""
    bare = re.sub(r"<(style|script).*?</\1>|<[^>]+>", " ", text, flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(bare))


def cells(page: str, name: str) -> list[str]:
    """A table's row by its heading."""
    row = re.search(rf"<tr><th scope=\"row\">(?:(?!</th>).)*{re.escape(name)}.*?</tr>", page, re.DOTALL)
    assert row is not None, f"no row of {name}"
    return [words(cell).strip() for cell in re.findall(r"<td.*?</td>", row[0], re.DOTALL)]


def figures(page: str) -> dict[str, str]:
    found = re.findall(r"<dt>([^<]+)</dt><dd>([\d,]+)</dd>", page)
    return dict(found)


def wrong(page: str) -> dict[str, str]:
    """Field to its sentence; each of them is tied to its field."""
    found = {name: unescape(said) for name, said in re.findall(r'id="wrong-(\w+)">(.*?)</p>', page, re.DOTALL)}
    for name in found:
        assert re.search(rf'id="{name}"[^>]*aria-invalid="true"[^>]*aria-describedby="[^"]*wrong-{name}', page)
        assert f'<a href="#{name}">' in page
    return found


def value(page: str, name: str) -> str:
    """What stands in a field."""
    area = re.search(rf'<textarea id="{name}".*?>\n(.*?)</textarea>', page, re.DOTALL)
    line = re.search(rf'<input id="{name}"[^>]* value="([^"]*)"', page)
    found = area or line
    assert found is not None, f"no field {name}"
    return unescape(found[1])


def test_an_empty_installation_says_what_to_do(visit: Visit) -> None:
    page = visit("user").get("/topics").text
    assert "No page is registered yet" in page
    assert "/topics/new" not in page


def test_every_opt_in_stands_in_one_column(visit: Visit, shop: Any, write: Write) -> None:
    shop.opt_in("restock", 3)
    shop.planned("spring")
    write(
        "UPDATE otn.recipient SET state = 'sending', attempts = 1, unanswered = 1, attempt_id = gen_random_uuid(),"
        " lease_until = now() WHERE subscriber_id = (SELECT min(id) FROM otn.subscriber)"
    )
    write(
        "UPDATE otn.recipient SET state = 'sent', unanswered = 0, lease_until = NULL, evidence = 'answer',"
        " sent_at = now(), message_id = 'm' WHERE state = 'sending'"
    )
    shop.opt_in("restock", 4, ends_in="10 days")
    shop.opt_in("restock", 5, ends_in="100 days")
    shop.opt_in("restock", 6, ends_in="-1 day")
    write("INSERT INTO otn.ask (page_id, topic_id, key) VALUES (%s, %s, 'run')", shop.page_row, shop.topics["restock"])
    write(CARD)
    listed = visit("viewer").get("/topics").text
    assert cells(listed, "Back in stock") == ["18", "18", "9", "4", "2", "1", "6"]
    assert cells(listed, "Sale") == ["0"] * 7
    assert "Meta may object" not in listed
    write("UPDATE otn.topic SET title = 'Win a gift' WHERE key = 'sale'")
    assert "Meta may object" in visit("viewer").get("/topics").text
    alone = visit("viewer").get(f"/topics/{shop.topics['restock']}").text
    assert figures(alone) == {
        "Asked": "18", "Opted in": "18", "Unspent": "9", "Dying soon": "4", "Reserved": "2", "Spent": "1",
        "Expired": "6",
    }  # fmt: skip
    assert "50.0 % tapped" in alone


def test_the_topic_has_its_stock_by_month_and_its_campaigns(visit: Visit, shop: Any) -> None:
    shop.opt_in("restock", 3, ends_in="10 days")
    shop.opt_in("sale", 5, ends_in="10 days")
    mine, other = shop.campaign("mine"), shop.campaign("other", "sale")
    page = visit("viewer").get(f"/topics/{shop.topics['restock']}").text
    assert "<svg" in page
    table = page.split("by the month in which they end</caption>")[1].split("</table>")[0]
    assert sum(int(figure) for figure in re.findall(r'<td class="num">(\d+)', table)) == 3
    assert f"/campaigns/{mine}" in page
    assert f"/campaigns/{other}" not in page


def test_a_page_is_chosen_and_an_unknown_one_is_told(visit: Visit, shop: Any, write: Write) -> None:
    second = write("INSERT INTO otn.page (page_id, connection_id) VALUES ('2', 'shop_two') RETURNING id")
    write(
        "INSERT INTO otn.topic (page_id, key, title, payload, registered_at) VALUES (%s, 'fair', 'Fair', 'F', now())",
        second,
    )
    client = visit("viewer")
    assert {"Fair", "Sale"} <= set(re.findall(r'/topics/\d+"><bdi>([^<]+)</bdi></a>', client.get("/topics").text))
    only = client.get("/topics?page=shop_two").text
    assert "Fair" in only
    assert "Back in stock" not in only
    assert '<option value="shop_two" selected>' in only
    answer = client.get("/topics?page=nowhere")
    assert answer.status_code == 400
    assert "There is no page" in answer.text


def test_who_may_only_look_sees_no_forms(visit: Visit, shop: Any, met: int) -> None:
    client = visit("viewer")
    for path in ("/topics", f"/topics/{shop.topics['sale']}", f"/topics/{met}"):
        assert not re.search(r"/(new|edit|adopt|compose)\b", client.get(path).text.split("<main")[1])
    for path in ("/topics/new", f"/topics/{met}/edit", f"/topics/{met}/adopt"):
        assert client.get(path).status_code == 403


@pytest.mark.parametrize("path", ["", "/edit", "/adopt"])
def test_a_topic_that_is_not_there_is_not_found(visit: Visit, shop: Any, path: str) -> None:
    assert visit("user").get(f"/topics/999{path}").status_code == 404
    assert visit("user").get(f"/topics/99999999999{path}").status_code == 400


def test_a_topic_is_made(visit: Visit, shop: Any, write: Write) -> None:
    client = visit("user", name="ann")
    answer = client.post("/topics/new", data=TYPED)
    assert answer.status_code == 303
    page = client.get(answer.headers["location"]).text
    assert "The topic is registered" in page
    assert "Spring collection" in page
    stored = write("SELECT to_jsonb(t) FROM otn.topic t WHERE key = 'spring'")
    assert (stored["payload"], stored["reply"], stored["labels"]) == (
        "SPRING",
        {"text": REPLY},
        ["asked spring", "vip"],
    )
    assert write("SELECT actor || ' ' || action FROM otn.audit") == "ann topic_registered"
    assert f"topic=spring&amp;page={TYPED['page']}" in page


def test_the_payload_is_the_key_unless_one_is_given(visit: Visit, shop: Any, write: Write) -> None:
    assert visit("user").post("/topics/new", data=TYPED | {"payload": ""}).status_code == 303
    assert write("SELECT payload FROM otn.topic WHERE key = 'spring'") == "spring"


@pytest.mark.parametrize(
    ("field", "typed", "sentence"),
    [
        ("page", "", "No page is chosen"),
        ("page", "nowhere", "There is no page"),
        ("key", " ", "cannot be a topic's key"),
        ("key", "restock", "has a topic 'restock' already"),
        ("title", "", "The title has 0 characters"),
        ("title", "🌱" * 33, "The title has 66 characters"),
        ("title", "a\x00b", "cannot be stored"),
        ("payload", "sale", "belongs to the topic 'sale' already"),
        ("payload", '{"topic": "a", "ref": "b"}', "Give a plain one"),
        ("reply", "Hi {{ first_name", "template"),
        ("reply", "x" * 2001, "1999 are allowed"),
        ("reply_message", "{", "is given twice"),
        ("labels", "x" * 101, "The label"),
        ("labels", "\n".join(f"l{n}" for n in range(101)), "100 labels"),
    ],
    ids=lambda one: re.sub(r"\W+", "-", str(one)[:20]),
)
def test_what_is_wrong_stands_at_its_field_and_nothing_is_lost(
    visit: Visit, shop: Any, write: Write, field: str, typed: str, sentence: str
) -> None:
    given = TYPED | {field: typed}
    answer = visit("user").post("/topics/new", data=given)
    assert answer.status_code == 422
    found = wrong(answer.text)
    assert list(found) == [field]
    assert re.search(sentence, found[field])
    for name in ("key", "title", "payload", "reply", "reply_message", "labels"):
        assert value(answer.text, name) == given[name]
    assert 'role="alert"' in answer.text
    assert write("SELECT count(*) FROM otn.topic") == 2


def test_all_that_is_wrong_is_named_at_once(visit: Visit, shop: Any) -> None:
    client = visit("user")
    assert set(wrong(client.post("/topics/new", data={"do": "save"}).text)) == {"page", "key", "title"}
    taken = TYPED | {"key": "sale", "title": "", "reply": "{{"}
    assert set(wrong(client.post("/topics/new", data=taken).text)) == {"key", "title", "reply"}


def test_a_message_that_is_no_json_stands_at_its_field(visit: Visit, shop: Any) -> None:
    answer = visit("user").post("/topics/new", data=TYPED | {"reply": "", "reply_message": "{"})
    assert "is no JSON" in wrong(answer.text)["reply_message"]


def test_the_characters_are_counted_without_a_script_as_messenger_may_count_them(visit: Visit, shop: Any) -> None:
    client = visit("user")
    look = client.post("/topics/new", data=TYPED | {"title": "🌱 win", "key": "", "do": "look"})
    assert look.status_code == 200
    assert f"6 of {TITLE_LIMIT} characters" in look.text
    assert look.text.count("🌱 win</p>") == 2  # in light and in dark
    assert "Meta may object to this title" in look.text
    assert "1 too many" in client.post("/topics/new", data=TYPED | {"title": "x" * 66, "do": "look"}).text
    assert "Notify Me" in look.text


def test_a_preview_stores_nothing(visit: Visit, shop: Any, write: Write) -> None:
    visit("user").post("/topics/new", data=TYPED | {"do": "look"})
    visit("user").post(f"/topics/{shop.topics['sale']}/edit", data=TYPED | {"do": "look"})
    assert write("SELECT string_agg(title, ',' ORDER BY id) FROM otn.topic") == "Back in stock,Sale"


def test_a_topic_is_changed_and_key_page_and_payload_stay(visit: Visit, shop: Any, write: Write) -> None:
    path = f"/topics/{shop.topics['sale']}/edit"
    client = visit("user", name="ann")
    before = client.get(path).text
    assert value(before, "title") == "Sale"
    assert client.post(path, data=TYPED).status_code == 303
    stored = write("SELECT to_jsonb(t) FROM otn.topic t WHERE key = 'sale'")
    assert (stored["payload"], stored["title"], stored["labels"]) == (
        "sale",
        "Spring collection",
        ["asked spring", "vip"],
    )
    assert value(client.get(path).text, "reply") == REPLY
    empty = TYPED | {"reply": "", "labels": ""}
    client.post(path, data=empty)
    assert write("SELECT reply IS NULL AND labels = '{}' FROM otn.topic WHERE key = 'sale'")
    assert write("SELECT count(*) FROM otn.audit WHERE action = 'topic_changed' AND actor = 'ann'") == 2


def test_a_reply_with_an_image_comes_back_as_it_is_stored(visit: Visit, shop: Any, write: Write) -> None:
    path = f"/topics/{shop.topics['sale']}/edit"
    client = visit("user")
    assert client.post(path, data=TYPED | {"reply": "", "reply_message": json.dumps(MESSAGE)}).status_code == 303
    page = client.get(path).text
    assert json.loads(value(page, "reply_message")) == MESSAGE
    assert value(page, "reply") == ""
    assert "a message object" in client.get(path.removesuffix("/edit")).text


def test_a_bad_change_loses_nothing(visit: Visit, shop: Any) -> None:
    answer = visit("user").post(f"/topics/{shop.topics['sale']}/edit", data=TYPED | {"title": "x" * 70})
    assert answer.status_code == 422
    assert list(wrong(answer.text)) == ["title"]
    assert value(answer.text, "title") == "x" * 70
    assert value(answer.text, "reply") == REPLY


def test_a_title_is_text_and_never_markup(visit: Visit, shop: Any) -> None:
    answer = visit("user").post("/topics/new", data=TYPED | {"title": "<b>&amp;</b>", "do": "save"})
    for page in (visit("user").get("/topics"), visit("user").get(answer.headers["location"].split("?")[0])):
        assert "<b>&amp;</b>" not in page.text
        assert "&lt;b&gt;&amp;amp;" in page.text


def test_what_nobody_registered_stands_apart_with_what_was_probably_meant(visit: Visit, shop: Any, met: int) -> None:
    page = visit("user").get("/topics").text
    apart = page.split("Met in opt-ins, nobody registered it")[1]
    assert cells(apart, "Re-Stock!")[:4] == ["2", "2", "0", "restock, misspelt"]
    assert "Re-Stock!" not in page.split("Met in opt-ins")[0]


def test_an_unregistered_one_becomes_a_topic_with_its_opt_ins(visit: Visit, shop: Any, met: int, write: Write) -> None:
    client = visit("user")
    answer = client.post(f"/topics/{met}/edit", data=TYPED)
    assert answer.headers["location"] == f"/topics/{met}?done=registered"
    assert write("SELECT key || ' ' || payload FROM otn.topic WHERE id = %s", met) == "spring Re-Stock!"
    assert figures(client.get(f"/topics/{met}").text)["Unspent"] == "2"


def test_a_key_that_another_topic_has_stands_at_the_key(visit: Visit, shop: Any, met: int) -> None:
    answer = visit("user").post(f"/topics/{met}/edit", data=TYPED | {"key": "sale"})
    assert list(wrong(answer.text)) == ["key"]


def test_it_is_said_what_moves_before_opt_ins_are_adopted(visit: Visit, shop: Any, met: int, write: Write) -> None:
    write(
        "INSERT INTO otn.suppression (subscriber_id, topic_id, reason)"
        " SELECT min(id), %s, 'stop_word' FROM otn.subscriber",
        met,
    )
    client = visit("user", name="ann")
    page = client.get(f"/topics/{met}/adopt").text
    assert figures(page) == {"Opt-ins": "2", "Stops": "1"}
    assert '<option value="restock" selected>' in page
    answer = client.post(f"/topics/{met}/adopt", data={"into": "restock"})
    assert answer.status_code == 303
    after = client.get(answer.headers["location"]).text
    assert figures(after)["Opted in"] == "2"
    assert "The opt-ins were moved" in after
    assert f"/topics/{met}" in after
    assert "Met in opt-ins" not in client.get("/topics").text
    assert write("SELECT count(*) FROM otn.suppression WHERE topic_id = %s", shop.topics["restock"]) == 1
    assert write("SELECT actor || ' ' || action FROM otn.audit ORDER BY id DESC LIMIT 1") == "ann opt_ins_adopted"


def test_a_campaign_under_way_hinders_an_adoption(visit: Visit, shop: Any, met: int, write: Write) -> None:
    campaign = shop.campaign("running", "met")
    client = visit("user")
    page = client.get(f"/topics/{met}/adopt").text
    assert "It cannot be adopted now" in page
    assert "<form" not in page
    answer = client.post(f"/topics/{met}/adopt", data={"into": "restock"})
    assert answer.status_code == 422
    assert "The campaign &#39;running&#39; sends to the opt-ins" in answer.text
    control.cancel(shop.engine, campaign, actor="ann")
    assert client.post(f"/topics/{met}/adopt", data={"into": "restock"}).status_code == 303


@pytest.mark.parametrize(("into", "sentence"), [("", "No topic is chosen"), ("nothing", "has no topic")])
def test_an_adoption_into_nothing_stands_at_its_field(
    visit: Visit, shop: Any, met: int, write: Write, into: str, sentence: str
) -> None:
    answer = visit("user").post(f"/topics/{met}/adopt", data={"into": into})
    assert answer.status_code == 422
    assert re.search(rf'id="wrong-into">[^<]*{sentence}', answer.text)
    assert 'aria-describedby="wrong-into"' in answer.text
    assert write("SELECT adopted_by IS NULL FROM otn.topic WHERE id = %s", met)


def test_an_adopted_payload_says_whose_it_is_and_is_released(visit: Visit, shop: Any, met: int, write: Write) -> None:
    client = visit("user")
    client.post(f"/topics/{met}/adopt", data={"into": "restock"})
    page = client.get(f"/topics/{met}").text
    assert "belong to the topic <strong>restock</strong>" in page
    answer = client.post(f"/topics/{met}/release")
    assert answer.status_code == 303
    assert write("SELECT adopted_by IS NULL FROM otn.topic WHERE id = %s", met)
    assert client.post(f"/topics/{met}/release").status_code == 400


def test_a_registered_topic_is_not_adopted(visit: Visit, shop: Any, write: Write) -> None:
    path = f"/topics/{shop.topics['sale']}/adopt"
    assert "Only payloads that nobody registered" in visit("user").get(path).text
    assert visit("user").post(path, data={"into": "restock"}).status_code == 422
    assert write("SELECT adopted_by IS NULL FROM otn.topic WHERE id = %s", shop.topics["sale"])
