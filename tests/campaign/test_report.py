from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from otn.campaign import control, ledger, report
from otn.campaign.answers import Answer
from otn.campaign.state import CampaignUnknownError
from tests.campaign.stage import Stage
from tests.clean import database, emptied_url

__all__ = ["database", "emptied_url"]

KEYS = [
    *("campaign", "page", "topic", "state", "audience", "excluded", "planned", "waiting", "sending", "sent"),
    *("sent_inferred", "refused", "unknown", "cancelled", "skipped", "delivered", "read", "errors", "tokens_spent"),
    *("started_at", "finished_at"),
]

CALLED = "attempts = 1, attempt_id = gen_random_uuid()"
STATED = f"state = 'sent', {CALLED}, evidence = 'answer', message_id = 'm', sent_at = now()"
# Every state that a row can be in, and how it gets there.
ROWS = [
    ("waiting", "state = 'waiting'"),
    ("sending", f"state = 'sending', {CALLED}, unanswered = 1, lease_until = now() + interval '1 hour'"),
    ("stated", STATED),
    (
        "delivered",
        f"state = 'sent', {CALLED}, evidence = 'echo', message_id = 'm', sent_at = now(), delivered_at = now()",
    ),
    ("read", f"{STATED}, delivered_at = now(), read_at = now()"),
    ("inferred", f"state = 'sent', {CALLED}, evidence = 'token_used_inferred', sent_at = now(), unanswered = 1"),
    ("blocked", f"state = 'refused', {CALLED}, error_code = 551, error_subcode = 1893047"),
    ("blocked too", f"state = 'refused', {CALLED}, error_code = 551, error_subcode = 1893047"),
    ("no subcode", f"state = 'refused', {CALLED}, error_code = 100"),
    ("token dead", f"state = 'refused', {CALLED}, error_code = 100, error_subcode = 33, token_dead = true"),
    ("unknown", f"state = 'unknown', {CALLED}, unanswered = 1, reason = 'timeout'"),
    ("lease lost", f"state = 'unknown', {CALLED}, unanswered = 1, reason = 'lease_lost'"),
    ("skipped", "state = 'skipped', reason = 'suppressed'"),
    ("skipped too", "state = 'skipped', reason = 'token_expired'"),
    ("cancelled", "state = 'cancelled'"),
]


@pytest.fixture
def every_state(stage: Stage) -> tuple[Stage, int]:
    """A campaign with one row in each state, and three people left out."""
    people = stage.opt_in(len(ROWS) + 3)
    stage.sql(
        "INSERT INTO otn.suppression (subscriber_id, reason)"
        " SELECT id, 'operator' FROM otn.subscriber WHERE psid = ANY (%s)",
        people[:2],
    )
    stage.sql("UPDATE otn.subscriber SET labels = '{staff}' WHERE psid = %s", people[2])
    campaign = stage.planned(exclude_labels=("staff",))
    ids = [row[0] for row in stage.sql("SELECT subscriber_id FROM otn.recipient ORDER BY 1")]
    for subscriber, (_, change) in zip(ids, ROWS, strict=True):
        stage.sql(f"UPDATE otn.recipient SET {change} WHERE subscriber_id = %s", subscriber)
    return stage, campaign


def test_the_figures_of_a_campaign_with_every_state_add_up(every_state: tuple[Stage, int]) -> None:
    stage, campaign = every_state
    figures = stage.report(campaign)
    assert {key: figures[key] for key in KEYS if not key.endswith("_at")} == {
        "campaign": "spring",
        "page": "messenger_default",
        "topic": "restock",
        "state": "sending",
        "audience": 18,
        "excluded": {"suppressed": 2, "label_excluded": 1},
        "planned": 15,
        "waiting": 1,
        "sending": 1,
        "sent": 4,
        "sent_inferred": 1,
        "refused": 4,
        "unknown": 2,
        "cancelled": 1,
        "skipped": {"suppressed": 1, "token_expired": 1},
        "delivered": 2,
        "read": 1,
        "errors": {"551/1893047": 2, "100": 1, "100/33": 1},
        "tokens_spent": 5,
    }
    assert figures["unknown_reasons"] == {"lease_lost": 1, "timeout": 1}
    parts = sum(figures[part] for part in ("waiting", "sending", "sent", "refused", "unknown", "cancelled"))
    assert figures["planned"] == parts + sum(figures["skipped"].values())
    assert figures["audience"] == figures["planned"] + sum(figures["excluded"].values())
    assert max(figures["sent_inferred"], figures["delivered"], figures["read"]) <= figures["sent"]


def test_the_figures_are_json_with_times_that_can_be_read(stage: Stage) -> None:
    stage.opt_in(1)
    campaign = stage.planned()
    figures = json.loads(json.dumps(stage.run(campaign)))
    assert set(KEYS) <= set(figures)
    started, finished = (datetime.fromisoformat(figures[key]) for key in ("started_at", "finished_at"))
    assert started.tzinfo is not None
    assert started <= finished <= datetime.now(UTC)


def test_a_campaign_before_its_plan_has_a_report_of_nothing(stage: Stage) -> None:
    stage.opt_in(3)
    figures = stage.report(stage.open())
    assert (figures["state"], figures["audience"], figures["planned"]) == ("scheduled", 0, 0)
    assert (figures["started_at"], figures["finished_at"]) == (None, None)
    assert report.problems(figures) == []


def test_a_campaign_that_reached_nobody_is_green(stage: Stage) -> None:
    figures = stage.run(stage.planned())
    assert (figures["state"], figures["audience"]) == ("finished", 0)
    assert report.problems(figures) == []


def test_there_is_no_report_of_no_campaign(stage: Stage) -> None:
    with pytest.raises(CampaignUnknownError, match="no campaign number 999999"):
        stage.report(999_999)


GREEN: dict[str, Any] = {
    "state": "finished",
    "halt_reason": None,
    "waiting": 0,
    "sending": 0,
    "sent": 100,
    "refused": 0,
    "unknown": 0,
    "unknown_reasons": {},
    "max_refused": 0.5,
    "spent_elsewhere": 0,
}


@pytest.mark.parametrize(
    ("change", "sentences"),
    [
        ({}, []),
        ({"refused": 100}, []),  # people who blocked the page are normal, up to the share
        ({"refused": 101}, ["101 of 201 people were refused, more than max_refused allows."]),
        ({"sent": 0, "refused": 0}, []),
        ({"sent": 0, "refused": 1}, ["1 of 1 people were refused"]),
        ({"sent": 0, "refused": 1, "max_refused": 1.0}, []),
        (
            {"state": "halted", "halt_reason": "the page token is dead (190)."},
            ["halted: the page token is dead (190)."],
        ),
        ({"state": "paused"}, ["is paused. Trigger it again"]),
        ({"state": "paused", "waiting": 5}, ["is paused"]),
        ({"state": "interrupted", "waiting": 5, "sending": 2}, ["7 people still wait. Trigger it again"]),
        ({"state": "halted", "halt_reason": "x", "waiting": 5}, ["halted: x", "5 people still wait"]),
        (
            {"unknown": 3, "unknown_reasons": {"timeout": 2, "lease_lost": 1}},
            ["Of 3 people nobody knows whether they got the message (timeout: 2, lease_lost: 1). Run otn_retry"],
        ),
        ({"unknown": 3, "unknown_reasons": {"refused_in_doubt": 3}}, []),  # nobody can act
        (
            {"unknown": 3, "unknown_reasons": {"refused_in_doubt": 2, "timeout": 1}},
            ["Of 1 people nobody knows whether they got the message (timeout: 1)"],
        ),
        ({"spent_elsewhere": 4}, ["4 tokens had been spent before this campaign tried them. Find out who else"]),
        (
            {"state": "interrupted", "waiting": 1, "unknown": 1, "unknown_reasons": {"a": 1}, "spent_elsewhere": 1},
            ["1 people still wait", "nobody knows", "spent before"],
        ),
    ],
)
def test_a_run_is_red_when_a_person_must_act_and_says_why_and_how(change: dict[str, Any], sentences: list[str]) -> None:
    found = report.problems({**GREEN, **change})
    assert len(found) == len(sentences), found
    for sentence, part in zip(found, sentences, strict=True):
        assert part in sentence


def test_a_halted_campaign_says_its_own_reason(stage: Stage) -> None:
    stage.opt_in(1)
    campaign = stage.planned()
    row = ledger.claim(stage.engine, ledger.WaitingChunk(campaign, 1), most=1, lease_s=60, sender="me").rows[0]
    answers = [Answer(row.subscriber_id, row.attempt_id, "returned", reason="page_halted")]
    ledger.record(stage.engine, campaign, answers, sender="me", page_reason="Messenger refused the page (368).")
    found = report.problems(stage.report(campaign))
    assert found[0] == "The campaign is halted: Messenger refused the page (368)."


def test_tokens_that_others_spent_are_counted_over_all_slices(stage: Stage) -> None:
    stage.opt_in(5)
    campaign = stage.planned()
    for _ in range(3):
        rows = ledger.claim(stage.engine, ledger.WaitingChunk(campaign, 1), most=1, lease_s=60, sender="me").rows
        answers = [
            Answer(row.subscriber_id, row.attempt_id, "refused", error_code=100, token_refused=True, token_used=True)
            for row in rows
        ]
        ledger.record(stage.engine, campaign, answers, sender="me")
    figures = stage.report(campaign)
    assert (figures["spent_elsewhere"], figures["refused"], figures["tokens_spent"]) == (3, 3, 3)


def test_every_recipient_is_exported_once_in_the_order_of_its_key(
    every_state: tuple[Stage, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, campaign = every_state
    whole = list(report.export_rows(stage.engine, campaign))
    assert len(whole) == len(ROWS)
    ids = [row["subscriber_id"] for row in whole]
    assert ids == sorted(set(ids))
    assert [row["state"] for row in whole[:3]] == ["waiting", "sending", "sent"]
    assert not {"token", "token_encrypted", "token_hash", "variables"} & set(whole[0])
    for size in (1, 4, len(ROWS)):
        monkeypatch.setattr(report, "EXPORT_ROWS", size)
        assert list(report.export_rows(stage.engine, campaign)) == whole


def test_an_export_of_nobody_is_empty(stage: Stage) -> None:
    assert list(report.export_rows(stage.engine, stage.open())) == []


def test_a_report_beside_a_sender_always_adds_up(stage: Stage) -> None:
    stage.opt_in(400)
    campaign = stage.planned()
    sender = threading.Thread(target=stage.send, args=(campaign,))
    sender.start()
    looks = 0
    while sender.is_alive() or not looks:
        figures = stage.report(campaign)
        parts = sum(figures[part] for part in ("waiting", "sending", "sent", "refused", "unknown", "cancelled"))
        assert figures["planned"] == parts == 400
        looks += 1
    sender.join()
    control.end_run(stage.engine, campaign)
    assert stage.report(campaign)["sent"] == 400
