"""A campaign's message tried out on a few people: inside their window, each at most once, and no consent touched."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from otn.asking import testing
from otn.asking.sending import Limits, Sender
from otn.asking.testing import PeopleOfTestError
from otn.errors import OtnError
from otn.messenger.messages import one_time_request
from tests.asking.desk import Desk
from tests.asking.test_sending import claim
from tests.awaiting import eventually

HELLO = {"text": 'Hello {{ first_name | default("you") }}, about {{ ref | default("it") }}'}


def number(desk: Desk, psid: str) -> int:
    return int(desk.sql("SELECT id FROM otn.subscriber WHERE psid = %s", psid)[0][0])


def try_on(desk: Desk, *psids: str, key: str = "run", message: dict[str, Any] | None = None) -> int:
    people = [number(desk, psid) for psid in psids]
    return testing.open_test(desk.engine, key, message or HELLO, people, desk.page, desk.topic, actor="ann")


def results(desk: Desk, key: str = "run") -> list[tuple[str, str | None]]:
    found = testing.report(desk.engine, key)
    assert found is not None
    return [(one["state"], one["reason"]) for one in found["people"]]


def tokens(desk: Desk) -> list[Any]:
    return desk.sql("SELECT t.*, t.xmin::text FROM otn.token t ORDER BY id")


def test_each_reads_his_own_and_no_consent_is_touched(desk: Desk) -> None:
    first, second = desk.people(2)
    desk.token(first, ref="shoe")
    desk.token(second)
    before = tokens(desk)
    try_on(desk, first, second)
    assert desk.send(asks=False).states == {"sent": 2}
    said = {row["psid"]: (row["text"], row["kind"]) for row in desk.sandbox.ledger(desk.settings.page_id)}
    assert said == {first: ("Hello P0, about shoe", "text"), second: ("Hello P1, about it", "text")}
    assert tokens(desk) == before
    assert desk.sql("SELECT count(*) FROM otn.recipient")[0][0] == 0
    assert results(desk) == [("sent", None)] * 2
    assert desk.sql("SELECT actor, action FROM otn.audit") == [("ann", "message_tested")]


def test_the_same_run_again_writes_and_sends_nothing(desk: Desk) -> None:
    psid = desk.people()[0]
    assert try_on(desk, psid) == try_on(desk, psid) == try_on(desk, psid, message={"text": "other"})
    desk.send()
    try_on(desk, psid)
    assert desk.send().states == {}
    assert desk.seen() == {psid: 1}


def test_two_tasks_that_begin_at_once_write_one_test(desk: Desk) -> None:
    psid = desk.people()[0]
    ids: list[int] = []
    threads = [threading.Thread(target=lambda: ids.append(try_on(desk, psid))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 4
    assert len(set(ids)) == 1
    assert desk.states() == {"waiting": 1}


def test_who_may_not_be_written_to_is_left_out_and_says_why(desk: Desk) -> None:
    fine, stopped, again, objected, away, closing, never, lost = desk.people(8)
    desk.token(stopped, at="1 hour")
    desk.stop(stopped)
    desk.token(again, at="0 s")
    desk.stop(again, ago="1 hour")
    for psid, reason in ((objected, "operator"), (lost, "unreachable")):
        desk.sql(
            "INSERT INTO otn.suppression (subscriber_id, reason) SELECT id, %s FROM otn.subscriber WHERE psid = %s",
            reason,
            psid,
        )
    for psid, ago in ((away, "25 hours"), (closing, "23 hours 57 minutes")):
        desk.sql(
            "UPDATE otn.subscriber SET last_interaction_at = clock_timestamp() - %s::interval WHERE psid = %s",
            ago,
            psid,
        )
    desk.sql("UPDATE otn.subscriber SET last_interaction_at = NULL WHERE psid = %s", never)
    try_on(desk, fine, stopped, again, objected, away, closing, never, lost)
    desk.send()
    assert results(desk) == [
        ("sent", None),
        ("skipped", "suppressed"),
        ("sent", None),
        ("skipped", "suppressed"),
        ("skipped", "window_closed"),
        ("skipped", "window_closing"),
        ("skipped", "window_closed"),
        ("skipped", "unreachable"),
    ]
    assert desk.seen() == {fine: 1, again: 1}


@pytest.mark.parametrize(
    ("meanwhile", "reason"),
    [
        (
            (
                "INSERT INTO otn.suppression (subscriber_id, reason, since)"
                " SELECT id, 'stop_word', clock_timestamp() - interval '1 day' FROM otn.subscriber"
            ),
            "suppressed",
        ),
        ("UPDATE otn.window_message SET not_after = clock_timestamp()", "window_closed"),
        ("UPDATE otn.epoch SET restored_at = clock_timestamp()", "restored"),
    ],
    ids=["stop word", "window", "restored"],
)
def test_what_happens_before_the_call_is_heeded(desk: Desk, meanwhile: str, reason: str) -> None:
    try_on(desk, desk.people()[0])
    desk.sql(meanwhile)
    desk.send()
    assert results(desk) == [("skipped", reason)]
    assert not desk.seen()


@pytest.mark.parametrize("fault", ["drop_after", "server_error", "sent_but_error"])
def test_a_call_without_a_clear_end_is_unconfirmed_and_never_made_again(desk: Desk, fault: str) -> None:
    psid = desk.people()[0]
    try_on(desk, psid)
    desk.fault(fault)
    assert desk.send().states == {"unknown": 1}
    try_on(desk, psid)
    assert desk.send().states == {}
    assert desk.seen()[psid] <= 1


def test_killed_between_call_and_commit_it_is_unconfirmed_and_never_repeated(desk: Desk) -> None:
    psid = desk.people()[0]
    try_on(desk, psid)
    row = claim(desk, lease_s=0.0)
    assert row.message == HELLO
    desk.send()
    assert results(desk) == [("unknown", "lease_lost")]
    try_on(desk, psid)
    assert desk.send().states == {}


def test_a_halted_page_keeps_it_waiting_and_says_why(desk: Desk) -> None:
    try_on(desk, desk.people()[0])
    desk.sql("UPDATE otn.page SET halted_at = clock_timestamp(), halt_reason = 'mend it'")
    assert desk.send().states == {}
    found = testing.report(desk.engine, "run")
    assert found is not None
    assert (found["over"], found["halt_reason"], results(desk)) == (False, "mend it", [("waiting", None)])


def test_a_test_does_not_wait_for_the_cards_of_an_ask(desk: Desk) -> None:
    desk.people(3)
    psid = desk.people()[0]
    desk.open()
    try_on(desk, psid)
    assert desk.send(asks=False).states == {"sent": 1}
    assert desk.states() == {"sent": 1, "waiting": 4}


def test_a_responder_takes_it_up_at_once(desk: Desk) -> None:
    psid = desk.people()[0]
    try_on(desk, psid)
    with Sender(desk.engine, desk.client, desk.settings, desk.page_row, limits=Limits(lease_s=60, call_s=16)) as sender:
        sender.dispatch(1)
        eventually(lambda: desk.seen() == {psid: 1}, "the test has arrived")
    assert results(desk) == [("sent", None)]


def test_nobody_is_tested_on_without_end(desk: Desk) -> None:
    psid = desk.people()[0]
    for turn in range(20):
        try_on(desk, psid, key=f"run {turn}")
    try_on(desk, psid, key="one more")
    assert results(desk, "one more") == [("skipped", "flood")]


def test_what_makes_no_test_is_refused_and_nothing_is_written(desk: Desk, make_desk: Any) -> None:
    psid = desk.people()[0]
    stranger = make_desk(connection_id="second").people()[0]
    for people, said in (([], "Nobody is chosen"), ([0], "knows no person 0"), (list(range(1, 12)), "11 people")):
        with pytest.raises(PeopleOfTestError, match=said):
            testing.open_test(desk.engine, "run", HELLO, people, desk.page, desk.topic, actor="ann")
    with pytest.raises(PeopleOfTestError, match="knows no person"):
        try_on(desk, psid, stranger)
    for message in (one_time_request("Back", "restock"), {"text": "Hi {{ first_name"}, {"text": ""}):
        with pytest.raises(OtnError):
            try_on(desk, psid, message=message)
    assert desk.sql("SELECT count(*) FROM otn.test_message")[0][0] == 0
    assert desk.sql("SELECT count(*) FROM otn.window_message")[0][0] == 0


def test_people_are_found_by_label_number_and_name(desk: Desk) -> None:
    staff, other = desk.people(2)
    away = desk.people(ago="30 hours")[0]
    desk.sql("UPDATE otn.subscriber SET labels = '{staff}' WHERE psid IN (%s, %s)", staff, away)
    desk.sql("UPDATE otn.subscriber SET last_name = '100%% Sure' WHERE psid = %s", other)

    def found(text: str, *, names: bool = True) -> list[tuple[int, str | None]]:
        rows = testing.choose(desk.engine, desk.page, desk.topic, text, names=names)
        return [(row["id"], row["reason"]) for row in rows]

    assert found("staff") == [(number(desk, staff), None)]
    assert found(f" #{number(desk, away)} ") == [(number(desk, away), "window_closed")]
    assert found("100% s") == found("P1") == [(number(desk, other), None)]
    assert found("100% s", names=False) == found("%") == found("") == found("\0") == found("9" * 40) == []
    assert [row["id"] for row in testing.chosen(desk.engine, desk.page, desk.topic, [number(desk, staff), 10**30])] == [
        number(desk, staff)
    ]
