"""What a person may ask for: to see everything, to be left alone, to be forgotten."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from otn.consent import adoption, objection, topics
from otn.consent.objection import UnknownPersonError
from otn.database import transaction
from otn.errors import UsageError
from otn.messenger.errors import MessengerError
from otn.privacy import deletion, personal
from otn.privacy.deletion import DeletionFigures
from tests.clean import database, emptied_url
from tests.consent.inbox import NOW, Inbox, body, item, message, optin
from tests.consent.leaving import (
    OTHER,
    PSID,
    campaign,
    journal,
    leave,
    name,
    people,
    settled,
    window,
)

__all__ = ["database", "emptied_url", "journal", "leave"]  # a database for all of them; somebody who leaves


class Platform:
    """Says whom an app's id means, or refuses."""

    def __init__(self, *psids: str, refuses: bool = False) -> None:
        self.psids = list(psids)
        self.refuses = refuses

    def page_scoped_ids(self, _user: str) -> list[str]:
        if self.refuses:
            raise MessengerError
        return self.psids


def request(inbox: Inbox, user: str, code: str, days_ago: int = 0) -> None:
    inbox.rows(
        "INSERT INTO otn.deletion_request (id, code, user_id, user_hash, received_at)"
        " VALUES (gen_random_uuid(), %s, %s, %s, now() - make_interval(days => %s))",
        code,
        inbox.keyring.encrypt(user.encode(), "deletion"),
        inbox.keyring.digest("asid", user),
        days_ago,
    )


def test_deletion_requests_are_tried_for_a_week(inbox, page, journal):
    where = {"OTN_ERASURE_JOURNAL": str(journal.path)}
    inbox.put(body(optin("a", psid=PSID), optin("b", psid=OTHER), optin("c", psid="77")))
    inbox.ingest()
    request(inbox, "77", "psid by chance")
    refusing, knowing = Platform(refuses=True), Platform(PSID, "999")
    assert deletion.process(inbox.database, inbox.keyring, {page.id: refusing}, where) == DeletionFigures(waiting=1)
    assert people(inbox) == {PSID, OTHER}
    assert deletion.process(inbox.database, inbox.keyring, {}, where) == DeletionFigures(waiting=1)
    request(inbox, "app-scoped", "second")
    assert deletion.process(inbox.database, inbox.keyring, {page.id: knowing}, where) == DeletionFigures(
        done=2, people=2
    )
    request(inbox, "nobody", "late", days_ago=8)
    assert deletion.process(inbox.database, inbox.keyring, {}, where) == DeletionFigures(done=1)
    assert deletion.process(inbox.database, inbox.keyring, {}, where) == DeletionFigures()
    assert people(inbox) == {OTHER}
    with transaction(inbox.database) as conn:
        found = {one.code: (one.state, one.people) for one in deletion.listing(conn)}
    assert found["late"] == ("done", 0)
    assert sum(count for _, count in found.values()) == 2


def test_a_person_can_see_everything_but_the_text_of_tokens(inbox, page, leave):
    inbox.put(body(optin("a-token", psid=PSID), message("my words", psid=PSID), message("not mine", psid=OTHER)))
    inbox.ingest()
    name(inbox)
    spring = campaign(inbox, page)
    settled(inbox, PSID, "sent", ", evidence = 'answer', message_id = 'm_1', sent_at = now()")
    window(inbox, PSID)
    inbox.rows(
        "INSERT INTO otn.suppression (subscriber_id, reason, note) SELECT id, 'operator', 'n' FROM otn.subscriber"
    )
    held = personal.export(inbox.database, inbox.keyring, page, PSID)
    text = json.dumps(held, default=str)
    assert (held["profile"]["first_name"], held["profile"]["labels"]) == ("Ada", ["vip"])
    assert [(one["campaign"], one["message"]) for one in held["campaigns"]] == [("spring", {"text": "Hi Ada"})]
    assert [one["topic"] for one in held["consents"]] == ["sale"]
    assert held["window_messages"][0]["message"] == {"text": "for you alone"}
    assert held["silences"][0]["note"] == "n"
    assert {one["kind"] for one in held["events"]} == {"optin", "message"}
    assert "my words" in text
    assert "not mine" not in text
    assert "a-token" not in text
    assert spring
    leave()
    gone = personal.export(inbox.database, inbox.keyring, page, PSID)
    assert gone.keys() == {"page", "psid", "erased_at"}
    with pytest.raises(UnknownPersonError, match="holds nobody"):
        personal.export(inbox.database, inbox.keyring, page, "4711")


def test_an_operators_objection_is_lifted_by_an_operator_only(inbox, page):
    inbox.put(body(optin("a", psid=PSID)))
    inbox.ingest()
    with transaction(inbox.database) as conn:
        for _ in range(2):
            objection.suppress(conn, page, PSID, topic=None, actor="anna", note="wrote a letter")
    inbox.put(body(message("start", psid=PSID), optin("b", psid=PSID)))
    inbox.ingest()
    row = inbox.rows("SELECT reason, actor, note FROM otn.suppression")
    assert [tuple(one) for one in row] == [("operator", "anna", "wrote a letter")]
    with transaction(inbox.database) as conn:
        assert objection.release(conn, page, PSID, topic=None, actor="anna")
        assert not objection.release(conn, page, PSID, topic=None, actor="anna")
        with pytest.raises(UnknownPersonError):
            objection.suppress(conn, page, OTHER, topic=None, actor="anna")
        with pytest.raises(UsageError, match="The note is too long"):
            objection.suppress(conn, page, PSID, topic=None, actor="anna", note="n\x00")
    assert [one.action for one in inbox.rows("SELECT action FROM otn.audit WHERE actor = 'anna' ORDER BY id")] == [
        "suppressed", "suppressed", "released",
    ]  # fmt: skip


def test_a_request_that_nobody_understands_keeps_no_other_waiting(inbox, page, journal, monkeypatch):
    monkeypatch.setattr(deletion, "_MOST", 2)
    where = {"OTN_ERASURE_JOURNAL": str(journal.path)}
    inbox.put(body(optin("a", psid=PSID)))
    inbox.ingest()
    for number in range(2):
        request(inbox, f"app-scoped-{number}", f"old {number}", days_ago=1)
    request(inbox, PSID, "new")
    for _ in range(60):  # each has two chances in three: a fair order misses it once in 10^28
        deletion.process(inbox.database, inbox.keyring, {page.id: Platform(refuses=True)}, where)
        if not people(inbox):
            break
    assert people(inbox) == set()


def test_what_waits_in_quarantine_is_shown_too(inbox, page):
    both = item(psid=PSID, postback={"payload": "p"}, message={"mid": "m", "text": "my odd words"})
    inbox.put(body(both, item(psid=OTHER, postback={}, message={"mid": "m"})), b'{"torn": "' + PSID.encode())
    inbox.ingest()
    held = personal.export(inbox.database, inbox.keyring, page, PSID)
    shown = {one["item"] and one["item"]["message"]["text"] for one in held["quarantine"]}
    assert shown == {"my odd words", None}
    assert OTHER not in json.dumps(held, default=str)


def test_an_objection_that_was_lifted_does_not_come_back_with_an_adoption(inbox, page):
    inbox.put(body(optin("a", psid=PSID, payload="Sale ")))
    inbox.ingest()
    with transaction(inbox.database) as conn:
        met = topics.find(conn, page, "Sale")
        objection.suppress(conn, page, PSID, topic=met, actor="anna")
        conn.cursor().execute(
            "INSERT INTO otn.suppression (subscriber_id, topic_id, reason, since)"
            " SELECT subscriber_id, topic_id, 'stop_word', %s FROM otn.suppression",
            [NOW],
        )
        sale = topics.add(conn, page, "sale", "Sale")
    for turn in range(2):
        with transaction(inbox.database) as conn:
            adoption.adopt(conn, page, "Sale ", "sale", actor="anna")
        silenced = "SELECT otn.silenced(subscriber_id, topic_id, opted_in_at) FROM otn.token"
        assert inbox.value(silenced) == (turn == 0)
        with transaction(inbox.database) as conn:
            assert objection.release(conn, page, PSID, topic=sale, actor="anna") == (turn == 0)
        inbox.put(body(message("start sale", psid=PSID, at=NOW + timedelta(minutes=turn + 1))))
        inbox.ingest()
    assert inbox.value("SELECT count(*) FROM otn.suppression") == 0
