from __future__ import annotations

import json
import math
import socket

import pytest

from otn.messenger.client import BATCH_LIMIT, MessengerClient, PageCredentials, ProfileOutcome
from otn.messenger.errors import MessengerError, Outcome
from otn.messenger.profiles import usable_fields
from sandbox import process
from tests.messenger.platform import PAGE, TOKEN, http

FIELDS = ("first_name", "locale", "timezone")
FOUND, REFUSED, LATER = ProfileOutcome.FOUND, ProfileOutcome.REFUSED, ProfileOutcome.TRANSIENT
HALTED, THROTTLED = ProfileOutcome.PAGE_HALTED, ProfileOutcome.THROTTLED


def item(code, body):
    return {"code": code, "body": body if isinstance(body, str) else json.dumps(body)}


def error(code, subcode=None, message="x", **more):
    stated = {"code": code, "message": message, **more}
    return {"error": stated if subcode is None else {**stated, "error_subcode": subcode}}


def asked(client, platform, answers, psids=None):
    platform.says(http(200, answers))
    return client.profiles(psids or [str(number) for number in range(1, len(answers) + 1)], FIELDS)


# --- on the wire


def test_profiles_are_one_batch_and_no_address_names_a_person(platform, client):
    found = [item(200, {"first_name": "Ann", "id": "1"}), item(200, {"first_name": "Ben", "id": "2"})]
    results = asked(client, platform, found)
    assert [(result.psid, result.outcome, result.fields) for result in results] == [
        ("1", FOUND, {"first_name": "Ann"}),
        ("2", FOUND, {"first_name": "Ben"}),
    ]
    (request,) = platform.received
    assert (request.method, request.target) == ("POST", "/v25.0/")
    assert json.loads(request.form["batch"]) == [
        {"method": "GET", "relative_url": f"{psid}?fields=first_name%2Clocale%2Ctimezone"} for psid in ("1", "2")
    ]
    assert request.form["access_token"] == TOKEN
    assert "1" not in repr(results[0]).replace("ProfileOutcome", "")


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (item(200, {}), FOUND),
        (item(200, {"id": "1"}), FOUND),
        (None, LATER),
        ("x", LATER),
        ({"code": 200}, LATER),
        ({"code": "x", "body": "{}"}, LATER),
        (item(200, "no json"), LATER),
        (item(200, []), LATER),
        (item(200, {"first_name": "Eve", "id": "666"}), LATER),
        (item(302, {}), LATER),
        (item(500, "<html>"), LATER),
        (item(500, error(2)), LATER),
        (item(400, error(2)), LATER),
        (item(400, error(1, 99)), LATER),
        (item(200, error(2018218)), REFUSED),
        (item(400, error(2018218)), REFUSED),
        (item(400, error(100, 2018218)), REFUSED),
        (item(400, error(100, 2018247)), REFUSED),
        (item(400, error(10, 2018247)), REFUSED),
        (item(400, error(100, 2018001)), REFUSED),
        (item(400, error(100, 33)), REFUSED),
        (item(400, error(100, None, "(#100) Tried accessing nonexisting field (x)")), HALTED),
        (item(400, error(190, 463)), HALTED),
        (item(403, error(10)), HALTED),
        (item(400, error(613)), THROTTLED),
        (item(400, error(80006)), THROTTLED),
    ],
)
def test_each_answer_to_one_profile(platform, client, answer, outcome):
    other = item(200, {"first_name": "Ann", "id": "2"})
    first, second = asked(client, platform, [answer, other])
    assert (first.psid, first.outcome) == ("1", outcome)
    assert first.fields == ({} if outcome is FOUND else None)
    assert (first.wait_s is not None) is (outcome in {LATER, THROTTLED})
    assert (second.outcome, second.fields) == (FOUND, {"first_name": "Ann"})


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (http(400, error(190, 463)), HALTED),
        (http(400, error(100)), HALTED),
        (http(400, error(551)), HALTED),
        (http(400, error(4)), THROTTLED),
        (http(500, error(2)), LATER),
        (http(500, ""), LATER),
        (http(200, "<html>"), LATER),
        (http(200, {}), LATER),
        (http(200, []), LATER),
        (http(200, [item(200, {})] * 3), LATER),
    ],
)
def test_an_answer_to_the_whole_batch_holds_for_each(platform, client, answer, outcome):
    platform.says(answer)
    results = client.profiles(["1", "2"], FIELDS)
    assert [(result.psid, result.outcome) for result in results] == [("1", outcome), ("2", outcome)]


def test_no_answer_is_asked_again_later(platform, connect):
    platform.script = lambda _request, sock: sock.shutdown(socket.SHUT_RDWR)
    (result,) = connect(platform.url).profiles(["1"], FIELDS)
    assert (result.outcome, result.reason) == (LATER, "connection_cut")


def test_the_wait_of_a_throttle_is_the_platforms(platform, client):
    usage = {PAGE: [{"type": "messenger", "call_count": 100, "estimated_time_to_regain_access": 7}]}
    header = {"X-Business-Use-Case-Usage": json.dumps(usage)}
    platform.says(http(200, [item(400, error(613))], headers=header))
    (result,) = client.profiles(["1"], FIELDS)
    assert (result.outcome, result.wait_s) == (THROTTLED, 7 * 60)


def test_a_quoted_id_does_not_reach_the_result(platform, client):
    (result,) = asked(
        client, platform, [item(400, error(100, 33, "Object '28777805391819468'"))], ["28777805391819468"]
    )
    assert "28777805391819468" not in repr(result)
    assert "28777805391819468" not in result.error.message


def test_what_is_no_id_is_not_asked_for_and_spoils_no_one(platform, client):
    platform.says(http(200, [item(200, {"first_name": "Ann"})]))
    results = client.profiles(["", "../me", "1", "1?x", "ä"], FIELDS)
    assert [result.outcome for result in results] == [REFUSED, REFUSED, FOUND, REFUSED, REFUSED]
    assert [result.psid for result in results] == ["", "../me", "1", "1?x", "ä"]
    assert len(json.loads(platform.received[0].form["batch"])) == 1
    assert client.profiles([], FIELDS) == []
    assert [result.reason for result in client.profiles(["?"], FIELDS)] == ["not_an_id"]
    assert len(platform.received) == 1


def test_misuse_is_an_error_of_the_caller(platform, client):
    with pytest.raises(ValueError, match="at most 50"):
        client.profiles(["1"] * (BATCH_LIMIT + 1), FIELDS)
    for fields in ([], ["first_name,id"], ["a&b"], [""]):
        with pytest.raises(ValueError, match="Fields of a profile"):
            client.profiles(["1"], fields)
    assert platform.received == []


# --- fields


@pytest.mark.parametrize(
    ("name", "value", "usable"),
    [
        ("first_name", "Ann", "Ann"),
        ("first_name", "  Ann\n", "Ann"),
        ("first_name", "a\0b", "a\ufffdb"),
        ("first_name", "\ud800", "\ufffd"),
        ("first_name", "n" * 5000, "n" * 1000),
        ("first_name", "", None),
        ("first_name", " ", None),
        ("first_name", None, None),
        ("first_name", 7, None),
        ("first_name", ["x"], None),
        ("locale", "en_US", "en_US"),
        ("locale", "zh_Hans_CN", "zh_Hans_CN"),
        ("locale", "es_419", "es_419"),
        ("locale", "en-US; DROP", None),
        ("locale", 1033, None),
        ("timezone", -7, -7),
        ("timezone", 5.75, 5.75),
        ("timezone", 0, 0),
        ("timezone", 14, 14),
        ("timezone", 15, None),
        ("timezone", "5.5", None),
        ("timezone", True, None),
        ("timezone", math.inf, None),
        ("timezone", math.nan, None),
    ],
)
def test_fields_are_of_their_kind_or_absent(name, value, usable):
    assert usable_fields({name: value, "other": "x"}, [name]) == ({} if usable is None else {name: usable})


# --- ids of a person of Facebook Login


def rows(*pairs):
    return {"data": [{"id": psid, "page": {"name": "A", "id": page}} for psid, page in pairs]}


def test_page_scoped_ids_of_our_page_only(platform, client):
    platform.says(http(200, rows(("11", PAGE), ("22", "999"), (33, PAGE), ("11", PAGE))))
    assert client.page_scoped_ids("4711") == ["11", "33"]
    request = platform.received[0]
    assert (request.path, request.query) == ("/v25.0/4711/ids_for_pages", {"page": PAGE})


@pytest.mark.parametrize("answer", [http(200, rows()), http(400, error(100, 2018001))])
def test_an_app_scoped_id_may_be_nobodys(platform, client, answer):
    platform.says(answer)
    assert client.page_scoped_ids("4711") == []


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (http(400, error(100, 33, "Object with ID '4711'")), Outcome.REFUSED),
        (http(400, error(190)), Outcome.PAGE_HALTED),
        (http(400, error(613)), Outcome.THROTTLED),
        (http(500, error(2)), Outcome.UNKNOWN),
        (http(200, "<html>"), Outcome.UNKNOWN),
        (http(200, {}), Outcome.UNKNOWN),
        (http(200, {"data": [{"id": "11"}]}), Outcome.UNKNOWN),
        (http(200, {"data": [{"page": {"id": PAGE}}]}), Outcome.UNKNOWN),
        (http(200, {"data": [{"id": ["11"], "page": {"id": PAGE}}]}), Outcome.UNKNOWN),
    ],
)
def test_a_refusal_is_not_taken_for_nobody(platform, client, answer, outcome):
    platform.says(answer)
    with pytest.raises(MessengerError) as caught:
        client.page_scoped_ids("4711")
    assert caught.value.outcome is outcome
    assert "4711" not in str(caught.value)


def test_an_app_scoped_id_cannot_leave_its_place_in_the_address(platform, client):
    with pytest.raises(MessengerError, match="not an id"):
        client.page_scoped_ids("1/../me")
    assert platform.received == []


# --- against the sandbox, written apart from it


@pytest.fixture(scope="module")
def sandbox():
    with process.start(seed=9) as running:
        yield running


def test_profiles_of_all_kinds_in_one_call(sandbox):
    control = sandbox.control
    page = control.page(require_appsecret_proof=True)
    kinds = ["plain", "empty", "phone", "forbidden", "odd", {"error_code": 2018218}, "hostile", "plain", "plain"]
    psids = [control.people(page["page_id"], profiles=kind)[0] for kind in kinds]
    control.faults(next=[{"kind": "server_error", "call": "profile", "psid": psids[7]}])
    control.faults(next=[{"kind": "drop", "call": "profile", "psid": psids[8]}])
    credentials = PageCredentials(sandbox.url, page["page_id"], page["access_token"], page["app_secret"])
    with MessengerClient(credentials) as client:
        results = client.profiles([*psids, "404"], FIELDS)
        again = client.profiles(psids[7:], FIELDS)
        control.app_scoped("4711", [psids[0], control.people(control.page()["page_id"])[0]])
        assert client.page_scoped_ids("4711") == [psids[0]]
        with pytest.raises(MessengerError):
            client.page_scoped_ids("4712")
    assert [result.outcome for result in results] == [
        FOUND, FOUND, REFUSED, REFUSED, FOUND, REFUSED, FOUND, LATER, LATER, REFUSED,
    ]  # fmt: skip
    assert set(results[0].fields) == set(FIELDS)
    assert (results[1].fields, results[4].fields) == ({}, {})
    assert [result.outcome for result in again] == [FOUND, FOUND]
    assert control.pace()[page["page_id"]]["calls"] == len(psids) + 1 + 2
