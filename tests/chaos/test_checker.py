"""The checker itself, on histories made by hand: it must see each broken promise, and nothing where none is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.chaos.checker import Attempt, Call, History, Kind, Message, Row, check

MESSAGE = Message("anna", "spring", "m_1")
ROW = Row("spring", "anna", "sent", "answer", "m_1", sent_at=11.0)
INTENT = Attempt("spring", "anna", "one", "intent", None, None, 10.0, "host/1")
ANSWER = Attempt("spring", "anna", "one", "answer", "sent", "m_1", 11.0, "host/1")
CALL = Call("token", "anna", "one", 10.5)
AGAIN = [replace(INTENT, attempt_id="two", at=11.5, sender="host/2"), replace(CALL, attempt_id="two", at=12.0)]


def history(**changes: object) -> History:
    """One message, planned, called, accepted, recorded and seen."""
    usual = {"seen": [MESSAGE], "calls": [CALL], "rows": [ROW], "attempts": [INTENT, ANSWER]}
    return History({"anna"}, ["spring"], **usual | changes)


def test_one_message_that_was_sent_and_seen_breaks_nothing() -> None:
    found = check(history())
    assert found.violations == []
    assert found.figures["sent, stated"] == found.figures["visible"] == 1
    assert found.undecidable == {}


BROKEN = {
    Kind.SEEN_TWICE: {"seen": [MESSAGE, replace(MESSAGE, message_id="m_2")]},
    Kind.LOST: {"rows": [replace(ROW, state="waiting", evidence=None)]},
    Kind.ROW_TWICE: {"rows": [ROW, ROW]},
    Kind.STATED_NOT_SEEN: {"seen": []},
    Kind.INFERRED_NOT_SEEN: {"seen": [], "rows": [replace(ROW, evidence="token_used_inferred", message_id=None)]},
    Kind.REFUSED_BUT_SEEN: {"rows": [replace(ROW, state="refused", evidence=None)]},
    Kind.SEEN_WITHOUT_ROW: {"seen": [MESSAGE, replace(MESSAGE, person="bert")]},
    Kind.ACCEPTED_NOT_SENT: {"rows": [replace(ROW, state="unknown", evidence=None, reason="lease_lost")]},
    Kind.CALL_WITHOUT_INTENT: {"attempts": [ANSWER]},
    Kind.SETTLED_CALLED: {"calls": [CALL, AGAIN[1]], "attempts": [INTENT, ANSWER, AGAIN[0]]},
}


@pytest.mark.parametrize("kind", Kind)
def test_each_broken_promise_is_seen(kind: Kind) -> None:
    assert kind in {violation.kind for violation in check(history(**BROKEN[kind])).violations}


def test_somebody_without_row_or_reason_is_lost() -> None:
    assert [one.kind for one in check(history(rows=[], seen=[], attempts=[INTENT])).violations] == [Kind.LOST]
    assert check(history(rows=[], seen=[], attempts=[INTENT], excluded={("spring", "anna")})).violations == []


def test_a_stated_message_must_be_the_one_that_was_seen() -> None:
    kinds = [one.kind for one in check(history(rows=[replace(ROW, message_id="m_9")])).violations]
    assert kinds == [Kind.STATED_NOT_SEEN]


def test_a_second_call_before_the_first_was_settled_is_allowed() -> None:
    early = replace(AGAIN[1], at=10.9)
    assert check(history(calls=[CALL, early], attempts=[INTENT, ANSWER, AGAIN[0]])).violations == []


def test_an_inferred_row_settles_its_token_too() -> None:
    inferred = replace(ROW, evidence="token_used_inferred", message_id=None)
    late = replace(AGAIN[1], at=11.6)
    kinds = [
        one.kind for one in check(history(rows=[inferred], calls=[CALL, late], attempts=[INTENT, AGAIN[0]])).violations
    ]
    assert kinds == [Kind.SETTLED_CALLED]


def test_who_was_held_between_lease_and_call_is_counted_apart() -> None:
    found = check(history(calls=[CALL, AGAIN[1]], attempts=[INTENT, ANSWER, AGAIN[0]], held={"host/2"}))
    assert found.violations == []
    assert found.woken_calls == 1


def test_what_nobody_knows_is_counted_with_its_reason() -> None:
    doubtful = replace(ROW, state="unknown", evidence=None, message_id=None, reason="refused_in_doubt")
    found = check(history(rows=[doubtful], attempts=[INTENT]))
    assert found.violations == []
    assert found.undecidable == {"refused_in_doubt": 1}
