"""The page of a campaign that waits for a yes."""

from __future__ import annotations

from collections.abc import Callable

from fastapi.testclient import TestClient

from otn.campaign import approval as approvals
from otn.campaign.approval import Asking
from otn.campaign.approvers import Approvers, Person, Voice
from tests.console.shop import Shop
from tests.console.test_campaign import text_of

Visit = Callable[..., TestClient]

RUN = 'manual__2027-03-01T09:00:00+00:00/<b>"'


def test_the_page_says_who_asks_since_when_about_what_and_where_to_answer(visit: Visit, shop: Shop) -> None:
    shop.opt_in("restock", 3)
    campaign = shop.campaign("spring", approval=True)
    vera = visit("viewer", "vera")
    link = "required_actions?response_received=false"
    assert link in vera.get(f"/campaigns/{campaign}").text  # nobody has asked yet
    question = approvals.start_question(shop.engine, campaign)
    assert question is not None
    by = Asking("otn_broadcast", RUN, "approval")
    approvals.note_question(shop.engine, campaign, question, actor="<i>bob</i> (otn_broadcast x)", by=by)
    page = vera.get(f"/campaigns/{campaign}")
    text = text_of(page.text)
    run = "manual__2027-03-01T09%3A00%3A00%2B00%3A00%2F%3Cb%3E%22"
    path = f"/dags/otn_broadcast/runs/{run}/tasks/approval/required_actions"
    assert f'href="{path}"' in page.text
    assert link in page.text
    assert "<i>bob" not in page.text
    assert "by the run of &lt;i&gt;bob&lt;/i&gt;" in text
    assert "Composed byann" in text
    assert "up to 13 people" in text
    assert question.content in page.text
    assert "It was changed since" not in text
    assert "Asked for a yes for up to 13 people." in text


def test_a_yes_that_did_not_count_is_told_and_the_question_stays(visit: Visit, shop: Shop) -> None:
    shop.opt_in("restock", 3)
    campaign = shop.campaign("spring", approval=True)
    question = approvals.start_question(shop.engine, campaign)
    assert question is not None
    by = Asking("otn_broadcast", "m1", "approval")
    approvals.note_question(shop.engine, campaign, question, actor="ann (otn_broadcast m1)", by=by)
    ann = visit("user", "ann")
    try:
        voice = Voice(Person("ann"), "ann", Approvers(another=True))
        approvals.approve(shop.engine, campaign, actor="ann", cap=13, voice=voice)
    except approvals.YesNotTakenError:
        text = text_of(ann.get(f"/campaigns/{campaign}/live").text)
    assert "ann: Said yes, which did not count: ann composed or triggered it, and another person must say yes." in text
    assert "up to 13 people" in text
    approvals.approve(shop.engine, campaign, actor="bob", cap=13)
    assert 'id="question"' not in ann.get(f"/campaigns/{campaign}/live").text


def test_content_that_changed_since_the_question_is_said(
    visit: Visit, shop: Shop, write: Callable[..., object]
) -> None:
    campaign = shop.campaign("spring", approval=True)
    question = approvals.start_question(shop.engine, campaign)
    assert question is not None
    by = Asking("otn_broadcast", "m1", "approval")
    approvals.note_question(shop.engine, campaign, question, actor="ann (otn_broadcast m1)", by=by)
    write("UPDATE otn.topic SET key = 'other' WHERE key = 'restock'")
    text = text_of(visit("viewer", "vera").get(f"/campaigns/{campaign}").text)
    assert "It was changed since" in text
