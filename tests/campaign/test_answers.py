from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from otn.campaign.answers import Answer, from_result, not_called
from otn.messenger.client import SendResult
from otn.messenger.errors import ERROR_TABLE, Outcome, PlatformError, TokenFate, Verdict, classify

ATTEMPT = "11111111-1111-1111-1111-111111111111"


def answer(outcome: Outcome, *, code: int | None = None, **values: Any) -> Answer:
    verdict = Verdict(outcome, token_fate=values.pop("token_fate", None), retry_worth=values.pop("retry_worth", False))
    error = PlatformError(code=code, subcode=values.pop("subcode", None)) if code is not None else None
    return from_result(7, ATTEMPT, SendResult(outcome, error=error, verdict=verdict if error else None, **values))


def test_an_acceptance_with_its_message_id_is_sent() -> None:
    got = answer(Outcome.SENT, message_id="m_1", http_status=200)
    assert (got.outcome, got.message_id, got.http_status, got.letter("sent")) == ("sent", "m_1", 200, "s")
    assert (got.subscriber_id, got.attempt_id, got.error_code) == (7, ATTEMPT, None)


@pytest.mark.parametrize("message_id", [None, ""])
def test_an_acceptance_without_message_id_proves_nothing(message_id: str | None) -> None:
    got = answer(Outcome.SENT, message_id=message_id, http_status=200)
    assert (got.outcome, got.reason, got.letter("unknown")) == ("unknown", "no_answer", "u")


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.CONTENT])
def test_a_refusal_without_code_proves_nothing(outcome: Outcome) -> None:
    assert answer(outcome).outcome == "unknown"


def test_a_refused_person_keeps_the_token() -> None:
    got = answer(Outcome.REFUSED, code=551, subcode=1893047, retry_worth=True, http_status=400)
    assert (got.outcome, got.error_code, got.error_subcode) == ("refused", 551, 1893047)
    assert (got.letter("refused"), got.letter(None)) == ("r", "r")
    assert (got.retry_worth, got.token_refused, got.token_used, got.content_error) == (True, False, False, None)


@pytest.mark.parametrize(
    ("fate", "may_mean_used"),
    [
        (TokenFate.USED, True),
        (TokenFate.UNDISTINGUISHED, True),
        (TokenFate.INVALID, False),
        (TokenFate.EXPIRED, False),
    ],
)
def test_a_refused_token_is_dead_and_what_it_can_mean_is_kept(fate: TokenFate, may_mean_used: bool) -> None:
    got = answer(Outcome.REFUSED, code=100, token_fate=fate)
    assert (got.outcome, got.token_refused, got.token_used) == ("refused", True, may_mean_used)


def test_a_content_error_is_told_apart_by_code_and_subcode() -> None:
    assert answer(Outcome.CONTENT, code=100, subcode=2018047).content_error == "100/2018047"
    assert answer(Outcome.CONTENT, code=100).content_error == "100/-"
    assert answer(Outcome.REFUSED, code=100).content_error is None


@pytest.mark.parametrize("outcome", [Outcome.PAGE_HALTED, Outcome.THROTTLED, Outcome.TRANSIENT])
def test_a_refusal_of_the_page_leaves_the_person_waiting(outcome: Outcome) -> None:
    got = answer(outcome, code=613, wait_s=12.0, http_status=400)
    assert (got.outcome, got.reason, got.wait_s, got.error_code) == ("returned", outcome.value, 12.0, 613)
    assert (got.letter("waiting"), got.skip, got.token_refused) == (None, False, False)


def test_an_unreachable_platform_leaves_the_person_waiting() -> None:
    assert answer(Outcome.TRANSIENT, reason="connection_refused").outcome == "returned"


@pytest.mark.parametrize(("reason", "kept"), [("timeout", "timeout"), (None, "no_answer"), ("null_item", "null_item")])
def test_no_answer_is_unknown_with_its_reason(reason: str | None, kept: str) -> None:
    got = answer(Outcome.UNKNOWN, reason=reason)
    assert (got.outcome, got.reason, got.letter("unknown"), got.message_id) == ("unknown", kept, "u", None)


def test_an_error_although_sent_is_unknown_with_its_code() -> None:
    got = answer(Outcome.UNKNOWN, code=1, subcode=1357046, http_status=500)
    assert (got.outcome, got.error_code, got.error_subcode) == ("unknown", 1, 1357046)


@pytest.mark.parametrize("skip", [False, True])
def test_a_call_that_was_not_made_is_returned_and_does_not_count(skip: bool) -> None:
    got = not_called(7, ATTEMPT, "lease_lost_before_call", skip=skip)
    assert (got.outcome, got.reason, got.skip) == ("returned", "lease_lost_before_call", skip)
    assert (got.letter("waiting"), got.letter("sent")) == (None, None)


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_of_the_client_has_an_answer(outcome: Outcome) -> None:
    got = answer(outcome, code=100, message_id="m_1" if outcome is Outcome.SENT else None)
    assert got.outcome in {"sent", "refused", "returned", "unknown"}


@pytest.mark.parametrize("rule", ERROR_TABLE, ids=lambda rule: f"{rule.code}/{rule.subcode}")
def test_every_row_of_the_error_table_has_an_answer_that_proves_no_more_than_it_says(rule: Any) -> None:
    error = PlatformError(code=rule.code, subcode=rule.subcode, http_status=400)
    verdict = classify(error, token_rules=())
    got = from_result(7, ATTEMPT, SendResult(verdict.outcome, error=error, verdict=verdict, http_status=400))
    expected = {
        Outcome.REFUSED: "refused",
        Outcome.CONTENT: "refused",
        Outcome.PAGE_HALTED: "returned",
        Outcome.THROTTLED: "returned",
        Outcome.TRANSIENT: "returned",
        Outcome.UNKNOWN: "unknown",
    }
    assert got.outcome == expected[verdict.outcome]
    assert got.message_id is None


def test_a_refusal_that_settled_the_row_as_sent_is_none_to_the_stop_rules() -> None:
    got = answer(Outcome.REFUSED, code=100, token_fate=TokenFate.USED)
    assert (got.letter("sent"), got.letter("refused")) == ("s", "r")


def test_what_goes_into_the_ledger_is_plain_json_with_the_age_of_the_answer() -> None:
    got = answer(Outcome.REFUSED, code=551, retry_worth=True)
    row = got.row()
    assert json.loads(json.dumps(row)) == row
    assert not {"content_error", "at"} & set(row)
    older = replace(got, at=got.at - 5).row()["age_s"]
    assert 5 <= older < 5 + 60
    assert replace(got, at=got.at + 1_000).row()["age_s"] == 0.0
