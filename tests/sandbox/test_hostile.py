"""Whatever is sent to the sandbox, it answers as a platform would: never a crash, never a message by mistake."""

from __future__ import annotations

import http.client
import json
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda some: st.lists(some, max_size=3) | st.dictionaries(st.text(max_size=8), some, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["recipient", "message", "messaging_type", "tag", "sender_action", "access_token", "x"])
INNER = st.sampled_from(["id", "one_time_notif_token", "text", "attachment", "type", "payload", "elements", "metadata"])
SHAPES = st.dictionaries(KEYS, JSON | st.dictionaries(INNER, JSON, max_size=4), max_size=4)


def raw_call(caller, body, content_type="application/json", path="/me/messages", method="POST"):
    connection = http.client.HTTPConnection(urlsplit(caller.url).netloc, timeout=30)
    headers = {"Authorization": f"Bearer {caller.page['access_token']}", "Content-Type": content_type}
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    read = answer.status, answer.read()
    connection.close()
    return read


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=SHAPES)
def test_any_json_is_answered_by_an_error_envelope(caller, sandbox, body):
    for raw, kind in (
        (json.dumps(body), "application/json"),
        ("&".join(f"{key}={json.dumps(value)}" for key, value in body.items()).encode(), "text/plain"),
    ):
        for path in ("/me/messages", "/", "/me/subscribed_apps", "/me/message_attachments"):
            status, said = raw_call(caller, raw, kind, path)
            assert status == 400, said
            assert isinstance(json.loads(said)["error"]["code"], int)
    assert sandbox.control.health()["messages"] == 0


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(item=JSON, body=st.text(st.characters(codec="utf-8")))
def test_any_batch_item_is_answered(caller, item, body):
    items = [item, {"method": "POST", "relative_url": "me/messages", "body": body}]
    status, said = raw_call(caller, json.dumps({"batch": items}), path="/")
    assert status == 200
    assert [part["code"] for part in json.loads(said)] == [400, 400]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "application/json"),
        (b"{", "application/json"),
        (b"[" * 100_000, "application/json"),
        (b'{"recipient":' * 5000 + b"1" + b"}" * 5000, "application/json"),
        (b'{"recipient":{"id":"1"},"message":' + b'{"text":' * 200 + b"1" + b"}" * 201, "application/json"),
        (b'{"recipient":{"id":"\\ud800"},"message":{"text":"\\udfff"}}', "application/json"),
        (b'{"recipient":{"id":' + b"9" * 10_000 + b'},"message":{"text":"x"}}', "application/json"),
        (b"recipient=" + b"{'" * 50_000, "application/x-www-form-urlencoded"),
        (b"recipient=%FF%FE&message=%", "application/x-www-form-urlencoded"),
        (b"\x00" * 1000, "application/x-www-form-urlencoded"),
        (b"--x\r\n", "multipart/form-data; boundary=x"),
        (b"--x\r\n", "multipart/form-data"),
        (b"x" * 12_000_000, "text/plain"),
    ],
    ids=range(13),
)
def test_broken_bodies_are_answered(caller, sandbox, body, content_type):
    status, said = raw_call(caller, body, content_type)
    assert status == 400
    assert json.loads(said)["error"]["code"] == 100
    assert sandbox.control.health()["messages"] == 0


def test_lone_surrogates_travel_to_the_ledger_and_back(caller, sandbox, tokens):
    body = json.dumps({"recipient": {"one_time_notif_token": tokens[0]["token"]}, "message": {"text": "a\ud800b"}})
    assert raw_call(caller, body)[0] == 200
    answer = caller.session.get(f"{caller.url}/_sandbox/ledger", timeout=30)
    assert json.loads(answer.content)["text"] == "a\ud800b"


@pytest.mark.parametrize(
    "path", ["//", "/v26.0/v26.0/me/messages", "/%2e%2e/messages", "/me%2Fmessages", "/a/b/c/d", "/%ff"]
)
def test_odd_paths_are_answered(caller, path):
    assert raw_call(caller, b"{}", path=path)[0] == 400
    assert raw_call(caller, b"", path=path, method="GET")[0] in {200, 400}
