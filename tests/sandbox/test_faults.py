"""Faults by mix and on demand: what the caller sees, and what truly happened."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest
import requests

from sandbox import process


@pytest.mark.parametrize(
    ("fault", "status", "error", "sent"),
    [
        ({"kind": "error", "code": 1200, "status": 400, "is_transient": True}, 400, (1200, None), False),
        ({"kind": "error", "code": 10, "subcode": 2018336}, 400, (10, 2018336), False),
        ({"kind": "error_after", "code": 1200}, 400, (1200, None), True),
        ({"kind": "server_error"}, 500, (2, None), False),
        ({"kind": "server_error_after"}, 500, (2, None), True),
        ({"kind": "sent_but_error"}, 500, (1, 1357046), True),
        ({"kind": "ok_error", "code": 551}, 200, (551, None), False),
        ({"kind": "unreachable", "family": "551/1893047"}, 400, (551, 1893047), False),
        ({"kind": "page_halted"}, 400, (368, None), False),
        ({"kind": "page_restricted"}, 403, (10, 1893063), False),
        ({"kind": "page_dead", "subcode": 463}, 400, (190, 463), False),
        ({"kind": "throttle"}, 400, (613, None), False),
        ({"kind": "delay", "delay_ms": 1}, 200, None, True),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else None,
)
def test_fault_on_demand(caller, sandbox, tokens, error_of, fault, status, error, sent):
    control = sandbox.control
    control.faults(next=[{**fault, "token": tokens[1]["token"]}])
    assert caller.spend(tokens[0]["token"]).status_code == 200
    answer = caller.spend(tokens[1]["token"])
    assert answer.status_code == status
    assert error is None or error_of(answer) == error
    row = list(control.calls())[1]
    assert (row["effect"], row["fault"], row["answer"]["status"]) == (sent, fault["kind"], status)
    assert (row["answer"]["code"], row["answer"]["subcode"]) == (error or (None, None))
    assert control.summary()["messages"] == 1 + sent


@pytest.mark.parametrize(("kind", "sent"), [("drop", False), ("drop_after", True)])
def test_single_call_is_cut_without_an_answer(caller, sandbox, tokens, kind, sent):
    sandbox.control.faults(next=[{"kind": kind}])
    with pytest.raises(requests.ConnectionError):
        caller.spend(tokens[0]["token"])
    [row] = sandbox.control.calls()
    assert (row["effect"], row["answer"]["given"]) == (sent, False)
    assert caller.spend(tokens[0]["token"]).status_code == (400 if sent else 200)


@pytest.mark.parametrize(("kind", "sent"), [("html", 0), ("html_after", 1), ("garbage", 0), ("garbage_after", 1)])
def test_answer_that_is_no_json(caller, sandbox, tokens, kind, sent):
    sandbox.control.faults(next=[{"kind": kind}])
    answer = caller.spend(tokens[0]["token"])
    assert answer.status_code == (502 if kind.startswith("html") else 200)
    with pytest.raises(requests.JSONDecodeError):
        answer.json()
    assert sandbox.control.summary()["messages"] == sent


@pytest.mark.parametrize(("kind", "seen"), [("batch_cut", 2), ("batch_cut_after", 3)])
def test_whole_batch_is_cut_at_an_item(caller, sandbox, tokens, kind, seen):
    sandbox.control.faults(next=[{"kind": kind, "skip": 2}])
    items = [
        {
            "method": "POST",
            "relative_url": "me/messages",
            "body": urlencode(
                {"recipient": json.dumps({"one_time_notif_token": row["token"]}), "message": '{"text":"x"}'}
            ),
        }
        for row in tokens
    ]
    with pytest.raises(requests.ConnectionError):
        caller.batch(items)
    assert [row["token"] for row in sandbox.control.ledger()] == [row["token"] for row in tokens[:seen]]


def test_delayed_answer_comes_after_the_effect(caller, sandbox, tokens):
    sandbox.control.faults(next=[{"kind": "delay", "delay_ms": 60_000}])
    headers = {"Authorization": f"Bearer {caller.page['access_token']}"}
    body = {"recipient": {"one_time_notif_token": tokens[0]["token"]}, "message": {"text": "x"}}
    with pytest.raises(requests.ReadTimeout):
        requests.post(f"{caller.url}/me/messages", headers=headers, json=body, timeout=(5, 0.5))
    assert sandbox.control.summary()["messages"] == 1


def test_fault_matches_person_page_and_count(caller, sandbox, tokens):
    control = sandbox.control
    control.faults(
        next=[
            {"kind": "server_error", "psid": tokens[0]["psid"], "count": 2},
            {"kind": "server_error", "page_id": "1"},
        ]
    )
    codes = [caller.spend(row["token"]).status_code for row in (tokens[1], tokens[0], tokens[0], tokens[0])]
    assert codes == [200, 500, 500, 200]
    assert [fault["page_id"] for fault in control.faults()["next"]] == ["1"]
    assert control.faults()["struck"] == {"server_error": 2}


def test_token_refused_under_an_after_fault_is_still_refused(caller, sandbox, tokens):
    caller.spend(tokens[0]["token"])
    sandbox.control.faults(next=[{"kind": "sent_but_error"}])
    assert caller.spend(tokens[0]["token"]).json()["error"]["code"] == 100


@pytest.mark.parametrize(
    "wrong",
    [
        {"mix": {"gremlins": 0.5}},
        {"mix": {"drop": 0.6, "html": 0.6}},
        {"mix": {"drop": -1}},
        {"mix": "half"},
        {"next": [{"kind": "gremlins"}]},
        {"next": [{"kind": "unreachable", "family": "552"}]},
    ],
)
def test_wrong_faults_are_refused(sandbox, wrong):
    with pytest.raises(Exception, match=r"unknown|probabilities|mix|negative"):
        sandbox.control.faults(**wrong)


def test_mix_repeats_with_the_seed_whatever_the_order():
    runs = []
    for order in (1, -1):
        with process.start(seed=11) as handle:
            control = handle.control
            page = control.page()
            control.people(page["page_id"], 200)
            rows = control.optins(page["page_id"], "x", list_tokens=True)["rows"]
            control.faults(mix={"server_error": 0.2, "sent_but_error": 0.2, "unreachable": 0.2})
            headers = {"Authorization": f"Bearer {page['access_token']}"}
            with requests.Session() as session:
                for row in rows[::order]:
                    body = {"recipient": {"one_time_notif_token": row["token"]}, "message": {"text": "x"}}
                    session.post(f"{handle.url}/me/messages", headers=headers, json=body, timeout=30)
            runs.append({row["token"]: (row["fault"], row["answer"]["code"]) for row in control.calls()})
    assert runs[0] == runs[1]
    kinds = {fault for fault, _ in runs[0].values()}
    assert kinds == {None, "server_error", "sent_but_error", "unreachable"}


def test_full_mix_never_shows_a_message_twice(caller, sandbox):
    control = sandbox.control
    control.people(caller.page_id, 300)
    rows = control.optins(caller.page_id, "x", list_tokens=True)["rows"]
    control.faults(mix="full")
    for row in rows:
        for _ in range(3):
            try:
                answer = caller.spend(row["token"])
            except requests.ConnectionError:
                continue
            if answer.status_code == 400:
                break
    summary = control.summary()
    assert summary["most_per_token"] == 1
    assert summary["messages"] == len(list(control.ledger())) <= 300
    assert summary["faults"]
