"""Meta's own client, which nobody here wrote, takes the sandbox for the platform."""

from __future__ import annotations

import pytest
from facebook_business.adobjects.page import Page
from facebook_business.api import FacebookAdsApi, FacebookSession
from facebook_business.exceptions import FacebookRequestError


@pytest.fixture
def api(caller):
    class Session(FacebookSession):
        GRAPH = caller.url

    session = Session(caller.page["app_id"], caller.page["app_secret"], caller.page["access_token"])
    session.requests.trust_env = False
    yield FacebookAdsApi(session)
    session.requests.close()


@pytest.fixture
def page(api, caller):
    return Page(caller.page_id, api=api)


def to_token(token, text="hello"):
    return {"recipient": {"one_time_notif_token": token}, "message": {"text": text, "metadata": "m"}}


def test_sends_singly(page, sandbox, tokens):
    sandbox.control.page(page["id"], require_appsecret_proof=True)
    answer = page.create_message(params=to_token(tokens[0]["token"], "héllo 😀"))
    assert answer["recipient_id"] == tokens[0]["psid"]
    [row] = sandbox.control.ledger()
    assert (row["mid"], row["text"], row["metadata"]) == (answer["message_id"], "héllo 😀", "m")


def test_reads_errors_of_single_sends(page, sandbox, tokens):
    page.create_message(params=to_token(tokens[0]["token"]))
    with pytest.raises(FacebookRequestError) as used:
        page.create_message(params=to_token(tokens[0]["token"]))
    assert (used.value.http_status(), used.value.api_error_code(), used.value.api_error_type()) == (
        400,
        100,
        "OAuthException",
    )
    sandbox.control.block(page["id"], [tokens[1]["psid"]], family="551/1893047")
    with pytest.raises(FacebookRequestError) as blocked:
        page.create_message(params=to_token(tokens[1]["token"]))
    assert (blocked.value.api_error_code(), blocked.value.api_error_subcode()) == (551, 1893047)
    assert blocked.value.api_transient_error() is False
    sandbox.control.faults(next=[{"kind": "server_error"}])
    with pytest.raises(FacebookRequestError) as failed:
        page.create_message(params=to_token(tokens[2]["token"]))
    assert (failed.value.api_error_code(), failed.value.api_transient_error()) == (2, True)


def test_sends_by_batch_and_gets_back_the_null_items(api, page, sandbox, tokens):
    lost = tokens[2]["token"]
    sandbox.control.faults(next=[{"kind": "drop", "token": lost}])
    sandbox.control.expire([tokens[1]["token"]])
    sent, failed = [], []
    batch = api.new_batch()
    for row in tokens:
        params = to_token(row["token"], "a&b=ü/😀")
        page.create_message(params=params, batch=batch, success=sent.append, failure=failed.append)
    rest = batch.execute()
    assert [answer.json()["recipient_id"] for answer in sent] == [tokens[at]["psid"] for at in (0, 3, 4, 5)]
    [error] = [answer.error() for answer in failed]
    assert (error.http_status(), error.api_error_code(), "expired" in error.api_error_message()) == (400, 100, True)
    assert len(rest) == 1
    assert rest.execute() is None
    assert sent[-1].json()["recipient_id"] == tokens[2]["psid"]
    assert {row["text"] for row in sandbox.control.ledger()} == {"a&b=ü/😀"}


def test_reads_profile_subscription_and_feature(api, page, sandbox, caller, tokens):
    page.create_subscribed_app(params={"subscribed_fields": ["messages", "messaging_optins"]})
    [app] = page.get_subscribed_apps()
    assert app["id"] == caller.page["app_id"]
    [review] = page.get_messaging_feature_review()
    assert (review["feature"], review["status"]) == ("one_time_notification", "approved")
    profile = api.call("GET", (tokens[0]["psid"],), params={"fields": "first_name,last_name"}).json()
    assert profile["id"] == tokens[0]["psid"]


def test_uploads_an_attachment_once_and_sends_it_by_id(page, tokens):
    image = {"attachment": {"type": "image", "payload": {"url": "https://shop.test/a.png", "is_reusable": True}}}
    attachment_id = page.create_message_attachment(params={"message": image})["attachment_id"]
    message = {"attachment": {"type": "image", "payload": {"attachment_id": attachment_id}}}
    for row in tokens[:2]:
        page.create_message(params={"recipient": {"one_time_notif_token": row["token"]}, "message": message})
