"""Webhooks as Meta sends them (Meta docs, Webhooks)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re

import pytest

from sandbox.control_client import SandboxError


@pytest.fixture
def page(sandbox, receiver, caller):
    caller.page = sandbox.control.page(caller.page_id, webhook_url=receiver.url)
    return caller.page


def test_handshake_brings_challenge_and_verify_token(receiver, page):
    [query] = receiver.handshakes
    assert query["hub.mode"] == ["subscribe"]
    assert query["hub.verify_token"] == [page["verify_token"]]


def test_receiver_that_fails_the_handshake_is_not_registered(sandbox, receiver):
    receiver.challenge = False
    page = sandbox.control.page()
    with pytest.raises(SandboxError, match="could not be verified"):
        sandbox.control.page(page["page_id"], webhook_url=receiver.url)
    assert sandbox.control.pages()[0]["webhook_url"] is None


def test_optin_has_the_documented_shape(sandbox, receiver, page):
    [psid] = sandbox.control.people(page["page_id"])
    [row] = sandbox.control.optins(page["page_id"], "news", list_tokens=True)["rows"]
    assert sandbox.control.flush()["pending"] == 0
    [post] = receiver.posts
    body = json.loads(post.raw)
    [entry] = body["entry"]
    assert (body["object"], entry["id"]) == ("page", page["page_id"])
    assert entry["messaging"] == [
        {
            "sender": {"id": psid},
            "recipient": {"id": page["page_id"]},
            "timestamp": row["opted_in_at"],
            "optin": {"type": "one_time_notif_req", "payload": "news", "one_time_notif_token": row["token"]},
        }
    ]


def test_body_is_escaped_ascii_and_signed_over_its_bytes(sandbox, receiver, page):
    [psid] = sandbox.control.people(page["page_id"])
    sandbox.control.optins(page["page_id"], 'äöå/<\U0001f600"\\')
    sandbox.control.say(page["page_id"], psid, "http://ü/")
    sandbox.control.flush()
    raw = b"".join(post.raw for post in receiver.posts)
    assert raw.isascii()
    assert b'"\\u00e4\\u00f6\\u00e5\\/<\\ud83d\\ude00\\"\\\\"' in raw
    assert b'"http:\\/\\/\\u00fc\\/"' in raw
    assert not re.search(rb"\\u[0-9a-f]*[A-F]", raw)
    key = page["app_secret"].encode()
    for post in receiver.posts:
        assert post.headers["X-Hub-Signature-256"] == "sha256=" + hmac.new(key, post.raw, hashlib.sha256).hexdigest()
        assert post.headers["X-Hub-Signature"] == "sha1=" + hmac.new(key, post.raw, hashlib.sha1).hexdigest()


def test_message_comes_back_as_echo_delivery_and_read(sandbox, receiver, page, caller, tokens):
    sandbox.control.delivery(read_rate=1.0)
    mid = caller.spend(tokens[0]["token"], {"text": "hé", "metadata": "m-1"}).json()["message_id"]
    sandbox.control.flush()
    [echo] = receiver.of("message")
    assert (echo["sender"]["id"], echo["recipient"]["id"]) == (page["page_id"], tokens[0]["psid"])
    assert echo["message"] == {
        "is_echo": True,
        "app_id": int(page["app_id"]),
        "mid": mid,
        "metadata": "m-1",
        "text": "hé",
    }
    [delivery], [read] = receiver.of("delivery"), receiver.of("read")
    assert delivery["delivery"] == {"mids": [mid], "watermark": echo["timestamp"]}
    assert read["read"] == {"watermark": echo["timestamp"]}
    assert delivery["sender"]["id"] == tokens[0]["psid"]


def test_what_people_do_is_told(sandbox, receiver, page):
    control, page_id = sandbox.control, page["page_id"]
    [psid] = control.people(page_id)
    mid = control.say(page_id, psid, "stop", quick_reply={"payload": "STOP"})
    control.postback(page_id, psid, "Start", "GO")
    control.react(page_id, psid, mid)
    control.policy(page_id, "warning", reason="too much")
    control.flush()
    [message], [postback] = receiver.of("message"), receiver.of("postback")
    assert message["message"] == {"mid": mid, "text": "stop", "quick_reply": {"payload": "STOP"}}
    assert (postback["postback"]["title"], postback["postback"]["payload"]) == ("Start", "GO")
    assert receiver.of("reaction")[0]["reaction"]["mid"] == mid
    [policy] = receiver.of("policy_enforcement")
    assert "sender" not in policy
    assert policy["policy_enforcement"] == {"action": "warning", "reason": "too much"}


def test_failed_posts_are_repeated_byte_for_byte(sandbox, receiver, page):
    sandbox.control.delivery(connections=1, backoff_s=0.01, entries_per_post=2)
    receiver.answers = [500, 503, 404, 201, 302]
    sandbox.control.people(page["page_id"], 3)
    sandbox.control.optins(page["page_id"], "x")
    outbox = sandbox.control.flush()
    assert (outbox["delivered"], outbox["failed"], outbox["retries"]) == (3, 0, 5)
    assert len({post.raw for post in receiver.posts[:6]}) == 1
    assert len(receiver.events) == 3


def test_receiver_that_is_down_gets_everything_once_it_is_up(sandbox, receiver, page):
    control = sandbox.control
    control.delivery(backoff_s=0.01, backoff_most_s=0.05)
    control.page(page["page_id"], webhook_url="http://127.0.0.1:9/webhook", handshake=False)
    control.people(page["page_id"], 5)
    assert control.optins(page["page_id"], "x")["told"] == 5
    with pytest.raises(SandboxError, match="5 events still wait"):
        control.flush(timeout_s=0.2)
    control.page(page["page_id"], webhook_url=receiver.url)
    assert control.flush()["delivered"] == 5
    assert len(receiver.of("optin")) == 5


def test_after_long_failure_the_page_is_unsubscribed(sandbox, receiver, page):
    control = sandbox.control
    control.delivery(disable_after_s=0.0, retries_at_once=1, backoff_s=0.01)
    receiver.answers = [500] * 100
    control.people(page["page_id"], 1)
    control.optins(page["page_id"], "x")
    outbox = control.flush()
    assert (outbox["failed"], outbox["delivered"]) == (1, 0)
    assert control.pages()[0]["subscribed_fields"] == []


def test_events_the_app_did_not_subscribe_are_not_sent(sandbox, receiver, page, caller, tokens):
    sandbox.control.flush()
    caller.post("/me/subscribed_apps?subscribed_fields=message_echoes")
    caller.spend(tokens[0]["token"])
    sandbox.control.flush()
    assert [event for event in receiver.events if "optin" not in event] == receiver.of("message")


def test_many_entries_go_in_one_post(sandbox, receiver, page):
    sandbox.control.delivery(entries_per_post=1000, connections=1)
    sandbox.control.people(page["page_id"], 2000)
    sandbox.control.optins(page["page_id"], "x")
    outbox = sandbox.control.flush()
    assert outbox["delivered"] == 2000
    assert outbox["posts"] <= 3
    assert max(len(json.loads(post.raw)["entry"]) for post in receiver.posts) == 1000
    assert len({event["optin"]["one_time_notif_token"] for event in receiver.of("optin")}) == 2000


def test_several_events_of_a_page_share_an_entry_on_demand(sandbox, receiver, page):
    sandbox.control.delivery(events_per_entry=4, connections=1)
    sandbox.control.people(page["page_id"], 8)
    sandbox.control.optins(page["page_id"], "x")
    sandbox.control.flush()
    assert [len(entry["messaging"]) for post in receiver.posts for entry in json.loads(post.raw)["entry"]] == [4, 4]


def test_duplicates_and_other_orders(sandbox, receiver, page):
    sandbox.control.delivery(duplicates=1.0, shuffle=True, entries_per_post=10)
    sandbox.control.people(page["page_id"], 100)
    rows = sandbox.control.optins(page["page_id"], "x", spread_s=0, list_tokens=True)["rows"]
    outbox = sandbox.control.flush()
    assert outbox["duplicates"] * 2 == len(receiver.posts)
    told = [event["optin"]["one_time_notif_token"] for event in receiver.of("optin")]
    assert len(told) == 200
    assert sorted(set(told)) == sorted(row["token"] for row in rows)
    assert list(dict.fromkeys(told)) != [row["token"] for row in rows]


def test_odd_timestamps_and_missing_parts(sandbox, receiver, page, caller, tokens):
    sandbox.control.flush()
    receiver.posts.clear()
    sandbox.control.delivery(seconds=1.0, missing_mids=1.0, missing_echo=1.0, read_rate=0)
    caller.spend(tokens[0]["token"])
    sandbox.control.flush()
    [event] = receiver.events
    assert event["timestamp"] == event["delivery"]["watermark"] // 1000
    assert "mids" not in event["delivery"]
    sandbox.control.delivery(seconds=0.0, quoted=1.0, missing_delivery=1.0, missing_echo=0.0)
    caller.spend(tokens[1]["token"])
    sandbox.control.flush()
    assert isinstance(receiver.events[1]["timestamp"], str)


def test_late_events_are_waited_for(sandbox, receiver, page, caller, tokens):
    sandbox.control.flush()
    sandbox.control.delivery(delay_ms=2000)
    caller.spend(tokens[0]["token"])
    assert sandbox.control.outbox()["pending"] >= 2
    sandbox.control.flush()
    assert len(receiver.of("delivery")) == 1


def test_any_bytes_can_be_posted_and_the_signature_spoiled(sandbox, receiver, page):
    receiver.answers = [403]
    raw = b'{"object":"page","entry":[' + bytes(range(256))
    assert sandbox.control.webhook(page["page_id"], raw=raw, headers={"X-Hub-Signature-256": "sha256=00"}) == 403
    assert receiver.posts[0].raw == raw
    assert receiver.posts[0].headers["X-Hub-Signature-256"] == "sha256=00"
    assert (
        sandbox.control.webhook(page["page_id"], events=[{"sender": {"id": "1"}}], headers={"X-Hub-Signature-256": ""})
        == 200
    )
    assert "X-Hub-Signature-256" not in receiver.posts[1].headers


def test_two_pages_of_one_app_share_a_post(sandbox, receiver, page):
    control = sandbox.control
    other = control.page(**{key: page[key] for key in ("app_id", "app_secret", "webhook_url")}, handshake=False)
    control.delivery(connections=1, timeout_s=60)
    receiver.answering.clear()  # the first event is still on its way while the others queue up behind it
    for some in (page, page, other):
        control.people(some["page_id"], psids=[control.pages()[0]["page_id"][:3] + str(len(list(control.persons())))])
        control.optins(some["page_id"], "x")
    receiver.answering.set()
    control.flush()
    shared = {entry["id"] for entry in json.loads(receiver.posts[-1].raw)["entry"]}
    assert shared == {page["page_id"], other["page_id"]}


def test_data_deletion_request_is_signed_over_its_encoded_payload(sandbox, receiver, page):
    answer = sandbox.control.data_deletion(page["page_id"], receiver.url, "4711")
    assert answer["status"] == 200
    form = receiver.posts[0].raw.decode()
    signature, _, payload = form.removeprefix("signed_request=").partition(".")
    right = hmac.new(page["app_secret"].encode(), payload.encode(), hashlib.sha256).digest()
    assert base64.urlsafe_b64decode(signature + "=") == right
    decoded = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert (decoded["algorithm"], decoded["user_id"]) == ("HMAC-SHA256", "4711")
