from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from otn.campaign import calibrate as calibrations
from otn.campaign import control, dead_tokens, token_rules
from otn.campaign.calibrate import Bench, Calibration, NotCalibratedError
from otn.campaign.dead_tokens import Question
from otn.consent import pages, topics
from otn.database import transaction
from otn.messenger.client import MessengerClient, PageCredentials, SendResult
from otn.messenger.errors import Outcome, PlatformError, TokenFate, classify
from sandbox.tokens import ANSWERS
from tests.campaign.stage import QUICK, Stage
from tests.clean import database, emptied_url

__all__ = ["database", "emptied_url"]

VERSION = "v25.0"
HASTE = replace(QUICK, run_s=1)


@pytest.fixture(autouse=True)
def _answers_as_they_were(sandbox: Any) -> Iterator[None]:
    yield
    sandbox.token_answers(alike=False, **{kind: {**answer, "subcode": None} for kind, answer in ANSWERS.items()})


def bench(stage: Stage, client: MessengerClient | None = None) -> Bench:
    with transaction(stage.engine) as connection:
        page = pages.find(connection, "messenger_default")
    return Bench(stage.engine, client or stage.client, stage.keyring, stage.settings, page)


def calibrate(stage: Stage, psid: str, topic: str | None = None, /, **values: Any) -> Calibration:
    desk = bench(stage)
    with transaction(stage.engine) as connection:
        about = topics.find(connection, desk.page, topic) if topic else None
    return calibrations.calibrate(desk, psid, **{"actor": "test", "limits": QUICK, "topic": about, **values})


def learned(stage: Stage, version: str = VERSION) -> dict[str, int]:
    with transaction(stage.engine) as connection:
        rules = token_rules.load(connection, stage.page_row, version)
    return {rule.fate.value: rule.code for rule in rules if rule.message.startswith(r"\A")}


def calls(stage: Stage) -> list[dict[str, Any]]:
    return list(stage.sandbox.rows("calls", page_id=stage.settings.page_id))


def test_a_token_is_spent_once_and_two_answers_are_learnt(stage: Stage) -> None:
    staff, other = stage.opt_in(2)
    done = calibrate(stage, staff)
    assert done.learned, done
    assert set(done.answers) == {"used", "invalid"}
    assert stage.seen() == {staff: 1}
    assert learned(stage) == {"used": 100, "invalid": 100}
    assert learned(stage, "v26.0") == {}
    campaign = control.find(stage.engine, "messenger_default", done.campaign)
    figures = stage.report(campaign)
    assert (figures["state"], figures["sent"], figures["planned"]) == ("finished", 1, 1)
    assert done.campaign.startswith("calibration/20")
    everyone = stage.planned("spring")
    assert stage.report(everyone)["excluded"] == {"token_spent": 1}
    assert list(stage.states(everyone)) == [other]


def test_a_second_time_the_same_token_is_asked_about(stage: Stage) -> None:
    staff = stage.opt_in(1, (3, 3))[0]
    first, second = calibrate(stage, staff), calibrate(stage, staff)
    assert (first.learned, second.learned, first.campaign) == (True, True, second.campaign)
    assert stage.seen() == {staff: 1}
    assert stage.sql("SELECT count(*) FROM otn.recipient") == [(1,)]
    assert stage.sql("SELECT fate FROM otn.calibration ORDER BY 1") == [("invalid",), ("used",)]


def test_nothing_secret_is_kept(stage: Stage) -> None:
    staff = stage.opt_in(1)[0]
    token = next(iter(stage.sandbox.tokens(stage.settings.page_id)))["token"]
    stage.sandbox.token_answers(
        used={"message": f"(#100) {token} of {staff} was spent, trace AbC123dEf456GhI789 at 1767225600"},
    )
    done = calibrate(stage, staff)
    assert done.learned
    kept = json.dumps(stage.sql("SELECT pattern FROM otn.calibration")) + json.dumps(
        stage.sql("SELECT detail FROM otn.audit")
    )
    for secret in (token, staff, "AbC123dEf456GhI789", "1767225600"):
        assert secret not in kept
        assert secret not in json.dumps(dict(done.answers))
    with transaction(stage.engine) as connection:
        rules = token_rules.load(connection, stage.page_row, VERSION)
    later = PlatformError(
        100, message="(#100) [...] of 99887766554433 was spent, trace zZ9yyyyyyyyyyyyyy1 at 1798761600"
    )
    assert classify(later, token_rules=rules).token_fate is TokenFate.USED


def test_an_expired_token_that_is_still_there_is_asked_about_too(stage: Stage) -> None:
    staff = stage.opt_in(1, (2, 2))[0]
    (row,) = stage.sql("SELECT id, token_encrypted FROM otn.token ORDER BY id LIMIT 1")
    stage.sandbox.expire([stage.keyring.decrypt(bytes(row.token_encrypted), "token").decode()])
    stage.sql(
        "UPDATE otn.token SET opted_in_at = opted_in_at - interval '1 year', expires_at = now() - interval '1 day'"
        " WHERE id = %s",
        row.id,
    )
    done = calibrate(stage, staff)
    assert done.learned
    assert set(done.answers) == set(learned(stage)) == {"used", "invalid", "expired"}
    assert stage.seen() == {staff: 1}


def test_answers_that_are_alike_teach_nothing(stage: Stage) -> None:
    staff = stage.opt_in(1)[0]
    stage.sandbox.token_answers(alike=True)
    done = calibrate(stage, staff)
    assert not done.learned
    assert "cannot be told apart" in done.sentence
    assert learned(stage) == {}
    with transaction(stage.engine) as connection:
        assert token_rules.learned_at(connection, stage.page_row, VERSION) is None
    stage.sandbox.token_answers(alike=False)  # another day it may be otherwise: no second token is spent
    assert calibrate(stage, staff).learned
    assert stage.seen() == {staff: 1}


def test_what_was_learnt_stays_until_something_else_is(stage: Stage) -> None:
    staff = stage.opt_in(1)[0]
    calibrate(stage, staff)
    stage.sandbox.token_answers(alike=True)
    assert not calibrate(stage, staff).learned
    assert set(learned(stage)) == {"used", "invalid"}
    stage.sandbox.token_answers(alike=False, used={"code": 190_001, "message": "spent", "subcode": 7})
    assert calibrate(stage, staff).learned
    assert learned(stage) == {"used": 190_001, "invalid": 100}


def test_a_message_without_a_known_end_ends_it_and_no_other_token_is_spent(stage: Stage) -> None:
    staff = stage.opt_in(1, (2, 2))[0]
    stage.sandbox.faults(next=[{"kind": "drop_after"}])
    done = calibrate(stage, staff)
    assert not done.learned
    assert "Nobody knows" in done.sentence
    assert len(calls(stage)) == 1
    with pytest.raises(NotCalibratedError, match="An echo may settle it"):
        calibrate(stage, staff)
    assert len(calls(stage)) == 1
    # Its echo comes: it is sent, and the same token is asked about.
    stage.sql(
        "UPDATE otn.recipient SET state = 'sent', evidence = 'echo', message_id = 'm', sent_at = now(), unanswered = 0,"
        " reason = NULL, not_before = NULL"
    )
    assert calibrate(stage, staff).learned
    assert stage.seen() == {staff: 1}


def test_a_question_without_a_clear_answer_keeps_nothing_and_may_be_put_again(stage: Stage) -> None:
    staff = stage.opt_in(1)[0]

    def break_it(text: str) -> None:
        if "asking" in text:
            stage.sandbox.faults(next=[{"kind": "server_error"}])

    done = calibrate(stage, staff, stage=break_it)
    assert not done.learned, done
    assert "gave no clear answer" in done.sentence
    assert list(done.answers) == ["used"]  # nothing is asked after that
    assert learned(stage) == {}
    assert calibrate(stage, staff).learned
    assert stage.seen() == {staff: 1}


def test_a_platform_that_cannot_be_reached_costs_nothing_and_the_same_campaign_goes_on(stage: Stage) -> None:
    staff = stage.opt_in(1, (2, 2))[0]
    credentials = PageCredentials("http://127.0.0.1:9", stage.settings.page_id, "x")
    with MessengerClient(credentials, connect_timeout_s=0.2, read_timeout_s=0.2) as nobody:
        done = calibrations.calibrate(bench(stage, nobody), staff, actor="test", limits=HASTE)
    assert "Nothing was spent" in done.sentence
    stage.sql("UPDATE otn.recipient SET not_before = NULL")
    again = calibrate(stage, staff)
    assert (again.learned, again.campaign) == (True, done.campaign)
    assert stage.seen() == {staff: 1}


def test_a_person_who_blocked_the_page_teaches_nothing(stage: Stage) -> None:
    staff = stage.opt_in(1)[0]
    stage.sandbox.block(stage.settings.page_id, [staff])
    assert "refused the message" in calibrate(stage, staff).sentence
    assert learned(stage) == {}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("INSERT INTO otn.suppression (subscriber_id, reason) SELECT id, 'operator' FROM otn.subscriber", "no consent"),
        ("UPDATE otn.token SET token_encrypted = NULL, wiped_at = now()", "no consent"),
        ("UPDATE otn.subscriber SET psid = '1'", "no such person"),
        ("UPDATE otn.page SET halted_at = now(), halt_reason = 'a letter of Meta'", "a letter of Meta"),
    ],
)
def test_whoever_cannot_be_asked_is_named_and_nothing_is_written(stage: Stage, change: str, sentence: str) -> None:
    staff = stage.opt_in(1)[0]
    stage.sql(change)
    with pytest.raises(NotCalibratedError, match=sentence):
        calibrate(stage, staff)
    assert stage.sql("SELECT count(*) FROM otn.campaign") == [(0,)]
    assert calls(stage) == []


def test_the_topic_is_heeded(stage: Stage) -> None:
    staff = stage.opt_in(1)[0]
    stage.sql(
        "INSERT INTO otn.topic (page_id, key, title, payload, registered_at) VALUES (%s, 'x', 'X', 'x', now())",
        stage.page_row,
    )
    with pytest.raises(NotCalibratedError, match="no consent of the topic 'x'"):
        calibrate(stage, staff, "x")
    assert calibrate(stage, staff, "restock").learned


def test_senders_go_by_what_was_learnt(make_stage: Callable[..., Stage]) -> None:
    """Words that mean nothing to the table: a token spent elsewhere is known as used after a calibration only."""
    stage = make_stage()
    staff, *people = stage.opt_in(3)
    stage.sandbox.token_answers(used={"message": "(#100) Nope"}, invalid={"message": "(#100) Never heard of it"})

    def verdict() -> Any:
        with transaction(stage.engine) as connection:
            rules = token_rules.load(connection, stage.page_row, VERSION)
        return classify(PlatformError(100, message="(#100) Nope", http_status=400), token_rules=rules)

    assert verdict().token_fate is None
    assert calibrate(stage, staff).learned
    assert verdict().token_fate is TokenFate.USED

    credentials = PageCredentials(stage.settings.base_url, stage.settings.page_id, stage.settings.access_token)
    with transaction(stage.engine) as connection:
        rules = token_rules.load(connection, stage.page_row, VERSION)
    with MessengerClient(credentials, connect_timeout_s=5, read_timeout_s=10, token_rules=rules) as client:
        campaign = stage.planned("spring")
        stage.sandbox.faults(next=[{"kind": "drop_after"}])
        stage.send(campaign, client=client)
        stage.sql("UPDATE otn.recipient SET not_before = NULL WHERE state = 'unknown'")
        stage.client = client
        stage.reconcile(campaign)
    figures = stage.report(campaign)
    assert (figures["sent"], figures["unknown"]) == (2, 0)
    assert figures["sent_inferred"] >= 1
    assert stage.seen() == dict.fromkeys([staff, *people], 1)


# ── judging, without a platform


def question(fate: TokenFate, code: int | None = 100, message: str = "", **values: Any) -> Question:
    outcome = values.pop("outcome", Outcome.REFUSED)
    error = None if code is None else PlatformError(code, message=message, http_status=400, **values)
    return Question(fate, SendResult(outcome, error=error))


@pytest.mark.parametrize(
    ("used", "invalid", "sentence"),
    [
        (
            question(TokenFate.USED, message="spent"),
            question(TokenFate.INVALID, message="SPENT"),
            "cannot be told apart",
        ),
        (question(TokenFate.USED, None, outcome=Outcome.SENT), None, "a second time"),
        (question(TokenFate.USED, 551), None, "no clear answer"),
        (question(TokenFate.USED, 190), None, "no clear answer"),
        (question(TokenFate.USED, 613), None, "no clear answer"),
        (question(TokenFate.USED, 2**40), None, "no clear answer"),
        (question(TokenFate.USED, None, outcome=Outcome.UNKNOWN), None, "no clear answer"),
        (
            question(TokenFate.USED, message="spent"),
            question(TokenFate.INVALID, None, outcome=Outcome.SENT),
            "for a good one",
        ),
    ],
)
def test_what_proves_nothing_is_not_kept(used: Question, invalid: Question | None, sentence: str) -> None:
    rules, said = dead_tokens.judge([one for one in (used, invalid) if one])
    assert rules == {}
    assert sentence in said


@pytest.mark.parametrize(
    ("used", "invalid"),
    [
        ("is invalid", "is invalid or expired"),
        ("is invalid or used", "is invalid"),
        ("", "gone"),
        ("a (b [c", "a (b [d"),
        ("line\nend", "line"),
    ],
)
def test_answers_that_differ_in_anything_are_told_apart(used: str, invalid: str) -> None:
    asked = [question(TokenFate.USED, message=used), question(TokenFate.INVALID, message=invalid)]
    rules, said = dead_tokens.judge(asked)
    assert set(rules) == {TokenFate.USED, TokenFate.INVALID}, said
    assert [one.is_known_by(list(rules.values())) for one in asked] == [TokenFate.USED, TokenFate.INVALID]


def test_a_garbled_token_has_the_shape_of_a_token_and_no_letter_of_it() -> None:
    token = "Ab9-zZ0_xY1"
    other = dead_tokens.garbled(token)
    assert len(other) == len(token)
    assert all(a != b for a, b in zip(token, other, strict=True) if a.isalnum())
    assert [char.isdigit() for char in other] == [char.isdigit() for char in token]
