"""What asking, answering and watching need of the stand-in."""

from __future__ import annotations

import json
from urllib.parse import parse_qs

import pytest
import requests

from sandbox import process
from sandbox.control_client import SandboxError
from sandbox.deletion import deletion_payload, signed_request


def card(title="News?", payload="news"):
    parts = {"template_type": "one_time_notif_req", "title": title, "payload": payload}
    return {"attachment": {"type": "template", "payload": parts}}


@pytest.fixture
def page(sandbox, caller, receiver):
    caller.page = sandbox.control.page(caller.page_id, webhook_url=receiver.url)
    return caller.page_id


@pytest.fixture
def psid(sandbox, page):
    return sandbox.control.people(page, profiles="plain", window=True)[0]


def profile(caller, psid, fields="first_name,locale,timezone"):
    path = f"{caller.url}/v26.0/{psid}"
    bearer = {"Authorization": f"Bearer {caller.page['access_token']}"}
    return caller.session.get(path, params={"fields": fields}, headers=bearer, timeout=30)


# --- cards and taps


def test_cards_are_in_the_ledger_with_title_and_payload(sandbox, caller, psid):
    caller.send({"id": psid}, card("Tickets?", '{"topic":"tickets","ref":"late"}'))
    caller.send({"id": psid}, {"text": "hello"})
    asked, said = sandbox.control.ledger(caller.page_id)
    assert (asked["kind"], asked["title"], asked["payload"]) == (
        "one_time_notif_req",
        "Tickets?",
        '{"topic":"tickets","ref":"late"}',
    )
    assert (said["title"], said["payload"]) == (None, None)


def test_taps_tell_which_card_gave_which_token(sandbox, caller, receiver, psid):
    control = sandbox.control
    mids = [caller.send({"id": psid}, card(name, name)).json()["message_id"] for name in ("one", "two")]
    tokens = [control.tap(caller.page_id, psid), control.tap(caller.page_id, psid, mid=mids[0])]
    control.flush()
    assert [(row["mid"], row["title"], row["token"]) for row in control.taps(caller.page_id, psid)] == [
        (mids[1], "two", tokens[0]),
        (mids[0], "one", tokens[1]),
    ]
    told = [event["optin"] for event in receiver.of("optin")]
    assert {optin["payload"]: optin["one_time_notif_token"] for optin in told} == {"two": tokens[0], "one": tokens[1]}
    with pytest.raises(SandboxError):
        control.tap(caller.page_id, psid, mid="m_other")


def test_a_tap_may_be_lost_on_its_way(sandbox, caller, receiver, psid):
    caller.send({"id": psid}, card())
    token = sandbox.control.tap(caller.page_id, psid, webhook=False)
    sandbox.control.flush()
    assert receiver.of("optin") == []
    assert caller.spend(token).status_code == 200


def test_who_is_asked_and_does_not_answer_gives_nothing(sandbox, caller, receiver, psid):
    assert caller.send({"id": psid}, card()).status_code == 200
    sandbox.control.flush()
    assert receiver.of("optin") == []
    assert list(sandbox.control.taps()) == []


# --- links


def test_a_link_into_an_open_thread_is_a_referral_and_opens_the_window(sandbox, caller, receiver, page):
    [psid] = sandbox.control.people(page)
    assert sandbox.control.referral(page, psid, "spring") is None
    sandbox.control.flush()
    [event] = receiver.of("referral")
    assert event["referral"] == {"ref": "spring", "source": "SHORTLINK", "type": "OPEN_THREAD"}
    assert event["sender"] == {"id": psid}
    assert caller.send({"id": psid}, card()).status_code == 200


def test_get_started_through_a_link_is_a_postback_with_the_referral(sandbox, receiver, page, psid):
    mid = sandbox.control.referral(page, psid, "spring", source="ADS", get_started="GET_STARTED")
    sandbox.control.flush()
    [event] = receiver.of("postback")
    assert event["postback"] == {
        "mid": mid,
        "title": "Get Started",
        "payload": "GET_STARTED",
        "referral": {"ref": "spring", "source": "ADS", "type": "OPEN_THREAD"},
    }


# --- profiles


def test_profiles_can_change_and_answer_each_documented_error(sandbox, caller, psid, error_of):
    shapes = {"phone": (100, 2018218), "forbidden": (100, 2018247)}
    for kind, key in shapes.items():
        assert sandbox.control.profiles(caller.page_id, kind, [psid]) == 1
        assert error_of(profile(caller, psid)) == key
    sandbox.control.profiles(caller.page_id, {"error_code": 2018218})
    assert error_of(profile(caller, psid)) == (2018218, None)
    sandbox.control.profiles(caller.page_id, "empty")
    assert profile(caller, psid).json() == {}
    sandbox.control.profiles(caller.page_id, "odd")
    assert profile(caller, psid).json() == {"first_name": 7, "locale": -1, "timezone": "GMT+2", "id": psid}
    sandbox.control.profiles(caller.page_id, {"first_name": "Ann"})
    assert profile(caller, psid).json() == {"first_name": "Ann", "id": psid}


def test_a_batch_of_profiles_counts_and_goes_wrong_item_by_item(sandbox, caller, page):
    control = sandbox.control
    psids = control.people(page, 5, profiles={"first_name": "Ann"})
    for place, kind in enumerate(["server_error", "drop", "html", "garbage"]):
        control.faults(next=[{"kind": kind, "call": "profile", "psid": psids[place]}])
    control.clear_pace()
    items = [{"method": "GET", "relative_url": f"{psid}?fields=first_name"} for psid in psids]
    answers = caller.batch(items, include_headers="false").json()
    assert [answer and answer["code"] for answer in answers] == [500, None, 502, 200, 200]
    assert json.loads(answers[4]["body"]) == {"first_name": "Ann", "id": psids[4]}
    assert control.pace()[page]["calls"] == 5


def test_profiles_share_the_limits_of_the_page(sandbox, caller, page, error_of):
    psids = sandbox.control.people(page, 3, profiles="plain")
    sandbox.control.page(page, per_second=2)
    keys = [
        answer["code"] for answer in caller.batch([{"method": "GET", "relative_url": psid} for psid in psids]).json()
    ]
    assert keys == [200, 200, 400]
    sandbox.control.page(page, per_second=None)
    sandbox.control.faults(next=[{"kind": "throttle", "call": "profile", "code": 80006, "minutes": 7, "seconds": 60}])
    assert error_of(profile(caller, psids[0])) == (80006, None)
    assert error_of(caller.send({"id": psids[0]})) == (80006, None)


def test_faults_of_messages_leave_profiles_alone(sandbox, caller, psid):
    sandbox.control.faults(mix={"error": 1.0}, next=[{"kind": "drop"}])
    assert profile(caller, psid).status_code == 200
    assert sandbox.control.faults()["next"][0]["count"] == 1


# --- ids of a person of Facebook Login


def test_app_scoped_ids_are_matched_per_page(sandbox, caller, psid, error_of):
    other = sandbox.control.page(name="Other")["page_id"]
    [elsewhere] = sandbox.control.people(other)
    sandbox.control.app_scoped("4711", [psid, elsewhere])
    url = f"{caller.url}/v26.0/4711/ids_for_pages"
    query = {"access_token": caller.page["access_token"]}
    both = caller.session.get(url, params=query, timeout=30).json()["data"]
    assert [(row["id"], row["page"]["id"]) for row in both] == [(psid, caller.page_id), (elsewhere, other)]
    mine = caller.session.get(url, params={**query, "page": caller.page_id}, timeout=30).json()["data"]
    assert [row["id"] for row in mine] == [psid]
    unknown = caller.session.get(url.replace("4711", "4712"), params=query, timeout=30)
    assert error_of(unknown) == (100, 33)
    with pytest.raises(SandboxError):
        sandbox.control.app_scoped("4711", ["404"])


# --- deletion


def test_a_deletion_request_is_a_form_and_may_be_forged(sandbox, receiver, page):
    url = receiver.url.replace("/webhook", "/data-deletion")
    sandbox.control.data_deletion(page, url, "4711")
    forged = signed_request(deletion_payload("4711"), "another secret")
    receiver.answers = [403]
    assert sandbox.control.data_deletion(page, url, "", signed_request=forged) == {"status": 403, "body": ""}
    right, wrong = receiver.posts
    assert right.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert list(parse_qs(right.raw.decode())) == ["signed_request"]
    assert parse_qs(wrong.raw.decode()) == {"signed_request": [forged]}


# --- what a watch finds


def test_a_lapsed_subscription_is_silent_until_it_is_renewed(sandbox, caller, receiver, page, psid):
    bearer = {"Authorization": f"Bearer {caller.page['access_token']}"}
    edge = f"{caller.url}/v26.0/me/subscribed_apps"
    sandbox.control.page(page, subscribed_fields=[])
    sandbox.control.say(page, psid, "is anybody there?")
    assert sandbox.control.flush()["posts"] == 0
    assert caller.session.get(edge, headers=bearer, timeout=30).json() == {"data": []}
    caller.session.post(edge, headers=bearer, data={"subscribed_fields": "messages"}, timeout=30)
    sandbox.control.say(page, psid, "hello again")
    sandbox.control.flush()
    assert [event["message"]["text"] for event in receiver.of("message")] == ["hello again"]


@pytest.mark.parametrize("status", ["pending", "rejected", "approved", "limited"])
def test_the_state_of_a_feature(sandbox, caller, page, status):
    sandbox.control.page(page, features={"one_time_notification": status})
    query = {"access_token": caller.page["access_token"]}
    url = f"{caller.url}/v26.0/me/messaging_feature_review"
    assert caller.session.get(url, params=query, timeout=30).json() == {
        "data": [{"feature": "one_time_notification", "status": status}]
    }


def test_other_calls_go_wrong_on_demand(sandbox, caller, page, error_of):
    query = {"access_token": caller.page["access_token"]}
    sandbox.control.faults(
        next=[
            {"kind": "server_error", "call": "subscribed_apps"},
            {"kind": "page_dead", "subcode": 463, "call": "messaging_feature_review"},
        ]
    )
    answers = [
        caller.session.get(f"{caller.url}/v26.0/me/{edge}", params=query, timeout=30)
        for edge in ("subscribed_apps", "subscribed_apps", "messaging_feature_review", "subscribed_apps")
    ]
    assert [answer.status_code for answer in answers] == [500, 200, 400, 400]
    assert [error_of(answer) for answer in answers[2:]] == [(190, 463)] * 2


def test_the_page_is_blocked_and_unblocked_by_policy(sandbox, caller, receiver, page, psid, error_of):
    def enforce(action: str, **more: str) -> None:
        sandbox.control.policy(page, action, **more)
        sandbox.control.flush()  # webhooks on several connections may overtake each other

    enforce("warning", reason="slow down")
    assert caller.send({"id": psid}).status_code == 200
    enforce("block")
    assert error_of(caller.send({"id": psid})) == (10, 1893063)
    enforce("unblock")
    assert caller.send({"id": psid}).status_code == 200
    told = [event["policy_enforcement"] for event in receiver.of("policy_enforcement")]
    assert [event["action"] for event in told] == ["warning", "block", "unblock"]
    assert told[0]["reason"] == "slow down"


def test_a_person_goes_away_between_two_calls(sandbox, caller, psid, error_of):
    sandbox.control.faults(next=[{"kind": "blocked", "psid": psid, "skip": 1, "family": "551/1545041"}])
    assert caller.send({"id": psid}, card()).status_code == 200
    assert [error_of(caller.send({"id": psid})) for _ in range(2)] == [(551, 1545041)] * 2
    sandbox.control.unblock(caller.page_id, [psid])
    assert caller.send({"id": psid}).status_code == 200


def test_taps_profiles_and_matches_survive_a_restart(tmp_path):
    with process.start(journal=tmp_path / "j") as first:
        control = first.control
        page = control.page()["page_id"]
        [psid] = control.people(page, profiles="plain", window=True)
        control.call("POST", "profiles", {"page_id": page, "profiles": {"first_name": "Ann"}})
        control.app_scoped("4711", [psid])
        token = control.page(page)["access_token"]
        send(first.url, token, psid)
        control.tap(page, psid)
        before = [list(control.taps()), list(control.persons())]
        first.kill()
    with process.start(journal=tmp_path / "j") as second:
        assert [list(second.control.taps()), list(second.control.persons())] == before
        assert second.control.tap(page, psid)


def send(url, token, psid):
    body = {"recipient": {"id": psid}, "message": card()}
    requests.post(f"{url}/v26.0/me/messages", json=body, params={"access_token": token}, timeout=30).raise_for_status()
