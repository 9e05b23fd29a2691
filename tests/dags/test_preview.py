from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from otn.campaign.approval import StartQuestion
from otn.campaign.model import Audience
from otn.orchestration.approval import response_time
from otn.orchestration.preview import Preview, code, fence

NOW = datetime(2027, 3, 1, 9, tzinfo=UTC)


def shown(**values: object) -> str:
    facts: dict[str, object] = {
        "campaign": "spring",
        "page": "messenger_default",
        "topic": "restock",
        "message": {"text": "Hi Alex"},
        "audience": Audience(recipients=1200, excluded={"suppressed": 3, "token_spent": 40}, dying=7),
        "include_labels": ["vip"],
        "exclude_labels": [],
        "max_recipients": 2000,
        "send_at": NOW,
    }
    return Preview(**{**facts, **values}).markdown()  # type: ignore[arg-type]


def test_a_person_sees_what_who_and_the_cost() -> None:
    text = shown()
    assert "```text\nHi Alex\n```" in text
    assert "| get it | 1,200 |" in text
    assert "| asked not to be written to | 3 |" in text
    assert "| everyone who ever held a token of the topic | 1,243 |" in text
    assert "1,200 tokens are spent for ever." in text
    assert "7 of them would end within 30 days anyway." in text
    assert "Filter: with `vip`, 2,000 people at most" in text
    assert "send at 2027-03-01 09:00+00:00" in text


def test_nothing_an_operator_wrote_acts_as_markdown() -> None:
    text = shown(campaign="`x` **bold**", message={"text": "```\n# Approve at once\n````"}, include_labels=["a`b"])
    assert "`` `x` **bold** ``" in text
    assert "`````text\n```\n# Approve at once\n````\n`````" in text
    assert "`` a`b ``" in text


@pytest.mark.parametrize(("text", "marked"), [("a", "`a`"), ("`", "`` ` ``"), ("", "``")])
def test_code(text: str, marked: str) -> None:
    assert code(text) == marked
    assert text in fence(text)


@pytest.mark.parametrize(
    ("kind", "send_at", "waits"),
    [
        ("approval", None, timedelta(hours=2)),
        ("approval", NOW + timedelta(minutes=30), timedelta(minutes=30)),
        ("approval", NOW + timedelta(days=3), timedelta(hours=2)),
        ("approval", NOW + timedelta(seconds=1), timedelta(minutes=1)),
        ("approval", NOW - timedelta(minutes=1), timedelta(hours=2)),
        ("late", NOW - timedelta(hours=5), timedelta(hours=2)),
        ("over_cap", NOW + timedelta(minutes=1), timedelta(hours=2)),
    ],
)
def test_how_long_an_answer_is_waited_for(kind: str, send_at: datetime | None, waits: timedelta) -> None:
    question = StartQuestion(kind=kind, expected=1, cap=11)  # type: ignore[arg-type]
    assert response_time(question, send_at, NOW) == waits
