"""What a yes is bound to: the content that was shown, and whoever may say it."""

from __future__ import annotations

from typing import Any

import pytest

from otn.campaign import approval as approvals
from otn.campaign import plan
from otn.campaign.approval import Asking, StartQuestion, YesNotTakenError
from otn.campaign.approvers import Approvers, Person, Voice
from otn.campaign.plan import NotStartableError
from otn.database import transaction
from tests.campaign.stage import Stage
from tests.campaign.test_control import opened, state_of, told
from tests.clean import database, emptied_url

__all__ = ["database", "emptied_url"]

HERE = Asking("otn_broadcast", "m1", "approval")
ANOTHER = Approvers(another=True)
REPLACED = """
ALTER TABLE otn.campaign DISABLE TRIGGER campaign_content_is_frozen;
UPDATE otn.campaign SET message = '{"text": "Buy something else!"}';
ALTER TABLE otn.campaign ENABLE TRIGGER campaign_content_is_frozen;
"""
CHANGES = {
    "the message, behind the trigger": REPLACED,
    "the topic, by its key": "UPDATE otn.topic SET key = 'sale'",
    "the page": "UPDATE otn.page SET page_id = page_id || '1'",
}


def asked(stage: Stage, campaign: int) -> StartQuestion:
    question = approvals.start_question(stage.engine, campaign)
    assert question is not None
    return question


def waiting(stage: Stage, campaign: int) -> approvals.Asked | None:
    with transaction(stage.engine) as connection:
        return approvals.waiting_question(connection, campaign)


def test_the_hash_is_that_of_the_frozen_content(stage: Stage) -> None:
    campaign = opened(stage, filter={"attributes": {"city": ["Oslo"]}}, include_labels=("vip", "new"), max_recipients=7)
    assert asked(stage, campaign.id).content == stage.sql("SELECT encode(content_hash, 'hex') FROM otn.campaign")[0][0]


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_yes_to_other_content_than_stands_there_does_not_count(stage: Stage, change: str) -> None:
    campaign = opened(stage).id
    shown = asked(stage, campaign).content
    stage.sql(change)
    with pytest.raises(YesNotTakenError, match="the content was changed after it was shown"):
        approvals.approve(stage.engine, campaign, actor="bob", cap=10, content=shown)
    assert state_of(stage, campaign) == "awaiting_approval"
    assert told(stage, campaign)[-1] == ("bob", "yes not taken")
    assert "was changed" in str(approvals.why_again(stage.engine, campaign))
    approvals.approve(stage.engine, campaign, actor="bob", cap=10, content=asked(stage, campaign).content)
    assert state_of(stage, campaign) == "scheduled"
    assert approvals.why_again(stage.engine, campaign) is None


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_content_that_changed_after_the_yes_is_asked_about_and_not_planned(stage: Stage, change: str) -> None:
    stage.opt_in(1)
    campaign = opened(stage).id
    approvals.approve(stage.engine, campaign, actor="bob", cap=11, content=asked(stage, campaign).content)
    assert approvals.start_question(stage.engine, campaign) is None
    stage.sql(change)
    assert asked(stage, campaign) == StartQuestion("approval", expected=1, cap=11, changed=True)
    with pytest.raises(NotStartableError, match="is not what was approved"):
        plan.plan(stage.engine, campaign, messages_per_second=None)
    approvals.approve(stage.engine, campaign, actor="bob", cap=11, content=asked(stage, campaign).content)
    assert plan.plan(stage.engine, campaign, messages_per_second=None).planned == 1


def test_a_yes_of_an_older_version_names_no_hash_and_counts(stage: Stage) -> None:
    campaign = opened(stage).id
    stage.sql(
        "UPDATE otn.campaign SET approved_at = now(), approved_by = 'bob', approved_cap = 10, state = 'scheduled';"
        "INSERT INTO otn.audit (actor, action, campaign_id, detail)"
        """ SELECT 'bob', 'approved', id, '{"cap": 10, "late": false}' FROM otn.campaign"""
    )
    assert approvals.start_question(stage.engine, campaign) is None


def test_the_composers_own_yes_is_not_taken_and_anothers_is(stage: Stage) -> None:
    campaign = opened(stage).id  # anna's
    yes: dict[str, Any] = {"cap": 10, "content": asked(stage, campaign).content}
    for person, triggered_by in ((Person("Anna"), None), (Person("bob"), "bob"), (None, None)):
        voice = Voice(person, triggered_by, ANOTHER)
        with pytest.raises(YesNotTakenError):
            approvals.approve(stage.engine, campaign, actor="somebody", voice=voice, **yes)
    assert state_of(stage, campaign) == "awaiting_approval"
    opened(stage)  # the same again, by whomever: anna remains its author
    voice = Voice(Person("bob"), "anna", ANOTHER)
    approvals.approve(stage.engine, campaign, actor="bob", voice=voice, **yes)
    assert state_of(stage, campaign) == "scheduled"


def test_a_question_waits_until_a_yes_that_counts_or_a_no(stage: Stage) -> None:
    campaign = opened(stage).id
    assert waiting(stage, campaign) is None
    question = asked(stage, campaign)
    approvals.note_question(stage.engine, campaign, question, actor="anna (otn_broadcast m1)", by=HERE)
    found = waiting(stage, campaign)
    assert found is not None
    assert (found.actor, found.by, found.cap) == ("anna (otn_broadcast m1)", HERE, 10)
    assert found.content == question.content
    with pytest.raises(YesNotTakenError):
        approvals.approve(stage.engine, campaign, actor="x", cap=10, voice=Voice(Person("anna"), None, ANOTHER))
    assert waiting(stage, campaign) is not None
    approvals.reject(stage.engine, campaign, actor="anna", reason="rejected")
    assert waiting(stage, campaign) is None


@pytest.mark.parametrize(
    ("now", "fits"),
    [
        ({}, True),
        ({"expected": 11}, True),
        ({"expected": 12}, False),
        ({"content": "b"}, False),
        ({"kind": "late"}, False),
        ({"late": True}, False),
    ],
)
def test_what_was_shown_once_answers_only_the_same_question(stage: Stage, now: dict[str, Any], fits: bool) -> None:
    campaign = opened(stage).id
    first: dict[str, Any] = {"kind": "approval", "expected": 1, "cap": 11, "content": "a"}
    for question in (StartQuestion(**first), StartQuestion("over_cap", 50, 60)):
        approvals.note_question(stage.engine, campaign, question, actor="x", by=HERE)
    shown = approvals.asked_by(stage.engine, campaign, HERE)
    assert shown is not None
    assert shown.cap == 11
    assert shown.fits(StartQuestion(**first | now)) is fits
    assert approvals.asked_by(stage.engine, campaign, Asking("otn_broadcast", "m2", "approval")) is None
