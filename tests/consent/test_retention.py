"""Retention: texts go after days, proofs after years, and what figures rest on stays."""

from __future__ import annotations

import json

import pytest

from otn.crypto import new_key, read_keyring
from otn.errors import ConfigurationError
from otn.intake.ingest import reingest_day
from otn.privacy.bodies import items_of, mentioned, without_person, without_words
from otn.privacy.purge import PurgeResult, purge
from otn.privacy.retention import Retention, read_retention
from tests.clean import database, emptied_url
from tests.consent.inbox import NOW, Inbox, body, item, message, optin

__all__ = ["database", "emptied_url"]  # in place of a fresh database for each test

OLD = "now() - interval '8 days'"


def age(inbox: Inbox, days: int) -> None:
    inbox.rows("UPDATE otn.webhook_event SET received_at = now() - make_interval(days => %s)", days)
    inbox.rows("UPDATE otn.webhook_event SET received_day = received_day - %s", days)
    inbox.rows("UPDATE otn.event SET webhook_day = webhook_day - %s", days)


def bodies(inbox: Inbox) -> str:
    rows = inbox.rows("SELECT body FROM otn.webhook_event ORDER BY id")
    return "\n".join(inbox.keyring.decrypt(row.body, "webhook").decode() for row in rows)


def test_what_people_wrote_goes_after_a_week_and_a_second_ingest_finds_nothing_new(inbox):
    echo = item(psid="1001", recipient={"id": "2002"}, message={"mid": "m_e", "is_echo": True, "text": "our answer"})
    picture = item(message={"mid": "m_p", "attachments": [{"payload": {"url": "https://cdn/private.jpg"}}]})
    inbox.put(body(message("my secret", mid="m_1"), optin("a")), body(echo, picture), body(optin("b")))
    inbox.ingest()
    age(inbox, 8)
    before = inbox.counts()
    result = purge(inbox.database, keyring=inbox.keyring)
    assert result.bodies_redacted == 3
    left = bodies(inbox)
    assert not [text for text in ("my secret", "our answer", "private.jpg") if text in left]
    assert [text for text in ("m_1", "m_e", "m_p") if text in left] == ["m_1", "m_e", "m_p"]
    day = inbox.value("SELECT min(received_day) FROM otn.webhook_event")
    assert reingest_day(inbox.database, inbox.keyring, day).holds
    assert inbox.counts() == before
    assert purge(inbox.database, keyring=inbox.keyring) == PurgeResult()


def test_young_pending_and_locked_bodies_keep_their_words(inbox, caplog):
    other = read_keyring({"OTN_ENCRYPTION_KEYS": new_key(), "OTN_HASH_KEY": new_key()})
    _, locked = inbox.put(body(message("old words", mid="m_1")), body(message("sealed otherwise", mid="m_2")))
    inbox.ingest()
    age(inbox, 8)
    sealed = other.encrypt(body(message("sealed otherwise", mid="m_2")), "webhook")
    inbox.rows("UPDATE otn.webhook_event SET body = %s WHERE id = %s", sealed, locked)
    inbox.put(body(message("young words", mid="m_3")))
    inbox.ingest()
    inbox.put(body(message("pending words", mid="m_4")))
    assert purge(inbox.database).bodies_redacted == 0  # without keys that part is left out
    assert purge(inbox.database, keyring=inbox.keyring).bodies_redacted == 1
    assert "1 raw webhooks of" in caplog.text
    inbox.rows("DELETE FROM otn.webhook_event WHERE id = %s", locked)
    left = bodies(inbox)
    assert [words for words in ("old", "young", "pending") if f"{words} words" in left] == ["young", "pending"]


def window_message(inbox: Inbox, state: str, more: str = "") -> None:
    inbox.rows(
        "INSERT INTO otn.window_message (page_id, subscriber_id, cause, event_id, card, message, not_after, state,"
        " attempts, attempt_id, called_at, reason, lease_until, created_at)"
        " SELECT page_id, id, 'rule', (random() * 1e9)::bigint, false, '{\"text\": \"t\"}', now(), %s, 1,"
        f" gen_random_uuid(), now(), 'r', CASE %s WHEN 'sending' THEN now() END, {more or 'now()'} FROM otn.subscriber",
        state,
        state,
    )


def test_texts_of_answers_go_but_not_of_those_that_are_still_to_be_sent(inbox):
    inbox.put(body(message("hi")))
    inbox.ingest()
    for state in ("waiting", "sending", "unknown", "skipped"):
        window_message(inbox, state, OLD)
    window_message(inbox, "skipped")
    assert purge(inbox.database, batch=1).texts_forgotten == 2
    rows = inbox.rows(
        "SELECT state::text FROM otn.window_message WHERE message IS NOT NULL ORDER BY otn.window_message.state"
    )
    assert [row.state for row in rows] == ["waiting", "sending", "skipped"]


def spent(inbox: Inbox, state: str, more: str) -> None:
    inbox.rows(
        "WITH c AS (INSERT INTO otn.campaign (page_id, topic_id, key, message, content_hash)"
        " SELECT page_id, id, 'c', '{}', decode(repeat('00', 32), 'hex') FROM otn.topic RETURNING id)"
        " INSERT INTO otn.recipient (campaign_id, subscriber_id, token_id, chunk, attempts, attempt_id, state"
        + "".join(f", {pair.split(' = ')[0]}" for pair in more.split(", ") if pair)
        + f") SELECT c.id, k.subscriber_id, k.id, 1, 1, gen_random_uuid(), '{state}'"
        + "".join(f", {pair.split(' = ')[1]}" for pair in more.split(", ") if pair)
        + " FROM c, otn.token k"
    )


@pytest.mark.parametrize(
    ("state", "more", "scrubbed"),
    [
        ("sent", "evidence = 'answer', message_id = 'm', sent_at = now()", 1),
        ("unknown", "unanswered = 1, reason = 'timeout'", 0),
    ],
)
def test_the_proof_of_a_token_that_figures_rest_on_is_scrubbed_once(inbox, state, more, scrubbed):
    inbox.put(body(optin("a")))
    inbox.ingest()
    spent(inbox, state, more)
    before = inbox.value("SELECT token_hash FROM otn.token")
    inbox.rows("UPDATE otn.token SET opted_in_at = now() - interval '5 years', expires_at = now() - interval '4 years'")
    result = purge(inbox.database)
    assert (result.proofs_scrubbed, result.proofs_deleted) == (scrubbed, 0)
    assert (inbox.value("SELECT token_hash FROM otn.token") != before) == bool(scrubbed)
    assert purge(inbox.database).proofs_scrubbed == 0


def test_people_go_when_nothing_is_left_of_them_but_an_objection_stays(inbox):
    inbox.put(body(*(optin(f"t{n}", psid=f"{n}") for n in range(4))))
    inbox.ingest()
    inbox.rows("UPDATE otn.subscriber SET created_at = now() - interval '5 years'")
    inbox.rows("UPDATE otn.event SET created_at = now() - interval '5 years'")
    inbox.rows(
        "UPDATE otn.token SET opted_in_at = now() - interval '5 years', expires_at = now() - interval '4 years'"
        " WHERE subscriber_id <> (SELECT id FROM otn.subscriber WHERE psid = '0')"
    )
    inbox.rows(
        "INSERT INTO otn.suppression (subscriber_id, reason) SELECT id, 'operator' FROM otn.subscriber WHERE psid = '1'"
    )
    inbox.rows("UPDATE otn.subscriber SET last_interaction_at = now() WHERE psid = '2'")
    result = purge(inbox.database, batch=1)
    assert (result.proofs_deleted, result.people_deleted) == (3, 1)
    assert [row.psid for row in inbox.rows("SELECT psid FROM otn.subscriber ORDER BY psid")] == ["0", "1", "2"]


def test_done_deletion_requests_go_after_years(inbox):
    for days, done in ((1096, True), (10, True), (4000, False)):
        inbox.rows(
            "INSERT INTO otn.deletion_request (id, code, user_hash, user_id, state, people, done_at, received_at)"
            " VALUES (gen_random_uuid(), gen_random_uuid(), sha256(random()::text::bytea), %s, %s, %s,"
            " now() - make_interval(days => %s), now() - make_interval(days => %s))",
            None if done else b"sealed",
            "done" if done else "received",
            0 if done else None,
            days if done else None,
            days,
        )
    assert purge(inbox.database).requests_deleted == 1
    assert purge(inbox.database, Retention(proof_days=5)).requests_deleted == 1


@pytest.mark.parametrize("name", ["OTN_KEEP_TEXT_DAYS", "OTN_KEEP_PROOF_DAYS"])
def test_retention_is_read_from_the_environment(name):
    with pytest.raises(ConfigurationError, match=f"{name} is '-1'"):
        read_retention({name: "-1"})
    assert read_retention({}) == Retention(30, 90, 7, 1095)
    assert 3 in vars(read_retention({name: "3"})).values()


PSID = "28777805391819468"


@pytest.mark.parametrize(
    "raw",
    [
        body(optin("a", psid=PSID), optin("b"), "x", message("t", psid=PSID)),  # type: ignore[arg-type]
        json.dumps({"object": "page", "entry": [[PSID], {"id": 1, "messaging": [], "x": PSID}, None]}).encode(),
        json.dumps({"object": "page", "entry": [{"id": "1001", "changes": [{"value": {"from": int(PSID)}}]}]}).encode(),
        json.dumps([PSID]).encode(),
        json.dumps({"object": PSID, "entry": 1}).encode(),
        b'{"torn": "' + PSID.encode(),
        body(optin("a", psid=PSID)).replace(PSID.encode(), PSID.replace("2", "\\u0032").encode()),
    ],
    ids=["items", "entries", "changes", "list", "object", "torn", "escaped"],
)
def test_a_person_is_taken_out_of_any_body_and_the_number_of_items_stays(raw):
    assert mentioned(raw, {PSID}) == {PSID}
    cut = without_person(raw, PSID)
    assert cut is not None
    assert mentioned(cut, {PSID}) == set()
    assert without_person(cut, PSID) is None
    assert PSID.encode() not in cut


@pytest.mark.parametrize(
    "raw",
    [b"", b"\xff", b"[" * 100_000, b'{"a": ' * 3000, b"1" * 5000, body(optin("a")), b'"2"'],
    ids=["empty", "no text", "deep list", "deep object", "long number", "somebody else", "text"],
)
def test_a_body_that_names_nobody_stays_as_it_is_whatever_it_is(raw):
    assert without_person(raw, PSID) is None
    assert without_words(raw) is None
    assert items_of(raw, PSID) == []


def test_a_longer_number_is_somebody_else():
    assert without_person(body(optin("a", psid=PSID + "1")), PSID) is None
    assert without_person(b'{"torn": "' + PSID.encode() + b"1", PSID) is None


def test_a_message_without_an_id_keeps_its_text():
    assert without_words(body(item(message={"text": "t"}))) is None


def test_what_people_posted_under_a_page_goes_too_and_is_the_same_event_without(inbox):
    change = {"field": "feed", "value": {"message": "my comment", "from": {"name": "Ada"}}}
    raw = json.dumps({"object": "page", "entry": [{"id": "1001", "time": int(NOW.timestamp()), "changes": [change]}]})
    inbox.put(raw.encode())
    inbox.ingest()
    age(inbox, 8)
    before = inbox.counts()
    purge(inbox.database, keyring=inbox.keyring)
    assert "my comment" not in bodies(inbox)
    day = inbox.value("SELECT min(received_day) FROM otn.webhook_event")
    assert reingest_day(inbox.database, inbox.keyring, day).holds
    assert inbox.counts() == before


@pytest.mark.parametrize(("tried_days_ago", "gone"), [(360, 0), (370, 2)])
def test_events_wait_for_a_message_of_unknown_end_but_not_for_ever(inbox, tried_days_ago, gone):
    inbox.put(body(optin("a"), message("hi")))
    inbox.ingest()
    spent(inbox, "unknown", "unanswered = 1, reason = 'timeout'")
    inbox.rows("UPDATE otn.event SET created_at = now() - interval '91 days'")
    inbox.rows("UPDATE otn.recipient SET updated_at = now() - make_interval(days => %s)", tried_days_ago)
    assert purge(inbox.database).events_deleted == gone
