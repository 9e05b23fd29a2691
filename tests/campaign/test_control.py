from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from otn.campaign import approval as approvals
from otn.campaign import control, ledger, plan
from otn.campaign.answers import Answer
from otn.campaign.control import ContentDiffersError
from otn.campaign.model import CampaignSpec, IfLate
from otn.campaign.state import CampaignCancelledError, CampaignUnknownError
from otn.errors import UsageError
from tests.campaign.stage import Stage
from tests.clean import database, emptied_url

__all__ = ["database", "emptied_url"]

HOUR = timedelta(hours=1)


def opened(stage: Stage, **values: Any) -> control.Campaign:
    page, topic = values.pop("page", stage.settings.page_id), values.pop("topic", "restock")
    spec = CampaignSpec(**{"key": "spring", "message": {"text": "It is back!"}, **values})
    return control.open_campaign(
        stage.engine,
        spec,
        page_row_id=stage.page_row,
        facebook_page_id=page,
        topic_row_id=stage.topic_row,
        topic_key=topic,
        actor="anna",
    )


def ago(**values: float) -> datetime:
    return datetime.now(UTC) - timedelta(**values)


def state_of(stage: Stage, campaign: int) -> str:
    return str(stage.sql("SELECT state FROM otn.campaign WHERE id = %s", campaign)[0][0])


def told(stage: Stage, campaign: int) -> list[tuple[str, str]]:
    """Who did what."""
    return [tuple(row) for row in stage.sql("SELECT actor, action FROM otn.audit WHERE campaign_id = %s", campaign)]


def at_once(*work: Callable[[], Any]) -> list[BaseException]:
    """Do several things at the same moment; answers the errors."""
    errors: list[BaseException] = []
    together = threading.Barrier(len(work))

    def run(one: Callable[[], Any]) -> None:
        together.wait(30)
        try:
            one()
        except BaseException as error:  # noqa: BLE001 - handed to the test
            errors.append(error)

    threads = [threading.Thread(target=run, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def claim(stage: Stage, campaign: int, most: int = 1) -> list[ledger.Claimed]:
    return ledger.claim(stage.engine, ledger.WaitingChunk(campaign, 1), most=most, lease_s=60, sender="me").rows


def answer(stage: Stage, campaign: int, row: ledger.Claimed, outcome: str, **values: Any) -> None:
    answers = [Answer(row.subscriber_id, row.attempt_id, outcome, **values)]
    ledger.record(stage.engine, campaign, answers, sender="me")


# ── opening


def test_a_campaign_waits_for_a_yes_or_starts_by_itself(stage: Stage) -> None:
    asked, free = opened(stage), opened(stage, key="free", approval=False)
    assert (asked.state, asked.needs_approval, asked.approved, asked.planned) == (
        "awaiting_approval",
        True,
        False,
        False,
    )
    assert (free.state, free.needs_approval, free.nothing_to_send) == ("scheduled", False, False)
    assert told(stage, asked.id) == [("anna", "opened")]


def test_the_same_again_is_the_same_campaign_however_its_labels_are_ordered(stage: Stage) -> None:
    first = opened(stage, include_labels=("a", "b"), message={"text": "hi", "quick_replies": []})
    again = opened(stage, include_labels=("b", "a", "b"), message={"quick_replies": [], "text": "hi"})
    assert again == first


@pytest.mark.parametrize(
    "change",
    [
        {"message": {"text": "It is back"}},
        {"include_labels": ("vip",)},
        {"exclude_labels": ("vip",)},
        {"max_recipients": 5},
        {"topic": "other"},
        {"page": "another page"},
    ],
)
def test_the_same_key_with_other_content_is_refused_and_changes_nothing(stage: Stage, change: dict[str, Any]) -> None:
    campaign = opened(stage)
    before = stage.sql("SELECT * FROM otn.campaign")
    with pytest.raises(ContentDiffersError, match=r"'spring' exists on this page with another .* Use a new key"):
        opened(stage, **change)
    assert stage.sql("SELECT * FROM otn.campaign") == before
    assert told(stage, campaign.id) == [("anna", "opened")]


def test_times_and_limits_may_change_until_the_plan_is_made(stage: Stage) -> None:
    later = datetime(2040, 1, 1, tzinfo=UTC)
    opened(stage, approval=False)
    campaign = opened(stage, approval=False, send_at=later, canary=3, max_refused=0.1, if_late=IfLate.SEND)
    assert campaign.send_at == later
    plan.plan(stage.engine, campaign.id, messages_per_second=None)
    assert opened(stage, approval=False, send_at=None, canary=9).send_at == later
    assert stage.sql("SELECT canary, max_refused::float, if_late FROM otn.campaign") == [(3, 0.1, "send")]


def test_once_asked_for_an_approval_stays_needed(stage: Stage) -> None:
    opened(stage)
    assert opened(stage, approval=False).needs_approval


def test_opened_at_once_by_many_it_is_one_campaign(stage: Stage) -> None:
    found: list[control.Campaign] = []
    assert at_once(*[lambda: found.append(opened(stage))] * 6) == []
    assert len({campaign.id for campaign in found}) == 1
    assert len(told(stage, found[0].id)) == 1


def test_a_cancelled_campaign_is_not_opened_again(stage: Stage) -> None:
    campaign = opened(stage)
    control.cancel(stage.engine, campaign.id, actor="anna")
    with pytest.raises(CampaignCancelledError, match=r"was cancelled\. Use a new key"):
        opened(stage)


def test_a_finished_campaign_has_nothing_to_send_until_somebody_is_in_doubt(stage: Stage) -> None:
    stage.opt_in(2)
    campaign = stage.planned()
    stage.run(campaign)
    again = opened(stage, approval=False)
    assert (again.state, again.nothing_to_send) == ("finished", True)
    stage.sql(
        "UPDATE otn.recipient SET state = 'unknown', evidence = NULL, sent_at = NULL, unanswered = 1, reason = 'x'"
    )
    again = opened(stage, approval=False)
    assert (again.state, again.nothing_to_send) == ("sending", False)
    figures = stage.run(campaign)  # asked again: the token was used
    assert (figures["sent_inferred"], figures["state"]) == (2, "finished")


@pytest.mark.parametrize("state", ["paused", "halted", "interrupted"])
def test_opened_again_a_stopped_campaign_goes_on_and_so_does_its_page(stage: Stage, state: str) -> None:
    stage.opt_in(1)
    campaign = stage.planned()
    stage.sql("UPDATE otn.page SET halted_at = now(), halt_reason = '190'")
    stage.sql(
        "UPDATE otn.campaign SET state = %s, halt_reason = CASE %s WHEN 'halted' THEN '190' END,"
        " answered = 300, refused = 300, recent = 'rr', content_run = 10, content_error = '100/-'",
        state,
        state,
    )
    stage.sql("UPDATE otn.recipient SET not_before = now() + interval '1 hour'")
    assert opened(stage, approval=False).state == "sending"
    assert stage.sql("SELECT halted_at FROM otn.page") == [(None,)]
    assert stage.sql("SELECT answered, refused, recent, content_run, content_error FROM otn.campaign") == [
        (0, 0, "", 0, None)
    ]
    assert told(stage, campaign)[-1] == ("anna", "resumed")
    assert len(claim(stage, campaign)) == 1


# ── the question before the start


@pytest.mark.parametrize(("people", "cap"), [(0, 10), (5, 15), (100, 110), (200, 220)])
def test_a_campaign_that_nobody_approved_asks_and_says_how_many(stage: Stage, people: int, cap: int) -> None:
    stage.opt_in(people) if people else None
    question = approvals.start_question(stage.engine, opened(stage).id)
    assert question == approvals.StartQuestion("approval", expected=people, cap=cap)


def test_after_a_yes_there_is_nothing_to_ask(stage: Stage) -> None:
    stage.opt_in(3)
    campaign = opened(stage)
    approvals.approve(stage.engine, campaign.id, actor="bob", cap=13)
    assert state_of(stage, campaign.id) == "scheduled"
    assert approvals.start_question(stage.engine, campaign.id) is None
    assert control.get(stage.engine, campaign.id).approved
    assert stage.sql("SELECT approved_by, approved_cap, approved_late FROM otn.campaign") == [("bob", 13, False)]
    assert told(stage, campaign.id)[-1] == ("bob", "approved")


def test_without_approval_there_is_nothing_to_ask(stage: Stage) -> None:
    stage.opt_in(30)
    assert approvals.start_question(stage.engine, stage.open()) is None


def test_more_people_than_the_yes_covered_are_asked_about_again(stage: Stage) -> None:
    stage.opt_in(3)
    campaign = opened(stage).id
    approvals.approve(stage.engine, campaign, actor="bob", cap=3)
    assert approvals.start_question(stage.engine, campaign) is None  # exactly at the cap is within it
    stage.opt_in(1)
    question = approvals.start_question(stage.engine, campaign)
    assert question == approvals.StartQuestion("over_cap", expected=4, cap=14)
    approvals.approve(stage.engine, campaign, actor="bob", cap=question.cap)
    assert approvals.start_question(stage.engine, campaign) is None


@pytest.mark.parametrize(("minutes", "late"), [(30, False), (59, False), (61, True), (60 * 24 * 40, True)])
@pytest.mark.parametrize("approval", [True, False])
def test_late_is_asked_about(stage: Stage, minutes: int, late: bool, approval: bool) -> None:
    campaign = opened(stage, send_at=ago(minutes=minutes), late_after=HOUR, approval=approval).id
    if approval:
        approvals.approve(stage.engine, campaign, actor="bob", cap=10)
    question = approvals.start_question(stage.engine, campaign)
    assert question == (approvals.StartQuestion("late", 0, 10) if late else None)
    approvals.approve(stage.engine, campaign, actor="bob", cap=10, late=True)
    assert approvals.start_question(stage.engine, campaign) is None


def test_a_yes_that_was_not_for_a_late_start_does_not_cover_it(stage: Stage) -> None:
    campaign = opened(stage, send_at=ago(hours=2)).id
    question = approvals.start_question(stage.engine, campaign)
    assert question is not None
    assert question.kind == "approval"
    approvals.approve(stage.engine, campaign, actor="bob", cap=10)
    question = approvals.start_question(stage.engine, campaign)
    assert question is not None
    assert question.kind == "late"


def test_if_late_send_it_is_sent(stage: Stage) -> None:
    campaign = opened(stage, send_at=ago(days=2), if_late=IfLate.SEND, approval=False).id
    assert approvals.start_question(stage.engine, campaign) is None
    assert state_of(stage, campaign) == "scheduled"


@pytest.mark.parametrize("approval", [True, False])
def test_if_late_cancel_it_is_cancelled(stage: Stage, approval: bool) -> None:
    campaign = opened(stage, send_at=ago(hours=2), if_late=IfLate.CANCEL, approval=approval).id
    assert approvals.start_question(stage.engine, campaign) is None
    assert state_of(stage, campaign) == "cancelled"
    assert told(stage, campaign)[-1] == ("schedule", "cancelled")
    assert approvals.start_question(stage.engine, campaign) is None


def test_if_late_cancel_a_campaign_in_time_goes_on(stage: Stage) -> None:
    campaign = opened(stage, send_at=ago(minutes=59), if_late=IfLate.CANCEL, approval=False).id
    assert approvals.start_question(stage.engine, campaign) is None
    assert state_of(stage, campaign) == "scheduled"


def test_a_campaign_that_is_sending_is_never_late(stage: Stage) -> None:
    campaign = opened(stage, send_at=ago(hours=2), if_late=IfLate.SEND, approval=False).id
    plan.plan(stage.engine, campaign, messages_per_second=None)
    stage.sql("UPDATE otn.campaign SET if_late = 'cancel'")
    assert approvals.start_question(stage.engine, campaign) is None
    assert state_of(stage, campaign) == "sending"


@pytest.mark.parametrize("yes_first", [True, False])
def test_a_no_cancels_until_it_is_sending(stage: Stage, yes_first: bool) -> None:
    campaign = opened(stage).id
    if yes_first:
        approvals.approve(stage.engine, campaign, actor="bob", cap=10)
    approvals.reject(stage.engine, campaign, actor="carl", reason="typo")
    assert state_of(stage, campaign) == "cancelled"
    assert told(stage, campaign)[-1] == ("carl", "rejected")
    approvals.reject(stage.engine, campaign, actor="carl", reason="typo")  # twice is once
    assert told(stage, campaign).count(("carl", "rejected")) == 1


@pytest.mark.parametrize("then", ["sending", "paused", "interrupted"])
def test_a_no_that_comes_when_it_is_sending_changes_nothing(stage: Stage, then: str) -> None:
    stage.opt_in(1)
    campaign = stage.planned()
    stage.sql("UPDATE otn.campaign SET state = %s WHERE state <> %s", then, then)
    approvals.reject(stage.engine, campaign, actor="carl", reason="too late")
    assert state_of(stage, campaign) == then
    assert stage.report(campaign)["waiting"] == 1


def test_yes_and_no_at_the_same_moment_lead_to_one_of_the_two(stage: Stage) -> None:
    campaign = opened(stage).id
    errors = at_once(
        lambda: approvals.approve(stage.engine, campaign, actor="bob", cap=10),
        lambda: approvals.reject(stage.engine, campaign, actor="carl", reason="no"),
    )
    assert all(isinstance(error, UsageError) for error in errors)
    assert state_of(stage, campaign) == "cancelled"  # a yes never undoes a no, and a no undoes an early yes


# ── holding, resuming, giving up


def test_only_what_sends_can_be_paused_and_only_what_stands_can_be_resumed(stage: Stage) -> None:
    stage.opt_in(1)
    campaign = stage.open()
    with pytest.raises(UsageError, match="is scheduled; only one that is sending can be paused"):
        control.pause(stage.engine, campaign, actor="ops")
    with pytest.raises(UsageError, match="is scheduled; there is nothing to resume"):
        control.resume(stage.engine, campaign, actor="ops")
    stage.planned()
    control.resume(stage.engine, campaign, actor="ops")  # sends already
    control.pause(stage.engine, campaign, actor="ops")
    control.pause(stage.engine, campaign, actor="ops")
    assert told(stage, campaign)[-1] == ("ops", "paused")
    control.resume(stage.engine, campaign, actor="ops")
    stage.run(campaign)
    for decide in (control.pause, control.resume, control.cancel):
        with pytest.raises(UsageError, match="is finished"):
            decide(stage.engine, campaign, actor="ops")


@pytest.mark.parametrize("act", [control.pause, control.cancel])
def test_a_stop_leaves_a_call_that_is_under_way_to_its_end(stage: Stage, act: Callable[..., None]) -> None:
    stage.opt_in(2)
    campaign = stage.planned()
    row = claim(stage, campaign)[0]
    act(stage.engine, campaign, actor="ops")
    answer(stage, campaign, row, "sent", message_id="m_1")
    figures = stage.report(campaign)
    assert figures["sent"] == 1
    assert (figures["waiting"], figures["cancelled"]) == ((1, 0) if act is control.pause else (0, 1))
    assert claim(stage, campaign) == []


@pytest.mark.parametrize(
    ("outcome", "values", "state", "holds"),
    [
        ("returned", {"reason": "throttled", "wait_s": 60.0}, "cancelled", False),
        ("returned", {"reason": "personal_field_missing", "skip": True}, "skipped", False),
        ("refused", {"error_code": 551, "retry_worth": True}, "refused", False),
        ("refused", {"error_code": 100, "token_refused": True}, "refused", True),
        ("unknown", {"reason": "timeout"}, "unknown", True),
        ("sent", {"message_id": "m_1"}, "sent", True),
    ],
)
def test_cancelled_in_a_call_the_row_goes_where_its_answer_leads(
    stage: Stage, outcome: str, values: dict[str, Any], state: str, holds: bool
) -> None:
    stage.opt_in(1)
    campaign = stage.planned()
    row = claim(stage, campaign)[0]
    control.cancel(stage.engine, campaign, actor="ops")
    answer(stage, campaign, row, outcome, **values)
    assert stage.sql("SELECT state::text, holds_token FROM otn.recipient") == [(state, holds)]
    assert state_of(stage, campaign) == "cancelled"
    assert control.end_run(stage.engine, campaign) == "cancelled"


@pytest.mark.parametrize("state", ["awaiting_approval", "scheduled", "sending", "paused", "halted", "interrupted"])
def test_every_campaign_that_has_not_ended_can_be_given_up(stage: Stage, state: str) -> None:
    stage.opt_in(2)
    if state in {"awaiting_approval", "scheduled"}:
        campaign = opened(stage, approval=state == "awaiting_approval").id
    else:
        campaign = stage.planned()
        stage.sql(
            "UPDATE otn.campaign SET state = %s, halt_reason = CASE %s WHEN 'halted' THEN 'x' END WHERE state <> %s",
            state,
            state,
            state,
        )
    control.cancel(stage.engine, campaign, actor="ops", reason="wrong price")
    control.cancel(stage.engine, campaign, actor="ops")
    assert state_of(stage, campaign) == "cancelled"
    assert told(stage, campaign).count(("ops", "cancelled")) == 1
    assert stage.sql("SELECT count(*) FROM otn.recipient WHERE holds_token") == [(0,)]
    assert stage.sql("SELECT detail FROM otn.audit WHERE action = 'cancelled'")[0][0]["reason"] == "wrong price"


def test_a_cancelled_doubt_stays_in_doubt_and_is_not_asked_about(stage: Stage) -> None:
    stage.opt_in(1)
    campaign = stage.planned()
    answer(stage, campaign, claim(stage, campaign)[0], "unknown", reason="timeout")
    control.cancel(stage.engine, campaign, actor="ops")
    stage.sql("UPDATE otn.recipient SET not_before = NULL")
    assert stage.reconcile(campaign).still_unknown == 1
    assert stage.seen() == {}
    stage.promise_holds(campaign)


def test_claims_and_a_cancellation_at_the_same_moment_lose_nobody(stage: Stage) -> None:
    stage.opt_in(300)
    campaign = stage.planned()
    claimed: list[ledger.Claimed] = []
    errors = at_once(
        lambda: claimed.extend(claim(stage, campaign, 100)),
        lambda: control.cancel(stage.engine, campaign, actor="ops"),
        lambda: claimed.extend(claim(stage, campaign, 100)),
    )
    assert errors == []
    figures = stage.report(campaign)
    assert (figures["waiting"], figures["sending"], figures["cancelled"]) == (0, len(claimed), 300 - len(claimed))


# ── retrying


def test_only_what_was_planned_and_not_cancelled_can_be_retried(stage: Stage) -> None:
    campaign = stage.open()
    with pytest.raises(UsageError, match=r"is scheduled and has no recipients yet. Trigger otn_broadcast"):
        control.retry(stage.engine, campaign, scope="waiting", actor="ops")
    control.cancel(stage.engine, campaign, actor="ops")
    with pytest.raises(CampaignCancelledError, match="was cancelled; nothing of it can be retried"):
        control.retry(stage.engine, campaign, scope="unknown", actor="ops")


def test_retrying_who_waits_calls_them_now(stage: Stage) -> None:
    stage.opt_in(3)
    campaign = stage.planned()
    answer(stage, campaign, claim(stage, campaign)[0], "returned", reason="throttled", wait_s=3600.0)
    assert control.end_run(stage.engine, campaign) == "interrupted"
    assert control.retry(stage.engine, campaign, scope="waiting", actor="ops") == 3
    assert state_of(stage, campaign) == "sending"
    assert len(claim(stage, campaign, 9)) == 3


def test_retrying_the_unknown_asks_them_now_however_often_they_were_asked(stage: Stage) -> None:
    stage.opt_in(1)
    campaign = stage.planned()
    answer(stage, campaign, claim(stage, campaign)[0], "unknown", reason="timeout")
    stage.sql("UPDATE otn.recipient SET attempts = 8, not_before = 'infinity'")
    assert control.end_run(stage.engine, campaign) == "finished"
    assert control.retry(stage.engine, campaign, scope="unknown", actor="ops") == 1
    source = ledger.Doubtful(campaign)
    assert len(ledger.claim(stage.engine, source, most=9, lease_s=9, sender="me").rows) == 1


@pytest.mark.parametrize(
    ("moment", "if_late", "asked"),
    [("now()", "ask", 0), ("now()", "cancel", 0), ("now()", "send", 1), ("NULL", "ask", 1)],
)
def test_who_was_called_too_long_ago_is_asked_again_only_when_a_person_wants_it(
    stage: Stage, moment: str, if_late: str, asked: int
) -> None:
    stage.opt_in(1)
    campaign = stage.planned()
    stage.sql(f"UPDATE otn.campaign SET send_at = {moment}, if_late = '{if_late}', late_after = '0'")
    answer(stage, campaign, claim(stage, campaign)[0], "unknown", reason="timeout")
    stage.sql("UPDATE otn.recipient SET not_before = NULL")
    source = ledger.Doubtful(campaign)
    assert len(ledger.claim(stage.engine, source, most=9, lease_s=9, sender="me").rows) == asked
    if not asked:
        assert stage.report(campaign)["unknown_reasons"] == {"late": 1}
        assert control.retry(stage.engine, campaign, scope="unknown", actor="ops") == 1
        assert len(ledger.claim(stage.engine, source, most=9, lease_s=9, sender="me").rows) == 1


@pytest.mark.parametrize(
    ("first", "asked"),
    [
        ({"outcome": "unknown", "reason": "timeout"}, 0),
        ({"outcome": "returned", "reason": "not_called", "called": False}, 1),
        ({"outcome": "returned", "reason": "throttled"}, 1),
        ({"outcome": "refused", "error_code": 551, "retry_worth": True}, 1),
    ],
    ids=lambda value: str(value.get("reason", "refused")) if isinstance(value, dict) else "",
)
def test_a_call_that_is_proven_without_effect_makes_nobody_late(
    stage: Stage, first: dict[str, Any], asked: int
) -> None:
    stage.opt_in(1)
    campaign = stage.planned()
    answer(stage, campaign, claim(stage, campaign)[0], **first)
    stage.sql("SET LOCAL session_replication_role = replica; UPDATE otn.attempt SET at = at - interval '1 day'")
    if first["outcome"] == "refused":
        assert control.retry(stage.engine, campaign, scope="refused", actor="ops") == 1
    stage.sql("UPDATE otn.recipient SET not_before = NULL")
    stage.sql("UPDATE otn.campaign SET send_at = now() - interval '1 day', late_after = '1 hour'")
    if first["outcome"] != "unknown":
        answer(stage, campaign, claim(stage, campaign)[0], "unknown", reason="timeout")
        stage.sql("UPDATE otn.recipient SET not_before = NULL")
    source = ledger.Doubtful(campaign)
    assert len(ledger.claim(stage.engine, source, most=9, lease_s=9, sender="me").rows) == asked


def test_a_row_whose_sender_died_is_among_the_unknown(stage: Stage) -> None:
    stage.opt_in(1)
    campaign = stage.planned()
    claim(stage, campaign)
    stage.sql("UPDATE otn.recipient SET lease_until = now()")
    assert control.retry(stage.engine, campaign, scope="unknown", actor="ops") == 1
    assert stage.report(campaign)["unknown_reasons"] == {"lease_lost": 1}


@pytest.mark.parametrize(
    ("what", "values", "then", "rows"),
    [
        ("worth it", {"retry_worth": True}, "SELECT 1", 1),
        ("not worth it", {"retry_worth": False}, "SELECT 1", 0),
        ("token refused", {"retry_worth": True, "token_refused": True}, "SELECT 1", 0),
        (
            "suppressed since",
            {"retry_worth": True},
            "INSERT INTO otn.suppression (subscriber_id, reason) SELECT id, 'stop_word' FROM otn.subscriber",
            0,
        ),
        (
            "expired since",
            {"retry_worth": True},
            "UPDATE otn.token SET opted_in_at = now() - interval '2 days', expires_at = now() - interval '1 day'",
            0,
        ),
        ("wiped since", {"retry_worth": True}, "UPDATE otn.token SET token_encrypted = NULL, wiped_at = now()", 0),
    ],
)
def test_retrying_the_refused_takes_only_what_can_succeed(
    stage: Stage, what: str, values: dict[str, Any], then: str, rows: int
) -> None:
    stage.opt_in(1)
    campaign = stage.planned()
    answer(stage, campaign, claim(stage, campaign)[0], "refused", error_code=551, **values)
    control.end_run(stage.engine, campaign)
    stage.sql(then)
    assert control.retry(stage.engine, campaign, scope="refused", actor="ops") == rows
    assert state_of(stage, campaign) == ("sending" if rows else "finished")
    assert stage.sql("SELECT state::text, retry_worth FROM otn.recipient") == [
        ("waiting", False) if rows else ("refused", values["retry_worth"])
    ]
    assert stage.sql("SELECT detail FROM otn.audit WHERE action = 'retried'")[0][0] == {
        "scope": "refused",
        "rows": rows,
    }
    assert control.retry(stage.engine, campaign, scope="refused", actor="ops") == 0


def test_a_refused_row_whose_token_another_campaign_took_is_not_retried(stage: Stage) -> None:
    stage.opt_in(1)
    campaign = stage.planned()
    answer(stage, campaign, claim(stage, campaign)[0], "refused", error_code=551, retry_worth=True)
    other = stage.planned("other")
    assert stage.report(other)["planned"] == 1
    assert control.retry(stage.engine, campaign, scope="refused", actor="ops") == 0


def test_a_retry_and_a_plan_at_the_same_moment_share_no_token(stage: Stage) -> None:
    stage.opt_in(40)
    campaign = stage.planned()
    for row in claim(stage, campaign, 40):
        answer(stage, campaign, row, "refused", error_code=551, retry_worth=True)
    other = stage.open("other")
    errors = at_once(
        lambda: control.retry(stage.engine, campaign, scope="refused", actor="ops"),
        lambda: plan.plan(stage.engine, other, messages_per_second=None),
    )
    assert errors == []
    assert stage.sql("SELECT count(*) FROM otn.recipient WHERE holds_token") == [(40,)]


# ── the end of a run


def test_a_run_ends_finished_when_nobody_waits_and_nobody_is_in_a_call(stage: Stage) -> None:
    stage.opt_in(2)
    campaign = stage.planned()
    assert control.end_run(stage.engine, campaign) == "interrupted"
    assert control.end_run(stage.engine, campaign) == "interrupted"
    assert stage.planned() == campaign
    rows = claim(stage, campaign, 2)
    answer(stage, campaign, rows[0], "sent", message_id="m_1")
    answer(stage, campaign, rows[1], "unknown", reason="timeout")
    assert control.end_run(stage.engine, campaign) == "finished"  # with somebody in doubt: the report tells
    assert stage.sql("SELECT finished_at IS NOT NULL FROM otn.campaign") == [(True,)]


@pytest.mark.parametrize("state", ["paused", "halted", "cancelled"])
def test_what_a_person_or_a_rule_stopped_stays_so_at_the_end_of_the_run(stage: Stage, state: str) -> None:
    stage.opt_in(1)
    campaign = stage.planned()
    stage.sql(
        "UPDATE otn.campaign SET state = %s, halt_reason = CASE %s WHEN 'halted' THEN 'x' END,"
        " finished_at = CASE %s WHEN 'cancelled' THEN now() END",
        state,
        state,
        state,
    )
    assert control.end_run(stage.engine, campaign) == state


def test_a_run_that_ends_while_another_sends_leaves_the_end_to_it(stage: Stage) -> None:
    stage.opt_in(2)
    campaign = stage.planned()
    row = claim(stage, campaign)[0]
    assert control.end_run(stage.engine, campaign) == "sending"
    assert len(claim(stage, campaign)) == 1, "the other run goes on claiming"
    answer(stage, campaign, row, "sent", message_id="m_1")
    assert control.end_run(stage.engine, campaign) == "sending"
    stage.sql("UPDATE otn.recipient SET lease_until = now() WHERE state = 'sending'")  # the other run died
    assert control.end_run(stage.engine, campaign) == "interrupted"


def test_a_sender_takes_an_interrupted_campaign_up_again(stage: Stage) -> None:
    people = stage.opt_in(5)
    campaign = stage.planned()
    control.end_run(stage.engine, campaign)
    assert stage.send(campaign).sent == 5
    assert control.end_run(stage.engine, campaign) == "finished"
    assert stage.seen() == dict.fromkeys(people, 1)


@pytest.mark.parametrize("state", ["paused", "halted"])
def test_a_sender_does_not_take_up_what_a_person_or_a_rule_stopped(stage: Stage, state: str) -> None:
    stage.opt_in(2)
    campaign = stage.planned()
    stage.sql("UPDATE otn.campaign SET state = %s, halt_reason = CASE %s WHEN 'halted' THEN 'x' END", state, state)
    result = stage.send(campaign)
    assert (result.done, result.state, result.states) == (False, state, {})
    assert stage.seen() == {}


# ── finding


def test_a_campaign_is_found_by_page_and_key(stage: Stage) -> None:
    campaign = stage.open()
    assert control.find(stage.engine, "messenger_default", "spring") == campaign
    for page, key in (("messenger_default", "Spring"), ("other", "spring"), ("", "")):
        with pytest.raises(CampaignUnknownError, match="There is no campaign"):
            control.find(stage.engine, page, key)


def test_a_number_that_is_none_is_told(stage: Stage) -> None:
    for decide in (control.get, approvals.start_question, control.end_run):
        with pytest.raises(CampaignUnknownError, match="no campaign number 999999"):
            decide(stage.engine, 999_999)


def test_campaigns_are_listed_newest_first_and_no_more_than_asked_for(stage: Stage) -> None:
    for n in range(4):
        stage.open(f"c{n}")
    assert [row["key"] for row in control.listing(stage.engine)] == ["c3", "c2", "c1", "c0"]
    assert [row["key"] for row in control.listing(stage.engine, most=2)] == ["c3", "c2"]
