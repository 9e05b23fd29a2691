from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

from otn.asking import ledger
from otn.asking.answers import Answer
from otn.asking.sending import Limits, Sender
from otn.database import queries, transaction
from otn.messenger.client import MessengerClient, PageCredentials
from tests.asking.desk import QUICK, Desk
from tests.awaiting import eventually
from tests.clean import database, emptied_url

__all__ = ["database", "emptied_url"]

HELLO = {"text": 'Hello {{ first_name | default("you") }}'}


def claim(desk: Desk, **values: Any) -> ledger.Claimed:
    arguments: dict[str, Any] = {"asks": False, "most": 1, "lease_s": 60.0, "sender": "me", **values}
    return ledger.claim(desk.engine, desk.page_row, **arguments).rows[0]


def attempts(desk: Desk, row_id: int) -> list[tuple[str, str | None]]:
    rows = desk.sql("SELECT step, outcome FROM otn.window_attempt WHERE window_message_id = %s ORDER BY at", row_id)
    return [tuple(row) for row in rows]


def test_a_card_goes_as_it_stands_and_a_message_carries_the_name(desk: Desk) -> None:
    psid = desk.people()[0]
    card, message = desk.answer(psid), desk.answer(psid, HELLO)
    assert desk.send().states == {"sent": 2}
    by_id = {row["metadata"]: row for row in desk.sandbox.ledger(desk.settings.page_id)}
    sent_card = by_id[str(desk.row(card).attempt_id)]
    assert sent_card["message"]["attachment"]["payload"]["payload"] == "restock"
    assert by_id[str(desk.row(message).attempt_id)]["text"] == "Hello P0"
    assert desk.row(card).message_id == sent_card["mid"]
    assert attempts(desk, card) == [("intent", None), ("answer", "sent")]
    assert desk.send().states == {}


def test_a_payload_that_looks_like_a_template_stays_as_it_is(desk: Desk) -> None:
    psid = desk.people()[0]
    payload = '{"topic":"{{ 7 * 7 }}","ref":"{% shoe %}"}'
    card = {"attachment": {"type": "template", "payload": {
        "template_type": "one_time_notif_req", "title": "{{ first_name }}", "payload": payload}}}  # fmt: skip
    desk.answer(psid, card, card=True, topic_id=desk.topic_row)
    desk.send()
    shown = desk.sandbox.ledger(desk.settings.page_id)
    assert [row["message"]["attachment"]["payload"]["payload"] for row in shown] == [payload]


@pytest.mark.parametrize(
    "message", [{"text": "Hi {{ first_name"}, {"text": "{{ last_name }}"}, {"text": "x" * 2001}, {"nothing": 1}]
)
def test_what_cannot_be_written_for_a_person_is_skipped_and_says_why(desk: Desk, message: dict[str, Any]) -> None:
    row_id = desk.answer(desk.people()[0], message)
    assert desk.send().states == {"skipped": 1}
    row = desk.row(row_id)
    assert (row.attempts, row.called_at) == (0, None)
    assert row.reason in {"message_not_valid", "personal_field_missing"}
    assert not desk.seen()


@pytest.mark.parametrize(
    "fault",
    ["server_error", "server_error_after", "drop", "drop_after", "sent_but_error", "garbage_after", "html_after"],
)
def test_a_call_without_a_clear_end_stays_unknown_and_is_never_made_again(desk: Desk, fault: str) -> None:
    psid = desk.people()[0]
    row_id = desk.answer(psid)
    desk.fault(fault)
    assert desk.send().states == {"unknown": 1}
    assert desk.row(row_id).reason
    desk.sql("UPDATE otn.window_message SET not_before = NULL")
    assert desk.send().states == {}
    assert desk.seen()[psid] <= 1
    assert attempts(desk, row_id) == [("intent", None), ("answer", "unknown")]


def test_what_is_proven_without_effect_waits_and_goes_out_later(desk: Desk) -> None:
    psid = desk.people()[0]
    row_id = desk.answer(psid)
    nobody = PageCredentials("http://127.0.0.1:9", desk.settings.page_id, desk.settings.access_token)
    with MessengerClient(nobody, connect_timeout_s=0.3, read_timeout_s=0.3) as client:
        result = desk.send(client=client)
    assert (result.states, desk.row(row_id).state) == ({"waiting": 1}, "waiting")
    assert result.wait_s is not None
    assert 0 < result.wait_s <= 6
    desk.sql("UPDATE otn.window_message SET not_before = NULL")
    assert desk.send().states == {"sent": 1}
    assert desk.seen() == {psid: 1}


def test_a_throttle_holds_the_page_back_and_the_message_waits_as_long(desk: Desk) -> None:
    psid = desk.people()[0]
    row_id = desk.answer(psid)
    desk.fault("throttle", seconds=120, minutes=2)
    assert desk.send().states == {"waiting": 1}
    ahead = desk.sql(
        "SELECT extract(epoch FROM next_at - clock_timestamp()) FROM otn.pace WHERE page_id = %s", desk.page_row
    )
    assert ahead[0][0] > 60
    row = desk.row(row_id)
    assert (row.reason, row.not_before > row.updated_at) == ("throttled", True)
    assert desk.send().states == {}


def test_a_refusal_ends_it_and_an_unreachable_person_is_left_out_of_later_asks(desk: Desk) -> None:
    blocked, other = desk.people(2)
    desk.sandbox.block(desk.settings.page_id, [blocked], family="551")
    row_id = desk.answer(blocked)
    assert desk.send().states == {"refused": 1}
    assert (desk.row(row_id).error_code, desk.row(row_id).reason) == (551, None)
    counted = desk.open()
    assert (counted.asked, counted.excluded) == (1, {"unreachable": 1})
    desk.sandbox.unblock(desk.settings.page_id, [blocked])
    desk.answer(blocked, {"text": "Hi"})
    desk.send()
    assert desk.sql("SELECT count(*) FROM otn.suppression")[0][0] == 0
    assert desk.seen() == {blocked: 1, other: 1}


def test_a_refused_page_is_halted_and_everything_waits(desk: Desk) -> None:
    for psid in desk.people(3):
        desk.answer(psid)
    desk.sandbox.page(desk.settings.page_id, dead=463)
    desk.send()
    assert desk.states() == {"waiting": 3}
    assert "190" in desk.page.halt_reason
    assert "otn pages resume" in desk.page.halt_reason
    assert desk.sql("SELECT action FROM otn.audit") == [("page halted",)]
    desk.sandbox.page(desk.settings.page_id, dead=None)
    halted = desk.send()
    assert (halted.states, halted.wait_s) == ({}, None)
    desk.sql("UPDATE otn.page SET halted_at = NULL, halt_reason = NULL")
    desk.sql("UPDATE otn.window_message SET not_before = NULL")
    assert desk.send().states == {"sent": 3}


def test_the_window_closed_meanwhile(desk: Desk) -> None:
    late = desk.answer(desk.people()[0], ago="23 hours 59 minutes")
    desk.sql("UPDATE otn.window_message SET not_after = clock_timestamp()")
    assert desk.row(late).state == "waiting"
    desk.send()
    assert (desk.row(late).state, desk.row(late).reason) == ("skipped", "window_closed")
    assert not desk.seen()


def test_a_window_that_closes_on_a_halted_page_is_written_down_too(desk: Desk) -> None:
    late = desk.answer(desk.people()[0])
    desk.sql("UPDATE otn.page SET halted_at = now(), halt_reason = 'test'")
    desk.sql("UPDATE otn.window_message SET not_after = clock_timestamp()")
    desk.send()
    assert (desk.row(late).state, desk.row(late).reason) == ("skipped", "window_closed")


def test_a_stop_word_between_the_message_and_its_answer_is_obeyed_and_confirmed(desk: Desk) -> None:
    psid, other = desk.people(2)
    answer = desk.answer(psid, ago="10 s")
    desk.stop(psid, ago="5 s")
    confirmed = desk.answer(psid, {"text": "You will hear no more."}, cause="stop", ago="5 s")
    asked_after = desk.answer(psid, {"text": "We open at nine."}, ago="0 s")
    about_another_topic = desk.answer(other, {"text": "Hi"}, ago="10 s")
    desk.stop(other, topic=desk.topic_row, ago="5 s")
    desk.send()
    assert (desk.row(answer).state, desk.row(answer).reason) == ("skipped", "suppressed")
    assert desk.row(confirmed).state == "sent"
    assert desk.row(asked_after).state == "sent", "whoever writes after the stop is answered"
    assert desk.row(about_another_topic).state == "sent"


def test_what_an_operator_silenced_stays_silent_and_the_erased_too(desk: Desk) -> None:
    psid, gone = desk.people(2)
    silent, erased = desk.answer(psid), desk.answer(gone)
    desk.sql(
        "INSERT INTO otn.suppression (subscriber_id, reason) SELECT id, 'operator' FROM otn.subscriber WHERE psid = %s",
        psid,
    )
    desk.sql(
        "UPDATE otn.subscriber SET erased_at = now(), psid = NULL, first_name = NULL WHERE psid = %s",
        gone,
    )
    desk.send()
    assert (desk.row(silent).reason, desk.row(erased).reason) == ("suppressed", "erased")
    assert not desk.seen()


def test_a_card_is_not_sent_to_whoever_opted_in_meanwhile(desk: Desk) -> None:
    psid = desk.people()[0]
    card = desk.answer(psid)
    other_ref = desk.answer(psid, ref="shoe-2")
    desk.token(psid, ref="shoe-1")
    desk.send()
    assert (desk.row(card).state, desk.row(card).reason) == ("skipped", "has_token")
    assert desk.row(other_ref).state == "sent", "the consent about one product is none about another"


def test_two_senders_at_once_send_each_message_once(desk: Desk) -> None:
    people = desk.people(40)
    for psid in people:
        desk.answer(psid)
    threads = [threading.Thread(target=desk.send) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert desk.states() == {"sent": 40}
    assert desk.seen() == dict.fromkeys(people, 1)


def test_answers_go_before_asks(desk: Desk) -> None:
    psid, other = desk.people(2)
    desk.open()
    desk.answer(psid, {"text": "Hi"})
    desk.send(limits=replace(QUICK, threads=1, most_per_call=1))
    shown = [row["kind"] for row in desk.sandbox.ledger(desk.settings.page_id)]
    assert shown == ["text", "one_time_notif_req", "one_time_notif_req"]
    assert desk.seen() == {psid: 2, other: 1}


def test_an_asked_person_who_got_a_card_meanwhile_gets_no_second_one(desk: Desk) -> None:
    psid = desk.people()[0]
    opened = desk.open()
    desk.answer(psid)
    desk.send()
    assert desk.report(opened)["skipped"] == {"asked_already": 1}
    assert desk.seen() == {psid: 1}


def test_the_page_s_pace_is_kept(make_desk: Any) -> None:
    desk = make_desk(messages_per_second=20.0)
    for psid in desk.people(30):
        desk.answer(psid)
    desk.sandbox.call("DELETE", "pace")
    desk.send()
    assert desk.states() == {"sent": 30}
    measured = desk.sandbox.call("GET", "pace")[desk.settings.page_id]
    assert measured["most_accepted_in_1s"] <= 20 + 2


def test_a_lost_lease_is_unknown_whatever_comes_but_an_acceptance(desk: Desk) -> None:
    ids = [desk.answer(psid) for psid in desk.people(3)]
    rows = {row.id: row for row in (claim(desk) for _ in ids)}
    desk.sql("UPDATE otn.window_message SET lease_until = clock_timestamp()")
    with transaction(desk.engine) as connection:
        queries("window").expire_leases(connection)
    assert desk.states() == {"unknown": 3}
    late = [Answer(ids[0], rows[ids[0]].attempt_id, "sent", message_id="m_late"),
            Answer(ids[1], rows[ids[1]].attempt_id, "refused", error_code=551),
            Answer(ids[2], rows[ids[2]].attempt_id, "returned", reason="throttled")]  # fmt: skip
    for _ in range(2):
        ledger.record(desk.engine, desk.page_row, late, sender="me")
    assert [desk.row(one).state for one in ids] == ["sent", "unknown", "unknown"]
    assert desk.row(ids[0]).evidence == "answer"
    assert desk.send().states == {}
    assert not desk.seen()


def test_a_process_that_slept_over_its_lease_calls_nobody(desk: Desk) -> None:
    row_id = desk.answer(desk.people()[0])
    assert desk.send(limits=Limits(lease_s=1.0, call_s=2.0)).states == {"waiting": 1}
    row = desk.row(row_id)
    assert (row.reason, row.attempts) == ("not_called", 0)
    assert not desk.seen()


def test_what_was_claimed_is_called_though_the_permits_left_cannot_be_given_back(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    row_id = desk.answer(desk.people()[0])
    monkeypatch.setattr(queries("pace"), "give_back", lambda connection, **_: connection.cursor().execute("SELECT 1/0"))
    with Sender(desk.engine, desk.client, desk.settings, desk.page_row, limits=Limits(threads=1)) as sender:
        sender.dispatch(5)
        eventually(lambda: sender.resting, "the pass ends")
    assert desk.row(row_id).state == "sent"


def test_an_answer_waits_for_a_database_that_comes_back(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    row_id = desk.answer(desk.people()[0])
    row = claim(desk)
    away = [True, True]
    real = ledger._record

    def sometimes(*arguments: Any) -> dict[str, int]:
        if away:
            away.pop()
            with transaction(desk.engine) as connection, connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return real(*arguments)

    monkeypatch.setattr(ledger, "_record", sometimes)
    assert ledger.record(
        desk.engine, desk.page_row, [Answer(row.id, row.attempt_id, "sent", message_id="m_1")], sender="me"
    ) == {"sent": 1}
    assert desk.row(row_id).message_id == "m_1"
