"""The batch endpoint (Meta docs, Batch requests)."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest


def item(token, text="hello", **more):
    body = {"recipient": json.dumps({"one_time_notif_token": token}), "message": json.dumps({"text": text}), **more}
    return {"method": "POST", "relative_url": "me/messages", "body": urlencode(body)}


def test_items_are_answered_in_order_each_for_itself(caller, sandbox, tokens):
    texts = ["é/ñ", "\U0001f600", "a&b=c+d%", "{'single'}"]
    items = [item(row["token"], text) for row, text in zip(tokens, texts, strict=False)]
    items.insert(1, item("garbage"))
    answers = caller.batch(items).json()
    assert [answer["code"] for answer in answers] == [200, 400, 200, 200, 200]
    bodies = [json.loads(answer["body"]) for answer in answers]
    assert bodies[1]["error"]["code"] == 100
    assert [body["recipient_id"] for body in bodies if "error" not in body] == [row["psid"] for row in tokens[:4]]
    assert [row["text"] for row in sandbox.control.ledger()] == texts
    assert {"name": "Content-Type", "value": "text/javascript; charset=UTF-8"} in answers[0]["headers"]


@pytest.mark.parametrize("path", ["/", "/v26.0/", "/v26.0", "/me", "/v25.0/{page_id}"])
def test_batch_is_taken_at_each_root(caller, tokens, path):
    answer = caller.post(path.format(page_id=caller.page_id), json={"batch": [item(tokens[0]["token"])]})
    assert [part["code"] for part in answer.json()] == [200]


def test_headers_are_left_out_on_demand(caller, tokens):
    [part] = caller.batch([item(tokens[0]["token"])], include_headers="false").json()
    assert set(part) == {"code", "body"}


def test_the_same_token_twice_in_one_batch_is_seen_once(caller, sandbox, tokens):
    codes = [part["code"] for part in caller.batch([item(tokens[0]["token"])] * 3).json()]
    assert codes == [200, 400, 400]
    assert sandbox.control.summary()["messages"] == 1


def test_item_may_bring_its_own_access_token(caller, sandbox, tokens):
    other = sandbox.control.page()
    sandbox.control.people(other["page_id"])
    [foreign] = sandbox.control.optins(other["page_id"], "x", list_tokens=True)["rows"]
    items = [
        item(foreign["token"], access_token=other["access_token"]),
        item(tokens[0]["token"]),
        item(foreign["token"]),
    ]
    assert [part["code"] for part in caller.batch(items).json()] == [200, 200, 400]


def test_more_than_50_items_fail_as_a_whole(caller, sandbox, tokens, error_of):
    answer = caller.batch([item(tokens[0]["token"])] * 51)
    assert answer.status_code == 400
    assert "Maximum batch size is 50" in answer.json()["error"]["message"]
    assert sandbox.control.summary()["calls"] == 0


def test_batch_needs_a_valid_access_token_of_its_own(caller, sandbox, tokens, error_of):
    items = [item(tokens[0]["token"], access_token=caller.page["access_token"])]
    answer = caller.post("/", headers={}, json={"batch": items})
    assert (answer.status_code, error_of(answer)) == (400, (190, None))
    assert sandbox.control.summary()["messages"] == 0


@pytest.mark.parametrize("batch", ["", "[", "{}", "[]", "7", "null"])
def test_what_is_no_batch_is_refused(caller, batch):
    answer = caller.post("/", data={"batch": batch})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == 100


@pytest.mark.parametrize(
    "odd",
    [
        None,
        7,
        {},
        {"method": "POST"},
        {"method": "POST", "relative_url": "me/messages", "body": {"recipient": {}}},
        {"method": "POST", "relative_url": "me/messages", "name": "first"},
        {"method": "DELETE", "relative_url": "me/messages"},
    ],
)
def test_odd_item_harms_no_other(caller, tokens, odd):
    first, second = caller.batch([odd, item(tokens[0]["token"])]).json()
    assert (first["code"], second["code"]) == (400, 200)


def test_profiles_are_read_by_batch(caller, tokens):
    items = [{"method": "GET", "relative_url": f"{row['psid']}?fields=first_name"} for row in tokens]
    answers = caller.batch(items).json()
    assert [json.loads(answer["body"])["id"] for answer in answers] == [row["psid"] for row in tokens]


def test_null_items_before_and_after_their_effect(caller, sandbox, tokens):
    before, after = tokens[1]["token"], tokens[3]["token"]
    sandbox.control.faults(next=[{"kind": "drop", "token": before}, {"kind": "drop_after", "token": after}])
    answers = caller.batch([item(row["token"]) for row in tokens]).json()
    assert [answer is None for answer in answers] == [False, True, False, True, False, False]
    seen = {row["token"] for row in sandbox.control.ledger()}
    assert before not in seen
    assert after in seen
    again = caller.batch([item(before), item(after)]).json()
    assert [part["code"] for part in again] == [200, 400]
