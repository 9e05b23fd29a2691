from __future__ import annotations

import copy
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otn.messenger import wire
from otn.messenger.messages import (
    MESSAGE_BYTES_LIMIT,
    TEXT_LIMIT,
    MessageError,
    message_text,
    one_time_request,
    postbacks,
    validate_message,
)

WEB = {"type": "web_url", "title": "Open", "url": "https://example.com/a?b=c"}
REPLY = {"content_type": "text", "title": "Yes", "payload": "Y"}
RECEIPT = {
    "template_type": "receipt",
    "recipient_name": "Ann",
    "order_number": "1",
    "currency": "EUR",
    "payment_method": "Visa",
    "summary": {"total_cost": 9.5},
    "elements": [{"title": "Shirt", "price": 9.5}],
}


def template(kind, **payload):
    return {"attachment": {"type": "template", "payload": {"template_type": kind, **payload}}}


def media(kind="image", **payload):
    return {"attachment": {"type": kind, "payload": payload}}


def generic(*elements):
    return template("generic", elements=list(elements))


@pytest.mark.parametrize(
    "message",
    [
        {"text": "hi"},
        {"text": "x" * TEXT_LIMIT},
        {"text": "😀" * (TEXT_LIMIT // 2)},
        {"text": "hi", "quick_replies": [REPLY] * 13},
        {"text": "hi", "quick_replies": [{"content_type": "user_email"}]},
        media(url="https://example.com/a.png"),
        media("video", attachment_id="1857777774821032"),
        media("file", url="http://example.com/a.pdf", is_reusable=True),
        generic({"title": "A", "subtitle": "B", "image_url": "https://a.b/c", "buttons": [WEB]}),
        generic(*[{"title": "A", "default_action": {"type": "web_url", "url": "https://a.b"}}] * 10),
        template("button", text="Choose", buttons=[{"type": "postback", "title": "Yes", "payload": "Y"}, WEB]),
        template("button", text="Call", buttons=[{"type": "phone_number", "title": "Us", "payload": "+491234"}]),
        template("media", elements=[{"media_type": "video", "attachment_id": "5", "buttons": [WEB]}]),
        template("product", elements=[{"id": "1"}]),
        {"attachment": {"type": "template", "payload": RECEIPT}},
        {**media(attachment_id="5"), "quick_replies": [REPLY]},
    ],
)
def test_what_the_platform_takes_is_taken_unchanged(message):
    before = copy.deepcopy(message)
    checked = validate_message(message)
    assert checked == before
    assert message == before
    assert checked is not message


def test_the_copy_shares_nothing():
    message = {"text": "hi", "quick_replies": [dict(REPLY)]}
    checked = validate_message(message)
    message["quick_replies"][0]["title"] = "x" * 99
    assert checked["quick_replies"][0]["title"] == "Yes"


def cyclic():
    message: dict = {"text": "a"}
    message["quick_replies"] = [message]
    return message


def billion_laughs():
    part: object = "ha"
    for _ in range(9):
        part = [part] * 20
    return {"text": "a", "quick_replies": part}


@pytest.mark.parametrize(
    ("message", "where"),
    [
        (None, "message"),
        ("hi", "message"),
        ([], "message"),
        ({}, "message"),
        ({1: "a"}, "message"),
        ({"text": "a", **media(url="https://a.b")}, "message"),
        ({"quick_replies": [REPLY]}, "message"),
        ({"text": "a", "metadata": "mine"}, "message.metadata"),
        ({"text": "a", "tag": "ACCOUNT_UPDATE"}, "message.tag"),
        ({"text": "a", "Text": "a"}, "message.Text"),
        ({"text": "a", "\n" * 80: 1}, "message...."),
        ({"text": ""}, "message.text"),
        ({"text": " \n"}, "message.text"),
        ({"text": None}, "message.text"),
        ({"text": ["a"]}, "message.text"),
        ({"text": "x" * 2000}, "message.text"),
        ({"text": "😀" * 1000}, "message.text"),
        ({"text": "a\0"}, "message.text"),
        ({"text": "a\ud83d"}, "message.text"),
        ({"text": "a", "\0": 1}, "message"),
        ({"text": b"a"}, "message.text"),
        ({"text": "a", "quick_replies": {1, 2}}, "message.quick_replies"),
        ({"text": "a", "quick_replies": float("nan")}, "message.quick_replies"),
        ({"text": "a", "quick_replies": 10**5000}, "message.quick_replies"),
        ({"text": "a", "quick_replies": []}, "message.quick_replies"),
        ({"text": "a", "quick_replies": [REPLY] * 14}, "message.quick_replies"),
        ({"text": "a", "quick_replies": [{**REPLY, "title": "x" * 21}]}, "message.quick_replies[0].title"),
        ({"text": "a", "quick_replies": [REPLY, {**REPLY, "payload": "x" * 1001}]}, "message.quick_replies[1].payload"),
        ({"text": "a", "quick_replies": [{"content_type": "location"}]}, "message.quick_replies[0].content_type"),
        ({"text": "a", "quick_replies": [{**REPLY, "image_url": "x"}]}, "message.quick_replies[0].image_url"),
        ({"attachment": None}, "message.attachment"),
        ({"attachment": {"type": "sticker", "payload": {}}}, "message.attachment.type"),
        ({"attachment": {"type": ["image"], "payload": {}}}, "message.attachment.type"),
        ({"attachment": {"type": "image"}}, "message.attachment.payload"),
        (media(), "message.attachment.payload"),
        (media(url="https://a.b", attachment_id="1"), "message.attachment.payload"),
        (media(url="ftp://a.b"), "message.attachment.payload.url"),
        (media(url="https://"), "message.attachment.payload.url"),
        (media(url="https://["), "message.attachment.payload.url"),
        (media(url="https://a.b/c d"), "message.attachment.payload.url"),
        (media(url="javascript:alert(1)"), "message.attachment.payload.url"),
        (media(url="https://a.b/" + "x" * 2000), "message.attachment.payload.url"),
        (media(attachment_id=5), "message.attachment.payload.attachment_id"),
        (media(attachment_id="a/b"), "message.attachment.payload.attachment_id"),
        (template("list"), "message.attachment.payload.template_type"),
        (template("one_time_notif_req", title="a", payload="b"), "message.attachment.payload"),
        (generic(), "message.attachment.payload.elements"),
        (generic(*[{"title": "A", "subtitle": "B"}] * 11), "message.attachment.payload.elements"),
        (generic("x"), "message.attachment.payload.elements[0]"),
        (generic({"title": "A"}), "message.attachment.payload.elements[0]"),
        (generic({"subtitle": "A"}), "message.attachment.payload.elements[0].title"),
        (generic({"title": "x" * 81, "subtitle": "A"}), "message.attachment.payload.elements[0].title"),
        (generic({"title": "A", "buttons": [WEB] * 4}), "message.attachment.payload.elements[0].buttons"),
        (
            generic({"title": "A", "buttons": [{**WEB, "title": "x" * 21}]}),
            "message.attachment.payload.elements[0].buttons[0].title",
        ),
        (
            generic({"title": "A", "default_action": {"type": "web_url"}}),
            "message.attachment.payload.elements[0].default_action.url",
        ),
        (template("button", text="x" * 641, buttons=[WEB]), "message.attachment.payload.text"),
        (template("button", text="x"), "message.attachment.payload.buttons"),
        (template("button", text="x", buttons=[{"type": "share"}]), "message.attachment.payload.buttons[0].type"),
        (
            template("button", text="x", buttons=[{"type": "postback", "title": "a"}]),
            "message.attachment.payload.buttons[0].payload",
        ),
        (template("media", elements=[{}, {}]), "message.attachment.payload.elements"),
        (template("media", elements=[{"media_type": "audio"}]), "message.attachment.payload.elements[0].media_type"),
        (template("product", elements=[{"id": 5}]), "message.attachment.payload.elements[0].id"),
        (
            {"attachment": {"type": "template", "payload": {**RECEIPT, "summary": {"total_cost": True}}}},
            "message.attachment.payload.summary.total_cost",
        ),
        (
            {"attachment": {"type": "template", "payload": {**RECEIPT, "elements": [{}]}}},
            "message.attachment.payload.elements[0].title",
        ),
        (generic(*[{"title": "A", "subtitle": "B", "x": "y" * 10_000}] * 8), "message"),
        (billion_laughs(), "message"),
    ],
)
def test_what_it_would_turn_down_is_refused_with_place_and_remedy(message, where):
    with pytest.raises(MessageError) as caught:
        validate_message(message)
    assert caught.value.where == where
    assert re.fullmatch(re.escape(where) + r" [^\n]+\. [A-Z][^\n]+\.", str(caught.value))


def test_a_message_inside_itself_is_refused():
    with pytest.raises(MessageError, match="nested deeper"):
        validate_message(cyclic())


def test_error_texts_do_not_repeat_what_was_written():
    with pytest.raises(MessageError) as caught:
        message_text("confidential " * 500)
    assert "confidential" not in str(caught.value)
    assert str(caught.value) == "message.text has 6500 characters where 1999 are allowed. Shorten it."


def test_text():
    assert message_text("hi") == {"text": "hi"}
    with pytest.raises(MessageError):
        message_text(None)


def test_asking():
    assert one_time_request("x" * 65, "topic:a")["attachment"]["payload"] == {
        "template_type": "one_time_notif_req",
        "title": "x" * 65,
        "payload": "topic:a",
    }
    for title, payload in [
        ("x" * 66, "a"),
        ("😀" * 33, "a"),
        ("", "a"),
        ("a", ""),
        ("a", "x" * 1001),
        (None, "a"),
        ("a\0", "b"),
    ]:
        with pytest.raises(MessageError):
            one_time_request(title, payload)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["text", "attachment", "type", "payload"]), inner),
    max_leaves=12,
)


@given(
    JSON | st.fixed_dictionaries({"attachment": st.fixed_dictionaries({"type": st.just("template"), "payload": JSON})})
)
def test_whatever_is_given_is_either_sendable_or_refused(message):
    try:
        checked = validate_message(message)
    except MessageError:
        return
    assert len(wire.encode(checked)) <= MESSAGE_BYTES_LIMIT
    wire.encode(checked).encode()


# --- what comes back when somebody taps


def button(kind, payload):
    return {"type": kind, "title": "T", "payload": payload}


def template(**payload):
    return {"attachment": {"type": "template", "payload": payload}}


@pytest.mark.parametrize(
    ("message", "payloads"),
    [
        ({"text": "hello"}, []),
        (
            template(
                template_type="button",
                text="x",
                buttons=[button("postback", "A"), button("phone_number", "+1"), button("web_url", "no")],
            ),
            ["A"],
        ),
        (
            template(
                template_type="generic",
                elements=[
                    {"title": "1", "buttons": [button("postback", "A"), button("postback", "B")]},
                    {"title": "2", "buttons": [button("postback", "B"), button("postback", "C")]},
                ],
            ),
            ["A", "B", "C"],
        ),
        (
            template(template_type="media", elements=[{"media_type": "image", "buttons": [button("postback", "A")]}]),
            ["A"],
        ),
        (
            {
                "text": "pick",
                "quick_replies": [
                    {"content_type": "text", "title": "T", "payload": "Q"},
                    {"content_type": "user_email", "payload": "no"},
                ],
            },
            ["Q"],
        ),
        (
            {
                **template(template_type="button", text="x", buttons=[button("postback", "A")]),
                "quick_replies": [{"content_type": "text", "title": "T", "payload": "Q"}],
            },
            ["A", "Q"],
        ),
        (one_time_request("News", "topic"), []),
        ({}, []),
        ({"attachment": "x", "quick_replies": {"a": 1}}, []),
        ({"attachment": {"payload": {"buttons": ["x", None, {"type": "postback", "payload": 7}], "elements": 7}}}, []),
    ],
)
def test_payloads_that_can_be_tapped(message, payloads):
    assert postbacks(message) == payloads
