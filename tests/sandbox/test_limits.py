"""Limits, usage headers and the pace a checker asks for (Meta docs: Rate limiting)."""

from __future__ import annotations

import json

import pytest

from sandbox.limits import Window


@pytest.fixture
def many(sandbox, caller):
    sandbox.control.people(caller.page_id, 60, profiles="empty")
    return [row["token"] for row in sandbox.control.optins(caller.page_id, "x", list_tokens=True)["rows"]]


def send_all(caller, tokens):
    body = 'recipient={{"one_time_notif_token":"{}"}}&message={{"text":"x"}}'
    items = [{"method": "POST", "relative_url": "me/messages", "body": body.format(token)} for token in tokens]
    return caller.batch(items).json()


def test_calls_above_the_limit_are_refused_and_cost_no_token(caller, sandbox, many):
    sandbox.control.page(caller.page_id, per_second=30)
    answers = send_all(caller, many[:50])
    assert [answer["code"] for answer in answers] == [200] * 30 + [400] * 20
    assert json.loads(answers[-1]["body"])["error"]["code"] == 613
    sandbox.control.page(caller.page_id, per_second=None)
    assert [answer["code"] for answer in send_all(caller, many[30:])] == [200] * 30
    pace = sandbox.control.pace()[caller.page_id]
    assert (pace["calls"], pace["accepted"]) == (80, 60)


def test_brake_lets_nothing_pass_until_the_volume_fell(caller, sandbox, many):
    sandbox.control.page(caller.page_id, brake_per_second=40, throttle_code=80006)
    answers = send_all(caller, many[:46])
    assert [answer["code"] for answer in answers] == [200] * 40 + [400] * 6
    assert json.loads(answers[-1]["body"])["error"]["code"] == 80006


def test_daily_quota_is_told_in_percent_and_in_minutes(caller, sandbox, many):
    sandbox.control.page(caller.page_id, daily_quota=4)
    shown = []
    for token in many[:5]:
        answer = caller.spend(token)
        usage = json.loads(answer.headers["X-Business-Use-Case-Usage"])[caller.page_id][0]
        assert usage["type"] == "messenger"
        shown.append((answer.status_code, usage["call_count"], usage["estimated_time_to_regain_access"] > 0))
    assert shown == [(200, 25, False), (200, 50, False), (200, 75, False), (200, 100, False), (400, 100, True)]
    assert caller.spend(many[5]).json()["error"]["code"] == 80006
    assert json.loads(answer.headers["X-App-Usage"])["call_count"] == 100


def test_engaged_quota_is_200_per_person(caller, sandbox, many):
    sandbox.control.page(caller.page_id, daily_quota="engaged")
    usage = json.loads(caller.spend(many[0]).headers["X-Business-Use-Case-Usage"])[caller.page_id][0]
    assert usage["call_count"] == 0  # 1 of 12,000


def test_without_limits_no_usage_is_told_unless_wanted(caller, sandbox, many):
    assert "X-App-Usage" not in caller.spend(many[0]).headers
    sandbox.control.page(caller.page_id, usage_headers=True)
    assert "X-App-Usage" in caller.spend(many[1]).headers
    [part] = send_all(caller, [many[2]])
    assert "X-Business-Use-Case-Usage" in {header["name"] for header in part["headers"]}


def test_throttle_fault_tells_the_time_to_wait(caller, sandbox, many):
    sandbox.control.faults(next=[{"kind": "throttle", "code": 80006, "minutes": 7, "seconds": 60}])
    for token in many[:2]:
        answer = caller.spend(token)
        assert answer.json()["error"]["code"] == 80006
        usage = json.loads(answer.headers["X-Business-Use-Case-Usage"])[caller.page_id][0]
        assert usage["estimated_time_to_regain_access"] == 7


@pytest.mark.parametrize(
    ("times", "most"),
    [([], 0), ([0.0, 0.999, 1.0], 2), ([0.0, 0.5, 0.9, 1.4, 1.45], 4), ([0.0] * 5 + [3.0], 5), ([0.0, 2.0, 4.0], 1)],
)
def test_window_counts_exactly(times, most):
    window = Window()
    for at in times:
        window.add(at)
    assert (window.most, window.total) == (most, len(times))
