from __future__ import annotations

import pytest

from otn.campaign import ledger
from otn.campaign.answers import Answer
from otn.campaign.stop_rules import Window
from tests.campaign.stage import Stage
from tests.clean import database, emptied_url

__all__ = ["database", "emptied_url"]

BLOCKED = "551/1893047"
CONTENT = "100/2018047"


def window(letters: str, max_refused: float = 0.5) -> Window:
    made = Window(max_refused)
    for letter in letters:
        made.add(letter)
    return made


def test_nothing_answered_is_no_reason() -> None:
    assert Window(0.5).reason() is None


@pytest.mark.parametrize(
    ("sent", "refused", "max_refused", "halts"),
    [
        (0, 199, 0.5, False),  # fewer than 200 answers say too little
        (0, 200, 0.5, True),
        (100, 100, 0.5, False),  # exactly at the limit is within it
        (99, 101, 0.5, True),
        (198, 2, 0.01, False),
        (197, 3, 0.01, True),
        (0, 10_000, 1.0, False),  # switched off
        (6_000, 4_000, 0.5, False),
        (4_999, 5_001, 0.5, True),
    ],
)
def test_refusals_above_the_share_halt_after_200_answers(
    sent: int, refused: int, max_refused: float, halts: bool
) -> None:
    reason = window("s" * sent + "r" * refused, max_refused).reason()
    assert (reason is not None) == halts
    if reason:
        assert f"{refused} of {sent + refused} people" in reason
        assert "max_refused" in reason
        assert "trigger the campaign again" in reason


@pytest.mark.parametrize(
    ("letters", "halts"),
    [
        ("u" * 199, False),
        ("s" * 100 + "u" * 100, False),  # exactly half
        ("s" * 99 + "u" * 101, True),
        ("u" * 101 + "s" * 99, True),
        ("u" * 101 + "s" * 100, False),  # the oldest one fell out of the window
        ("s" * 5_000 + "u" * 101, True),  # a long good past does not hide it
        ("us" * 200, False),
    ],
)
def test_unclear_answers_above_half_of_the_last_200_halt(letters: str, halts: bool) -> None:
    reason = window(letters).reason()
    assert (reason is not None) == halts
    if reason:
        assert "of the last 200 calls" in reason


@pytest.mark.parametrize(
    ("answers", "halts"),
    [
        ([("r", CONTENT)] * 9, False),
        ([("r", CONTENT)] * 10, True),
        ([("r", CONTENT)] * 9 + [("s", None)] + [("r", CONTENT)] * 9, False),
        ([("r", CONTENT)] * 9 + [("r", None)] + [("r", CONTENT)], True),  # a blocked person says nothing about content
        ([("r", CONTENT)] * 9 + [("r", "100/-")], False),  # another error begins anew
        ([("r", CONTENT), ("r", "100/-")] * 10, False),
        ([("r", "100/-")] * 3 + [("r", CONTENT)] * 10, True),
        ([("r", CONTENT)] * 5 + [("u", None)] * 7 + [("r", CONTENT)] * 5, True),  # no answer says nothing about content
    ],
)
def test_ten_equal_content_errors_in_a_row_halt(answers: list[tuple[str, str | None]], halts: bool) -> None:
    made = Window(1.0)
    for letter, error in answers:
        made.add(letter, error)
    reason = made.reason()
    assert (reason is not None) == halts
    if reason:
        assert CONTENT in reason
        assert "new key" in reason


def test_the_window_keeps_200_letters_and_counts_everything() -> None:
    made = window("s" * 300 + "r" * 50)
    assert (made.answered, made.refused, len(made.recent)) == (350, 50, 200)
    assert made.recent == "s" * 150 + "r" * 50


def claimed(stage: Stage, campaign: int, most: int) -> list[ledger.Claimed]:
    return ledger.claim(stage.engine, ledger.WaitingChunk(campaign, 1), most=most, lease_s=60, sender="me").rows


def refuse(rows: list[ledger.Claimed], error: str | None = None) -> list[Answer]:
    return [
        Answer(row.subscriber_id, row.attempt_id, "refused", error_code=551, content_error=error, retry_worth=True)
        for row in rows
    ]


def test_the_window_goes_on_from_slice_to_slice(stage: Stage) -> None:
    stage.opt_in(20)
    campaign = stage.planned()
    first = ledger.record(stage.engine, campaign, refuse(claimed(stage, campaign, 6), CONTENT), sender="me")
    assert (first.state, first.window.content_run) == ("sending", 6)
    second = ledger.record(stage.engine, campaign, refuse(claimed(stage, campaign, 4), CONTENT), sender="other")
    assert (second.state, second.window.content_run) == ("halted", 10)
    assert claimed(stage, campaign, 20) == []
    assert stage.report(campaign)["waiting"] == 10


def test_answers_that_were_logged_already_and_calls_never_made_do_not_count(stage: Stage) -> None:
    stage.opt_in(12)
    campaign = stage.planned()
    answers = refuse(claimed(stage, campaign, 4), CONTENT)
    for _ in range(3):
        ledger.record(stage.engine, campaign, answers, sender="me")
    rows = claimed(stage, campaign, 8)
    not_made = [Answer(row.subscriber_id, row.attempt_id, "returned", called=False) for row in rows]
    ledger.record(stage.engine, campaign, not_made, sender="me")
    assert stage.sql("SELECT answered, refused, recent, content_run FROM otn.campaign") == [(4, 4, "rrrr", 4)]


def test_the_share_halts_at_the_edge_and_a_person_begins_anew(stage: Stage) -> None:
    stage.opt_in(205)
    campaign = stage.planned(max_refused=1.0)
    stage.sql("UPDATE otn.campaign SET max_refused = 0.99")
    ledger.record(stage.engine, campaign, refuse(claimed(stage, campaign, 199)), sender="me")
    assert stage.report(campaign)["state"] == "sending"
    ledger.record(stage.engine, campaign, refuse(claimed(stage, campaign, 1)), sender="me")
    figures = stage.report(campaign)
    assert figures["state"] == "halted"
    assert figures["halt_reason"].startswith("200 of 200 people were refused")
    assert figures["waiting"] == 5
    stage.planned(max_refused=1.0)  # triggered again
    assert stage.sql("SELECT state::text, answered, refused, recent, halt_reason FROM otn.campaign") == [
        ("sending", 0, 0, "", None)
    ]
    ledger.record(stage.engine, campaign, refuse(claimed(stage, campaign, 5)), sender="me")
    assert stage.report(campaign)["state"] == "sending"


def test_a_page_that_is_refused_halts_campaign_and_page_with_the_reason(stage: Stage) -> None:
    stage.opt_in(6)
    campaign, other = stage.planned(max_recipients=3), stage.planned("other")
    answer = [Answer(row.subscriber_id, row.attempt_id, "returned") for row in claimed(stage, campaign, 1)]
    ledger.record(stage.engine, campaign, answer, sender="me", page_reason="190: token dead")
    figures = stage.report(campaign)
    assert (figures["state"], figures["halt_reason"], figures["waiting"]) == ("halted", "190: token dead", 3)
    assert stage.sql("SELECT halt_reason FROM otn.page") == [("190: token dead",)]
    assert stage.report(other)["waiting"] == 3
    assert claimed(stage, other, 5) == []


def test_a_campaign_that_a_person_stopped_is_not_halted_over_it(stage: Stage) -> None:
    stage.opt_in(10)
    campaign = stage.planned()
    rows = claimed(stage, campaign, 10)
    stage.sql("UPDATE otn.campaign SET state = 'paused'")
    ledger.record(stage.engine, campaign, refuse(rows, CONTENT), sender="me")
    assert stage.sql("SELECT state::text, halt_reason FROM otn.campaign") == [("paused", None)]
