"""Spending tokens and sending in the window (Meta docs: One-Time Notification, Send API)."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading

import pytest
import requests


def test_token_is_good_for_one_message(caller, sandbox, tokens, error_of):
    first = caller.spend(tokens[0]["token"], {"text": "hello", "metadata": "m1"})
    assert first.status_code == 200
    assert first.json()["recipient_id"] == tokens[0]["psid"]
    again = caller.spend(tokens[0]["token"])
    assert again.status_code == 400
    assert error_of(again) == (100, None)
    [row] = sandbox.control.ledger()
    assert (row["psid"], row["mid"], row["metadata"], row["text"]) == (
        tokens[0]["psid"],
        first.json()["message_id"],
        "m1",
        "hello",
    )


def test_one_token_called_by_many_at_once_is_seen_once(caller, sandbox, tokens):
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda: answers.append(caller.spend(tokens[0]["token"]).status_code)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200] + [400] * 7
    assert sandbox.control.summary()["messages"] == 1


@pytest.mark.parametrize("alike", [False, True])
def test_bad_tokens_are_told_apart_unless_alike(caller, sandbox, tokens, alike):
    control = sandbox.control
    control.token_answers(alike=alike)
    caller.spend(tokens[0]["token"])
    control.expire([tokens[1]["token"]])
    texts = {caller.spend(token).json()["error"]["message"] for token in (*(t["token"] for t in tokens[:2]), "garbage")}
    assert len(texts) == (1 if alike else 3)
    assert control.summary()["messages"] == 1


def test_answer_to_a_used_token_can_be_set(caller, sandbox, tokens, error_of):
    sandbox.control.token_answers(used={"code": 10, "subcode": 4711, "message": "spent", "status": 403})
    caller.spend(tokens[0]["token"])
    again = caller.spend(tokens[0]["token"])
    assert (again.status_code, error_of(again)) == (403, (10, 4711))


def test_token_belongs_to_its_page(caller, sandbox, tokens, error_of):
    other = sandbox.control.page()
    headers = {"Authorization": f"Bearer {other['access_token']}"}
    body = {"recipient": {"one_time_notif_token": tokens[0]["token"]}, "message": {"text": "x"}}
    assert error_of(caller.post(headers=headers, json=body))[0] == 100
    assert error_of(caller.post(f"/{other['page_id']}/messages", json=body)) == (100, 33)
    assert caller.spend(tokens[0]["token"]).status_code == 200


def test_access_token_is_taken_wherever_it_may_stand(caller, tokens):
    access = caller.page["access_token"]
    recipient = [{"one_time_notif_token": row["token"]} for row in tokens]
    message = {"text": "x"}
    bare = {"headers": {}}
    form = {"recipient": json.dumps(recipient[1]), "message": json.dumps(message)}
    answers = [
        caller.post(json={"recipient": recipient[0], "message": message}),
        caller.post(f"/me/messages?access_token={access}", data=form, **bare),
        caller.post(
            data={"recipient": json.dumps(recipient[2]), "message": "{'text':'x'}", "access_token": access}, **bare
        ),
        caller.post(json={"recipient": recipient[3], "message": message, "access_token": access}, **bare),
        caller.post(
            f"/v19.0/{caller.page_id}/messages",
            params={"access_token": access, "recipient": json.dumps(recipient[4]), "message": json.dumps(message)},
            **bare,
        ),
        caller.post(files={"recipient": (None, json.dumps(recipient[5])), "message": (None, json.dumps(message))}),
    ]
    assert [answer.status_code for answer in answers] == [200] * 6


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic eDp5"}])
def test_without_a_valid_access_token_it_is_190(caller, sandbox, tokens, headers, error_of):
    body = {"recipient": {"one_time_notif_token": tokens[0]["token"]}, "message": {"text": "x"}}
    answer = caller.post(headers=headers, json=body)
    assert (answer.status_code, error_of(answer)) == (400, (190, None))
    assert answer.headers["WWW-Authenticate"].startswith("OAuth")
    assert sandbox.control.summary()["messages"] == 0


def test_appsecret_proof_is_checked_when_given_and_when_required(caller, sandbox, tokens, error_of):
    page = caller.page
    proof = hmac.new(page["app_secret"].encode(), page["access_token"].encode(), hashlib.sha256).hexdigest()
    body = {"recipient": {"one_time_notif_token": tokens[0]["token"]}, "message": {"text": "x"}}
    path = "/me/messages?appsecret_proof="
    assert error_of(caller.post(path + "0" * 64, json=body)) == (100, None)
    sandbox.control.page(caller.page_id, require_appsecret_proof=True)
    assert "appsecret_proof" in caller.post(json=body).json()["error"]["message"]
    assert caller.post(path + proof, json=body).status_code == 200


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("551", (551, None)),
        ("551/1545041", (551, 1545041)),
        ("551/1893047", (551, 1893047)),
        ("200/1545041", (200, 1545041)),
        ("10/2018108", (10, 2018108)),
    ],
)
def test_blocked_person_keeps_the_token(caller, sandbox, tokens, error_of, family, expected):
    psid = tokens[0]["psid"]
    sandbox.control.block(caller.page_id, [psid], family=family)
    assert error_of(caller.spend(tokens[0]["token"])) == expected
    sandbox.control.unblock(caller.page_id, [psid])
    assert caller.spend(tokens[0]["token"]).status_code == 200


def test_id_needs_an_open_window(caller, sandbox, tokens, error_of):
    psid = tokens[0]["psid"]
    assert error_of(caller.send({"id": psid})) == (10, 2018278)
    # A framework that adds the id beside the token loses the token's right.
    assert error_of(caller.send({"id": psid, "one_time_notif_token": tokens[0]["token"]})) == (10, 2018278)
    sandbox.control.say(caller.page_id, psid, "hi")
    assert caller.send({"id": psid}, messaging_type="RESPONSE").status_code == 200
    sandbox.control.window(caller.page_id, [psid], hours=0)
    assert error_of(caller.send({"id": psid})) == (10, 2018278)
    assert caller.spend(tokens[0]["token"]).status_code == 200


def test_person_of_another_page_is_unknown(caller, sandbox, error_of):
    other = sandbox.control.page()
    [psid] = sandbox.control.people(other["page_id"], window=True)
    assert error_of(caller.send({"id": psid})) == (100, 2018001)


CARD = {
    "attachment": {
        "type": "template",
        "payload": {"template_type": "one_time_notif_req", "title": "News?", "payload": "news"},
    }
}


def test_card_is_asked_in_the_window_and_its_tap_gives_a_token(caller, sandbox, error_of):
    control = sandbox.control
    [psid] = control.people(caller.page_id)
    assert error_of(caller.send({"id": psid}, CARD)) == (10, 2018278)
    control.window(caller.page_id, [psid])
    assert caller.send({"id": psid}, CARD).status_code == 200
    assert [row["kind"] for row in control.ledger()] == ["one_time_notif_req"]
    token = control.tap(caller.page_id, psid)
    assert caller.spend(token).status_code == 200


def test_people_can_tap_by_themselves(caller, sandbox):
    sandbox.control.page(caller.page_id, tap_rate=1.0)
    [psid] = sandbox.control.people(caller.page_id, window=True)
    caller.send({"id": psid}, CARD)
    [row] = sandbox.control.tokens()
    assert (row["psid"], row["payload"], row["mid"]) == (psid, "news", None)


def test_without_the_feature_neither_card_nor_token_works(caller, sandbox, tokens, error_of):
    sandbox.control.page(caller.page_id, otn_enabled=False)
    sandbox.control.window(caller.page_id)
    assert error_of(caller.send({"id": tokens[0]["psid"]}, CARD)) == (10, None)
    assert error_of(caller.spend(tokens[0]["token"])) == (10, None)
    sandbox.control.page(caller.page_id, otn_enabled=True)
    assert caller.spend(tokens[0]["token"]).status_code == 200


def _template(**payload):
    return {"attachment": {"type": "template", "payload": payload}}


BUTTON = {"type": "web_url", "url": "https://shop.test/", "title": "Go"}
ELEMENT = {"title": "T", "subtitle": "S", "buttons": [BUTTON]}


@pytest.mark.parametrize(
    "message",
    [
        {"text": "x" * 1999, "metadata": "m" * 999},
        {"text": "pick", "quick_replies": [{"content_type": "text", "title": "A", "payload": "a"}] * 13},
        {"attachment": {"type": "image", "payload": {"url": "https://shop.test/a.png"}}},
        _template(template_type="button", text="b" * 640, buttons=[BUTTON] * 3),
        _template(template_type="generic", elements=[ELEMENT] * 10),
        _template(template_type="media", elements=[{"media_type": "image", "url": "https://f.test/p"}]),
        _template(
            template_type="receipt",
            recipient_name="A",
            order_number="1",
            currency="EUR",
            payment_method="card",
            summary={"total_cost": 3.5},
        ),
        _template(template_type="product", elements=[{"id": "123"}]),
    ],
)
def test_content_the_platform_sends(caller, sandbox, tokens, message):
    assert caller.spend(tokens[0]["token"], message).status_code == 200
    assert next(sandbox.control.ledger())["message"] == message


@pytest.mark.parametrize(
    "message",
    [
        {"text": "x" * 2000},
        {"text": "x", "metadata": "m" * 1000},
        {"text": ""},
        {"text": " \n"},
        {"text": 7},
        {"text": "x", "colour": "red"},
        {"text": "x", "attachment": {"type": "image", "payload": {"url": "https://shop.test/a.png"}}},
        {"text": "x", "quick_replies": [{"content_type": "text", "title": "A"}] * 14},
        {"text": "x", "quick_replies": [{"content_type": "text", "title": "A" * 21}]},
        {"attachment": {"type": "hologram", "payload": {}}},
        {"attachment": {"type": "image", "payload": {"url": "ftp://shop.test/a.png"}}},
        {"attachment": "image"},
        _template(template_type="button", text="b" * 641, buttons=[BUTTON]),
        _template(template_type="button", text="b", buttons=[]),
        _template(template_type="generic", elements=[ELEMENT] * 11),
        _template(template_type="generic", elements=[{"subtitle": "no title"}]),
        _template(template_type="poem"),
        CARD,
        [],
        "hello",
    ],
)
def test_content_the_platform_refuses_leaves_the_token(caller, sandbox, tokens, error_of, message):
    answer = caller.spend(tokens[0]["token"], message)
    assert (answer.status_code, error_of(answer)[0]) == (400, 100)
    assert sandbox.control.summary()["messages"] == 0
    assert caller.spend(tokens[0]["token"]).status_code == 200


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"messaging_type": "UPDATE"}, 200),
        ({"messaging_type": "UTILITY"}, 200),
        ({"messaging_type": "SHOUT"}, 400),
        ({"messaging_type": ["UPDATE"]}, 400),
        ({"messaging_type": "MESSAGE_TAG"}, 400),
        ({"tag": "ACCOUNT_UPDATE"}, 400),
        ({"notification_type": "NO_PUSH"}, 200),
        ({"notification_type": "LOUD"}, 400),
        ({"sender_action": "typing_on"}, 400),
        ({"persona_id": "1"}, 200),
    ],
)
def test_parameters_beside_the_message(caller, tokens, more, status):
    assert caller.spend(tokens[0]["token"], **more).status_code == status


def test_card_title_has_65_characters_at_most(caller, sandbox, error_of):
    [psid] = sandbox.control.people(caller.page_id, window=True)
    card = json.loads(json.dumps(CARD))
    card["attachment"]["payload"]["title"] = "é" * 66
    assert error_of(caller.send({"id": psid}, card))[0] == 100
    card["attachment"]["payload"]["title"] = "é" * 65
    assert caller.send({"id": psid}, card).status_code == 200


def test_attachment_is_the_pages_own(caller, sandbox, tokens, error_of):
    def attach(access_token):
        message = {"attachment": {"type": "image", "payload": {"url": "https://shop.test/a.png", "is_reusable": True}}}
        headers = {"Authorization": f"Bearer {access_token}"}
        return caller.post("/me/message_attachments", headers=headers, json={"message": message}).json()[
            "attachment_id"
        ]

    def image(attachment_id):
        return {"attachment": {"type": "image", "payload": {"attachment_id": attachment_id}}}

    own, foreign = attach(caller.page["access_token"]), attach(sandbox.control.page()["access_token"])
    assert error_of(caller.spend(tokens[0]["token"], image(foreign))) == (100, 2018074)
    assert caller.spend(tokens[0]["token"], image(own)).status_code == 200


def test_attachment_is_uploaded_as_a_file(caller):
    message = {"attachment": {"type": "image", "payload": {"is_reusable": True}}}
    files = {"filedata": ("a.png", bytes(range(256)) * 40, "image/png")}
    answer = caller.post("/me/message_attachments", data={"message": json.dumps(message)}, files=files)
    assert answer.json()["attachment_id"].isdigit()


def test_halted_page_sends_nothing(caller, sandbox, tokens, error_of):
    sandbox.control.policy(caller.page_id, "block")
    assert error_of(caller.spend(tokens[0]["token"])) == (10, 1893063)
    sandbox.control.page(caller.page_id, halted="368")
    assert error_of(caller.spend(tokens[0]["token"])) == (368, None)
    sandbox.control.page(caller.page_id, halted=None, dead=460)
    assert error_of(caller.spend(tokens[0]["token"])) == (190, 460)
    sandbox.control.page(caller.page_id, dead=None)
    assert caller.spend(tokens[0]["token"]).status_code == 200


def test_profile_has_the_fields_asked_for(caller, sandbox):
    control, access = sandbox.control, caller.page["access_token"]

    def profile(psid, fields="first_name,last_name"):
        query = {"fields": fields, "access_token": access}
        return requests.get(f"{caller.url}/v26.0/{psid}", params=query, timeout=30).json()

    given = {"first_name": "Zoë/", "last_name": "B", "locale": "de_DE"}
    [full] = control.people(caller.page_id, profiles=given)
    assert profile(full, "first_name,locale") == {"first_name": "Zoë/", "locale": "de_DE", "id": full}
    [empty] = control.people(caller.page_id, profiles="empty")
    assert profile(empty) == {}
    [null] = control.people(caller.page_id, profiles="null")
    assert profile(null)["first_name"] is None
    [phone] = control.people(caller.page_id, profiles="phone")
    assert profile(phone)["error"]["error_subcode"] == 2018218
    assert profile("1")["error"]["error_subcode"] == 33


def test_subscriptions_are_read_and_changed(caller):
    def get(edge):
        return caller.session.get(
            f"{caller.url}/me/{edge}", params={"access_token": caller.page["access_token"]}
        ).json()

    assert caller.post("/me/subscribed_apps?subscribed_fields=messages,messaging_optins").json() == {"success": True}
    [app] = get("subscribed_apps")["data"]
    assert (app["id"], app["subscribed_fields"]) == (caller.page["app_id"], ["messages", "messaging_optins"])
    assert caller.post("/me/subscribed_apps?subscribed_fields=gossip").status_code == 400
    assert get("messaging_feature_review")["data"] == [{"feature": "one_time_notification", "status": "approved"}]
    assert get("horoscope")["error"]["code"] == 2500
