from __future__ import annotations

import json
import re
from urllib.parse import urlencode

import pytest

from otn.errors import ConfigurationError
from otn.messenger.client import MessengerClient, PageCredentials, SendRequest
from otn.messenger.errors import MessengerError, Outcome, TokenFate, TokenRule
from otn.messenger.messages import one_time_request
from otn.messenger.signature import appsecret_proof
from otn.messenger.usage import Usage
from tests.messenger.platform import PAGE, SECRET, SENT, TOKEN, http

TEXT = "Grüße 😀 & <b> 100% + / =\n"
REQUEST = SendRequest({"one_time_notif_token": "one-time-token"}, {"text": TEXT, "metadata": "m-1"})
BLOCKED = (
    b'{"error":{"message":"(#551) x","type":"OAuthException","code":551,"error_subcode":1893047,"is_transient":false}}'
)


# --- one send


def test_a_send_on_the_wire(platform, client):
    result = client.send(REQUEST)
    request = platform.received[0]
    assert (request.method, request.target) == ("POST", f"/v25.0/{PAGE}/messages")
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert {name: json.loads(value) for name, value in request.form.items()} == {
        "recipient": {"one_time_notif_token": "one-time-token"},
        "message": {"text": TEXT, "metadata": "m-1"},
    }
    assert result.outcome is Outcome.SENT
    assert (result.message_id, result.recipient_id, result.http_status) == ("m_AG5Hz2U", "28777805391819468", 200)


def test_asking_inside_the_window(platform, client):
    client.send(SendRequest({"id": "28777805391819468"}, one_time_request("News", "topic:1"), "RESPONSE"))
    form = platform.received[0].form
    assert form["messaging_type"] == "RESPONSE"
    assert json.loads(form["message"]) == {
        "attachment": {
            "type": "template",
            "payload": {"template_type": "one_time_notif_req", "title": "News", "payload": "topic:1"},
        }
    }


def test_the_proof_travels_in_the_body(platform, connect):
    connect(platform.url, app_secret=SECRET).send(REQUEST)
    assert platform.received[0].form["appsecret_proof"] == appsecret_proof(TOKEN, SECRET)
    assert platform.received[0].query == {}


def test_without_a_version_the_default_of_the_app_applies(platform, connect):
    connect(platform.url + "/", api_version="").send(REQUEST)
    assert platform.received[0].target == f"/{PAGE}/messages"


@pytest.mark.parametrize("body", [b'{"message_id":"m_1"}', b'{"message_id":"m_1","recipient_id":5,"new":[]}'])
def test_the_recipient_need_not_be_named(platform, client, body):
    platform.says(http(200, body))
    result = client.send(REQUEST)
    assert (result.outcome, result.message_id, result.recipient_id) == (Outcome.SENT, "m_1", None)


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (200, b"", "unparsable_answer"),
        (200, b"<html>Service Unavailable</html>", "unparsable_answer"),
        (200, b'{"message_id":"m_', "unparsable_answer"),
        (200, b"\xff\xfe{\0}\0", "unparsable_answer"),
        (200, b"[" * 200_000, "unparsable_answer"),
        (200, b"null", "unusable_answer"),
        (200, b"[]", "unusable_answer"),
        (200, b"{}", "unusable_answer"),
        (200, b'{"recipient_id":"1"}', "unusable_answer"),
        (200, b'{"message_id":null}', "unusable_answer"),
        (200, b'{"message_id":""}', "unusable_answer"),
        (200, b'{"message_id":5}', "unusable_answer"),
        (200, b'{"message_id":"a\\u0000"}', "unusable_answer"),
        (200, b'{"message_id":"\\ud800"}', "unusable_answer"),
        (200, b'{"error":null}', "unusable_answer"),
        (201, SENT, "http_201"),
        (204, b"", "http_204"),
        (400, SENT, "http_400"),
        (404, b"<html>Not found</html>", "http_404"),
        (429, b"slow down", "http_429"),
        (500, b"", "server_error"),
        (500, SENT, "server_error"),
        (502, b"<html>Bad gateway</html>", "server_error"),
        (503, b"null", "server_error"),
    ],
)
def test_answers_of_another_shape_leave_a_doubt(platform, client, status, body, reason):
    platform.says(http(status, body))
    result = client.send(REQUEST)
    assert (result.outcome, result.reason, result.message_id) == (Outcome.UNKNOWN, reason, None)
    assert result.http_status == status


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (400, BLOCKED, Outcome.REFUSED),
        (200, BLOCKED, Outcome.REFUSED),
        (500, BLOCKED, Outcome.UNKNOWN),
        (500, b'{"error":{"code":2,"message":"x","is_transient":true}}', Outcome.UNKNOWN),
        (400, b'{"error":{"code":2,"message":"x","is_transient":true}}', Outcome.TRANSIENT),
        (400, b'{"error":{"code":1,"error_subcode":1357046}}', Outcome.UNKNOWN),
        (400, b'{"error":{"code":551},"message_id":"m_1"}', Outcome.UNKNOWN),
        (401, b'{"error":{"code":190,"error_subcode":463}}', Outcome.PAGE_HALTED),
        (400, b'{"error":{"code":100,"message":"(#100) Invalid tag."}}', Outcome.CONTENT),
    ],
)
def test_errors_of_the_platform_are_judged(platform, client, status, body, outcome):
    platform.says(http(status, body))
    result = client.send(REQUEST)
    assert result.outcome is result.verdict.outcome is outcome
    assert (result.http_status, result.message_id, result.reason) == (status, None, None)


def test_the_platforms_own_wait_is_honoured(platform, client):
    usage = {PAGE: [{"type": "messenger", "call_count": 100, "estimated_time_to_regain_access": 19}]}
    headers = {"X-Business-Use-Case-Usage": json.dumps(usage)}
    error = {"error": {"message": "(#80006) x", "type": "OAuthException", "code": 80006, "fbtrace_id": "x"}}
    platform.says(http(400, error, headers=headers), http(400, error), http(200, SENT, headers=headers))
    first, second, third = (client.send(REQUEST) for _ in range(3))
    assert (first.outcome, first.wait_s, first.usage) == (Outcome.THROTTLED, 19 * 60, Usage(100, 19))
    assert (second.outcome, second.wait_s, second.usage) == (Outcome.THROTTLED, 300, None)
    assert (third.outcome, third.wait_s, third.usage) == (Outcome.SENT, None, Usage(100, 19))


def test_a_calibration_decides_the_fate_of_tokens(platform, connect):
    platform.says(http(400, {"error": {"code": 100, "message": "one_time_notif_token is invalid"}}))
    client = connect(platform.url, token_rules=[TokenRule(100, None, "is invalid", TokenFate.USED)])
    assert client.send(REQUEST).verdict.token_fate is TokenFate.USED


def test_quoted_tokens_do_not_reach_the_result(platform, client):
    platform.says(
        http(400, {"error": {"code": 100, "message": f"one_time_notif_token one-time-token {TOKEN} is invalid"}})
    )
    result = client.send(REQUEST)
    assert result.verdict.token_fate is TokenFate.UNDISTINGUISHED
    assert "one-time-token" not in repr(result)
    assert TOKEN not in repr(result)


def test_half_characters_in_a_token_do_not_raise(platform, client):
    assert client.send(SendRequest({"one_time_notif_token": "\ud800\0"}, {"text": "a"})).outcome is Outcome.SENT


# --- a batch


def batch_of(request):
    return json.loads(request.form["batch"])


def item(code, body):
    return {"code": code, "body": body if isinstance(body, str) else json.dumps(body)}


def requests_to(*tokens):
    return [SendRequest({"one_time_notif_token": token}, {"text": TEXT}) for token in tokens]


def test_a_batch_on_the_wire(platform, connect):
    platform.says(http(200, [item(200, {"message_id": "m_1"}), item(200, {"message_id": "m_2"})]))
    results = connect(platform.url, app_secret=SECRET).send_batch(requests_to("T1", "T&2"))
    request = platform.received[0]
    assert (request.method, request.target) == ("POST", "/v25.0/")
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.form["access_token"] == TOKEN
    assert request.form["include_headers"] == "false"
    assert request.form["appsecret_proof"] == appsecret_proof(TOKEN, SECRET)
    assert request.body.decode() == urlencode(request.form)
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    first, second = batch_of(request)
    assert (first["method"], first["relative_url"]) == ("POST", f"{PAGE}/messages")
    assert first["body"].startswith("recipient=%7B%22one_time_notif_token%22%3A%22T1%22%7D&message=%7B%22text%22%3A%22")
    assert "one_time_notif_token%22%3A%22T%262%22" in second["body"]
    assert [result.message_id for result in results] == ["m_1", "m_2"]


def test_items_are_judged_one_by_one_in_order(platform, client):
    headers = [{"name": "Content-Type", "value": "text/javascript; charset=UTF-8"}]
    platform.says(
        http(
            200,
            [
                {"code": 200, "headers": headers, "body": SENT.decode()},
                None,
                item(400, BLOCKED.decode()),
                item(500, {"error": {"code": 2}}),
                item(200, "<html>"),
                {"code": 200},
                {"code": "x", "body": "{}"},
                "text",
                item(400, {"error": {"code": 100, "message": "one_time_notif_token T8 has already been used"}}),
                item(200, {"message_id": "m_9"}),
            ],
        )
    )
    results = client.send_batch(requests_to(*(f"T{number}" for number in range(10))))
    outcomes = [(result.outcome, result.reason) for result in results]
    unknown = Outcome.UNKNOWN
    assert outcomes == [
        (Outcome.SENT, None),
        (unknown, "null_item"),
        (Outcome.REFUSED, None),
        (unknown, None),
        (unknown, "unparsable_answer"),
        (unknown, "unusable_item"),
        (unknown, "unusable_item"),
        (unknown, "unusable_item"),
        (Outcome.REFUSED, None),
        (Outcome.SENT, None),
    ]
    assert results[8].verdict.token_fate is TokenFate.USED
    assert "T8" not in results[8].error.message
    assert results[9].message_id == "m_9"


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (200, [item(200, {"message_id": "m_1"})], "wrong_item_count"),
        (200, [item(200, {"message_id": "m_1"})] * 3, "wrong_item_count"),
        (200, [], "wrong_item_count"),
        (200, {}, "unusable_answer"),
        (200, "null", "unusable_answer"),
        (200, "", "unparsable_answer"),
        (502, "<html>", "server_error"),
        (500, [item(200, {"message_id": "m_1"})] * 2, "server_error"),
        (301, "", "redirect"),
        (404, "", "http_404"),
    ],
)
def test_a_batch_answer_of_another_shape_leaves_all_in_doubt(platform, client, status, body, reason):
    platform.says(http(status, body))
    results = client.send_batch(requests_to("T1", "T2"))
    assert [(result.outcome, result.reason) for result in results] == [(Outcome.UNKNOWN, reason)] * 2


@pytest.mark.parametrize(
    ("status", "error", "outcome"),
    [
        (400, {"code": 613}, Outcome.THROTTLED),
        (400, {"code": 190}, Outcome.PAGE_HALTED),
        (400, {"code": 2}, Outcome.TRANSIENT),
        (500, {"code": 2}, Outcome.UNKNOWN),
        (500, {"code": 613}, Outcome.UNKNOWN),
        (400, {"code": 1, "error_subcode": 1357046}, Outcome.UNKNOWN),
        (
            400,
            {"code": 100, "message": "Too many requests in batch message. Maximum batch size is 50"},
            Outcome.PAGE_HALTED,
        ),
        (400, {"code": 100, "message": "A token is required"}, Outcome.PAGE_HALTED),
        (400, {"message": "no code"}, Outcome.PAGE_HALTED),
        (200, {"code": 4711}, Outcome.UNKNOWN),
    ],
)
def test_an_error_over_the_whole_batch_holds_for_every_item(platform, client, status, error, outcome):
    platform.says(http(status, {"error": error}))
    results = client.send_batch(requests_to("T1", "T2", "T3"))
    assert [result.outcome for result in results] == [outcome] * 3
    assert all(result.verdict.token_fate is None for result in results)


def test_no_answer_to_a_batch_leaves_all_in_doubt_or_none(platform, connect, client):
    platform.script = lambda _request, sock: (sock.shutdown(2), sock.close())
    assert [result.outcome for result in client.send_batch(requests_to("a", "b"))] == [Outcome.UNKNOWN] * 2
    platform.stop()
    unreached = connect(platform.url).send_batch(requests_to("a", "b"))
    assert [result.outcome for result in unreached] == [Outcome.TRANSIENT] * 2


def test_batch_sizes(platform, client):
    assert client.send_batch([]) == []
    with pytest.raises(ValueError, match="at most 50"):
        client.send_batch(requests_to(*map(str, range(51))))
    assert platform.received == []
    platform.says(http(200, [item(200, {"message_id": f"m_{number}"}) for number in range(50)]))
    results = client.send_batch(requests_to(*map(str, range(50))))
    assert [result.message_id for result in results] == [f"m_{number}" for number in range(50)]


# --- the other calls


def test_profile(platform, connect):
    platform.says(http(200, {"first_name": "Peter", "last_name": "Chang", "secret": 1, "id": "287"}), http(200, {}))
    client = connect(platform.url, app_secret=SECRET)
    assert client.profile("287", ["first_name", "last_name"]) == {
        "first_name": "Peter",
        "last_name": "Chang",
        "id": "287",
    }
    assert client.profile("287", ["first_name"]) == {}
    request = platform.received[0]
    assert (request.method, request.path) == ("GET", "/v25.0/287")
    assert request.query == {"fields": "first_name,last_name", "appsecret_proof": appsecret_proof(TOKEN, SECRET)}


@pytest.mark.parametrize("psid", ["", "../me", "1/2", "1?x=1", "1%2f", "ä", "1\n", "x" * 200])
def test_a_psid_cannot_leave_its_place_in_the_address(platform, client, psid):
    with pytest.raises(MessengerError, match="not an id"):
        client.profile(psid)
    assert platform.received == []


def test_subscriptions(platform, client):
    apps = {"data": [{"id": "1", "name": "a", "subscribed_fields": ["messages"]}, "x"]}
    platform.says(http(200, apps), http(200, {"success": True}), http(200, {"success": False}))
    assert client.subscribed_apps() == [apps["data"][0]]
    client.subscribe(["messages", "messaging_optins"])
    with pytest.raises(MessengerError):
        client.subscribe(["messages"])
    assert [request.target for request in platform.received] == [f"/v25.0/{PAGE}/subscribed_apps"] * 3
    assert platform.received[1].form == {"subscribed_fields": "messages,messaging_optins"}


def test_feature_review(platform, client):
    platform.says(http(200, {"data": [{"feature": "subscription_messaging", "status": "approved"}]}))
    assert client.feature_review() == [{"feature": "subscription_messaging", "status": "approved"}]
    assert platform.received[0].path == "/v25.0/me/messaging_feature_review"


def test_media_by_address(platform, client):
    platform.says(http(200, {"attachment_id": "1857777774821032"}))
    assert client.upload_attachment("image", "https://example.com/a.png") == "1857777774821032"
    assert platform.received[0].path == "/v25.0/me/message_attachments"
    assert json.loads(platform.received[0].form["message"]) == {
        "attachment": {"type": "image", "payload": {"is_reusable": True, "url": "https://example.com/a.png"}}
    }


def test_media_by_file(platform, connect, tmp_path):
    platform.says(http(200, {"attachment_id": "7"}))
    file = tmp_path / "our plan.PNG"
    file.write_bytes(b"\x89PNG\r\n\0")
    assert connect(platform.url, app_secret=SECRET).upload_attachment("image", path=file) == "7"
    request = platform.received[0]
    assert request.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert b'name="filedata"; filename="attachment.png"\r\nContent-Type: image/png\r\n\r\n\x89PNG\r\n\0' in request.body
    assert b'{"attachment":{"type":"image","payload":{"is_reusable":true}}}' in request.body
    assert b"our plan" not in request.body
    assert appsecret_proof(TOKEN, SECRET).encode() in request.body


def test_media_that_cannot_be_uploaded(platform, client, tmp_path):
    (tmp_path / "empty").touch()
    with (tmp_path / "large").open("wb") as large:
        large.truncate(25 * 1024 * 1024 + 1)
    attempts = [
        (("sticker", "https://a.b"), {}, "no attachment kind"),
        (("image",), {}, "exactly one"),
        (("image", "https://a.b"), {"path": tmp_path / "empty"}, "exactly one"),
        (("image",), {"path": tmp_path / "missing"}, "No such file"),
        (("image",), {"path": tmp_path / "empty"}, "empty"),
        (("image",), {"path": tmp_path / "large"}, "25 MB"),
    ]
    for args, options, text in attempts:
        with pytest.raises(MessengerError, match=text):
            client.upload_attachment(*args, **options)
    assert platform.received == []


@pytest.mark.parametrize(
    ("answer", "outcome", "text"),
    [
        (http(401, {"error": {"code": 190, "message": f"Bad {TOKEN}"}}), Outcome.PAGE_HALTED, r"190/-: Bad \[\.\.\.\]"),
        (http(400, {"error": {"code": 4, "message": "x"}}), Outcome.THROTTLED, "Wait"),
        (http(500, b""), Outcome.UNKNOWN, "HTTP 500"),
        (http(200, b"[]"), Outcome.UNKNOWN, "cannot be read"),
        (http(200, b"{}"), Outcome.UNKNOWN, "no data"),
        (b"", Outcome.UNKNOWN, "no answer"),
    ],
)
def test_other_calls_raise_what_is_known(platform, client, answer, outcome, text):
    platform.script = lambda _request, sock: (sock.sendall(answer), sock.shutdown(2), sock.close())
    with pytest.raises(MessengerError, match=text) as caught:
        client.subscribed_apps()
    assert caught.value.outcome is outcome
    assert re.fullmatch(r"[^\n]+\. [A-Z][^\n]+\.", str(caught.value))


# --- credentials


def test_reprs_show_no_secrets():
    shown = repr(PageCredentials("https://graph.facebook.com", PAGE, TOKEN, SECRET)) + repr(REQUEST)
    assert PAGE in shown
    for secret in (TOKEN, SECRET, "one-time-token", "Grüße"):
        assert secret not in shown


@pytest.mark.parametrize(
    "changed",
    [
        {"base_url": url}
        for url in ("", "graph.facebook.com", "ftp://a", "https://", "https://u:p@a", "http://a:x", "http://[")
    ]
    + [
        {"base_url": "https://a/?x=1"},
        {"base_url": "https://a b"},
        {"page_id": ""},
        {"page_id": "../1"},
        {"page_id": "1\n"},
    ]
    + [{"access_token": token} for token in ("", "a b", "a\r\nX: y", "ä")]
    + [{"api_version": version} for version in ("25.0", "v25", "v25.0/x", "v25.0\n")],
)
def test_unusable_credentials_are_refused_without_showing_them(changed):
    good = {"base_url": "https://graph.facebook.com", "page_id": PAGE, "access_token": TOKEN, "app_secret": SECRET}
    with pytest.raises(ConfigurationError) as caught:
        PageCredentials(**{**good, **changed})
    assert TOKEN not in str(caught.value)
    assert not re.search(r"u:p|a b|X: y|ä", str(caught.value))


def test_the_time_limit_of_a_call_is_known_to_the_caller():
    credentials = PageCredentials("https://graph.facebook.com", PAGE, TOKEN)
    with MessengerClient(credentials, connect_timeout_s=1.5, read_timeout_s=2.5) as client:
        assert client.time_limit_s == 4.0
