"""Nobody gets a second card: not by two senders at once, not by a word said again, not by a doubtful answer."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from otn.asking import answers, ledger
from otn.asking.answers import Answer
from otn.asking.sending import Sender
from otn.database import queries, transaction
from otn.intake.ingest import ingest_pending
from otn.messenger.answers import read_send
from otn.messenger.errors import TOKEN_RULES
from otn.pace import Pace
from tests.asking.desk import QUICK, Desk
from tests.clean import database, emptied_url
from tests.responder.hand import echo, say, store

__all__ = ["database", "emptied_url"]


def claim(desk: Desk, *, asks: bool = False) -> list[ledger.Claimed]:
    return ledger.claim(desk.engine, desk.page_row, asks=asks, most=10, lease_s=60.0, sender="me").rows


def test_a_word_said_again_while_its_card_still_waits(desk: Desk) -> None:
    psid = desk.people()[0]
    desk.sql(
        "INSERT INTO otn.rule (page_id, key, trigger, pattern, topic_id) VALUES (%s, 'restock', 'word', 'restock', %s)",
        desk.page_row,
        desk.topic_row,
    )
    say(desk, psid, "restock")
    ingest_pending(desk.engine, desk.keyring)
    # The page was halted for two hours.
    desk.sql("UPDATE otn.window_message SET created_at = created_at - interval '2 hours'")
    say(desk, psid, "restock")
    ingest_pending(desk.engine, desk.keyring)
    desk.send()
    assert desk.seen() == {psid: 1}


def test_two_cards_of_one_kind_in_one_claim(desk: Desk) -> None:
    psid, other = desk.people(2)
    first, second, shoe, theirs = (
        desk.answer(psid),
        desk.answer(psid),
        desk.answer(psid, ref="shoe"),
        desk.answer(other),
    )
    assert {row.id for row in claim(desk)} == {first, shoe, theirs}
    assert desk.row(second).state == "waiting"
    assert claim(desk) == []
    assert (desk.row(second).state, desk.row(second).reason) == ("skipped", "asked_already")


def test_a_card_of_an_ask_and_one_of_a_rule_at_the_same_instant(desk: Desk) -> None:
    psid = desk.people()[0]
    opened = desk.open()
    desk.answer(psid)
    with transaction(desk.engine) as connection:
        held = [row.id for row in queries("window").hold(connection, page_id=desk.page_row, asks=False, most=1)]
        rows = list(queries("window").claim(connection, page_id=desk.page_row, ids=held, lease_s=60, sender="other"))
        assert len(rows) == 1
        assert claim(desk, asks=True) == [], "the other sender has not committed yet"
    assert claim(desk, asks=True) == []
    assert desk.report(opened)["skipped"] == {"asked_already": 1}


def test_whoever_just_got_a_card_is_not_asked(desk: Desk) -> None:
    psid, waits = desk.people(2)
    desk.answer(psid)
    desk.send()
    desk.answer(waits)
    assert desk.open().excluded == {"asked_already": 2}
    desk.send()
    desk.sql("UPDATE otn.window_message SET called_at = called_at - interval '61 minutes'")
    assert desk.open("an hour later").asked == 2


def test_a_throttle_that_had_effect_is_settled_by_the_echo_before_the_message_goes_again(desk: Desk) -> None:
    psid = desk.people()[0]
    row_id = desk.answer(psid)
    row = claim(desk)[0]
    throttled = Answer(row.id, row.attempt_id, "returned", reason="throttled", wait_s=60.0)
    ledger.record(desk.engine, desk.page_row, [throttled], sender="me")
    assert desk.row(row_id).state == "waiting"
    shown = {"mid": "m_1", "metadata": row.attempt_id, "at": datetime.now(UTC), "psid": psid}
    store(desk, echo(shown | {"page_id": desk.settings.page_id}))
    ingest_pending(desk.engine, desk.keyring)
    assert (desk.row(row_id).state, desk.row(row_id).evidence) == ("sent", "echo")
    desk.send()
    assert not desk.seen()


@pytest.mark.parametrize(
    ("status", "error", "outcome"),
    [
        (400, {"code": 1, "error_subcode": 99}, "unknown"),
        (400, {"code": 1, "error_subcode": 99, "is_transient": True}, "unknown"),
        (500, {"code": 613}, "unknown"),
        (400, {"code": 613}, "returned"),
        (400, {"code": 190}, "returned"),
        (400, {"code": 551}, "refused"),
    ],
)
def test_what_proves_that_nothing_was_sent(status: int, error: dict[str, Any], outcome: str) -> None:
    result = read_send(status, json.dumps({"error": error}), None, token_rules=TOKEN_RULES, secrets=())
    assert answers.from_result(1, "attempt", result).outcome == outcome


def test_campaigns_do_not_keep_an_answer_out_of_the_page_s_schedule(make_desk: Any) -> None:
    desk = make_desk(messages_per_second=30.0)
    desk.answer(desk.people()[0])
    Pace(desk.engine, desk.page_row, 30.0).take(12 * 30)
    sender = Sender(desk.engine, desk.client, desk.settings, desk.page_row, limits=QUICK)
    try:
        sender.dispatch(1, asks=True)
        assert sender.resting, "an ask has time"
        sender.dispatch(1)
        assert not sender.resting
    finally:
        sender.close()
    assert desk.states() == {"waiting": 1}
