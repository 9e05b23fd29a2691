"""The client against the sandbox, written apart from it: what the client believes is what people saw."""

from __future__ import annotations

import pytest

from otn.messenger.client import MessengerClient, PageCredentials, SendRequest
from otn.messenger.errors import MessengerError, Outcome, TokenFate
from otn.messenger.messages import message_text, one_time_request
from sandbox import process


@pytest.fixture(scope="module")
def sandbox():
    with process.start(seed=7) as running:
        yield running


@pytest.fixture
def page(sandbox):
    sandbox.control.reset()
    return sandbox.control.page(require_appsecret_proof=True)


@pytest.fixture
def client(sandbox, page):
    credentials = PageCredentials(sandbox.url, page["page_id"], page["access_token"], page["app_secret"])
    with MessengerClient(credentials) as client:
        yield client


def tokens_of(sandbox, page, people):
    psids = sandbox.control.people(page["page_id"], people)
    sandbox.control.optins(page["page_id"], "topic", psids=psids, webhook=False)
    return [(row["psid"], row["token"]) for row in sandbox.control.tokens(page["page_id"])]


def to(token):
    return SendRequest(
        {"one_time_notif_token": token}, {**message_text("Grüße 😀 & more"), "metadata": f"m-{token[:9]}"}
    )


def test_a_token_is_spent_once(sandbox, page, client):
    ((psid, token),) = tokens_of(sandbox, page, 1)
    first, second = client.send(to(token)), client.send(to(token))
    assert (first.outcome, first.recipient_id) == (Outcome.SENT, psid)
    assert second.outcome is Outcome.REFUSED
    assert second.verdict.token_fate in {TokenFate.USED, TokenFate.UNDISTINGUISHED}
    (seen,) = sandbox.control.ledger(page["page_id"])
    assert (seen["mid"], seen["text"], seen["token"]) == (first.message_id, "Grüße 😀 & more", token)


def test_a_batch_of_fifty_with_faults_is_told_apart(sandbox, page, client):
    rows = tokens_of(sandbox, page, 50)
    sandbox.control.block(page["page_id"], [rows[1][0]])
    sandbox.control.expire([rows[2][1]])
    for place, kind in {3: "drop", 4: "drop_after", 5: "sent_but_error", 6: "html_after", 7: "garbage_after"}.items():
        sandbox.control.faults(next=[{"kind": kind, "token": rows[place][1]}])
    results = client.send_batch([to(token) for _, token in rows])
    outcomes = [result.outcome for result in results]
    assert outcomes[1:8] == [Outcome.REFUSED] * 2 + [Outcome.UNKNOWN] * 5
    assert outcomes[:1] + outcomes[8:] == [Outcome.SENT] * 43
    seen = {row["token"]: row["mid"] for row in sandbox.control.ledger(page["page_id"])}
    for (_, token), result in zip(rows, results, strict=True):
        if result.outcome is Outcome.SENT:
            assert seen[token] == result.message_id
        if result.outcome is Outcome.REFUSED:
            assert token not in seen
    assert [token in seen for _, token in rows[3:8]] == [False, True, True, True, True]


def test_the_wait_of_a_throttle_is_the_platforms(sandbox, page, client):
    (_, token), _ = tokens_of(sandbox, page, 2)
    sandbox.control.faults(next=[{"kind": "throttle", "code": 80006, "minutes": 7, "seconds": 60}])
    result = client.send(to(token))
    assert (result.outcome, result.wait_s) == (Outcome.THROTTLED, 7 * 60)
    assert list(sandbox.control.ledger(page["page_id"])) == []


def test_a_dead_page_token_halts_singly_and_in_batch(sandbox, page, client):
    rows = tokens_of(sandbox, page, 2)
    sandbox.control.page(page["page_id"], dead=463)
    results = [client.send(to(rows[0][1])), *client.send_batch([to(token) for _, token in rows])]
    assert [result.outcome for result in results] == [Outcome.PAGE_HALTED] * 3
    assert list(sandbox.control.ledger(page["page_id"])) == []


def test_asking_is_for_people_inside_the_window(sandbox, page, client):
    (psid,) = sandbox.control.people(page["page_id"], 1)
    ask = SendRequest({"id": psid}, one_time_request("News", "topic"), "RESPONSE")
    sandbox.control.window(page["page_id"], [psid], hours=0)
    assert client.send(ask).error.key == "10/2018278"
    sandbox.control.window(page["page_id"], [psid])
    assert client.send(ask).outcome is Outcome.SENT
    assert sandbox.control.tap(page["page_id"], psid)


def test_the_other_calls(sandbox, page, client, tmp_path):
    (psid,) = sandbox.control.people(page["page_id"], 1, profiles={"first_name": "Ann", "last_name": "B"})
    assert client.profile(psid, ["first_name"])["first_name"] == "Ann"
    client.subscribe(["messages", "messaging_optins"])
    (app,) = client.subscribed_apps()
    assert set(app["subscribed_fields"]) == {"messages", "messaging_optins"}
    assert isinstance(client.feature_review(), list)
    assert client.upload_attachment("image", "https://example.com/a.png")
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    attachment_id = client.upload_attachment("image", path=tmp_path / "a.png")
    message = {"attachment": {"type": "image", "payload": {"attachment_id": attachment_id}}}
    sandbox.control.window(page["page_id"], [psid])
    assert client.send(SendRequest({"id": psid}, message, "RESPONSE")).outcome is Outcome.SENT


def test_a_wrong_proof_halts_the_page_and_not_the_person(sandbox, page):
    (_, token), _ = tokens_of(sandbox, page, 2)
    for secret in (None, "wrong"):
        credentials = PageCredentials(sandbox.url, page["page_id"], page["access_token"], secret)
        with MessengerClient(credentials) as client:
            assert client.send(to(token)).outcome is Outcome.PAGE_HALTED
            with pytest.raises(MessengerError, match="app secret does not fit"):
                client.subscribed_apps()


def test_sends_to_people_by_id_singly_and_in_batch(sandbox, page, client):
    control, page_id = sandbox.control, page["page_id"]
    open_, closed, gone = control.people(page_id, 3)
    control.window(page_id, [open_, gone])
    control.block(page_id, [gone], family="200/1545041")
    card = one_time_request("News", "topic")
    asked = [SendRequest({"id": psid}, {**card, "metadata": psid[:3]}, "RESPONSE") for psid in (open_, closed, gone)]
    singly, batch = [client.send(request) for request in asked], client.send_batch(asked)
    for sent, outside, away in (singly, batch):
        assert (sent.outcome, sent.recipient_id) == (Outcome.SENT, open_)
        assert (outside.outcome, outside.verdict.window_closed) == (Outcome.REFUSED, True)
        assert (away.outcome, away.verdict.unreachable, away.verdict.window_closed) == (Outcome.REFUSED, True, False)
    assert [row["mid"] for row in control.ledger(page_id)] == [singly[0].message_id, batch[0].message_id]
