from __future__ import annotations

import json
from typing import Any

import pytest

from otn.consent import ledger
from otn.consent.ledger import Wanted
from otn.errors import UsageError
from otn.messenger.messages import one_time_request
from tests.campaign.conftest import make_stage, sandbox, stage
from tests.campaign.stage import Stage
from tests.clean import database, emptied_url

__all__ = ["database", "emptied_url", "make_stage", "sandbox", "stage"]

CALLED = "attempts = 1, attempt_id = gen_random_uuid()"


def states(stage: Stage) -> dict[int, str]:
    return {row["consent_id"]: row["state"] for row in ledger.listing(stage.engine, Wanted())}


def thrice(stage: Stage) -> list[int]:
    """One person, three opt-ins to one topic; the first received is the last to expire."""
    stage.opt_in(1, tokens_per_person=(3, 3))
    ids = [row[0] for row in stage.sql("SELECT id FROM otn.token ORDER BY id")]
    for place, number in enumerate(ids):
        stage.sql(
            "UPDATE otn.token SET expires_at = opted_in_at + make_interval(days => %s) WHERE id = %s",
            *(300 - 100 * place, number),
        )
    return ids


def test_three_opt_ins_are_three_tokens_spent_soonest_to_expire_first_and_a_fourth_campaign_finds_nobody(
    stage: Stage,
) -> None:
    ids = thrice(stage)
    assert states(stage) == dict.fromkeys(ids, "unspent")
    for place, key in enumerate(("first", "second", "third"), start=1):
        figures = stage.run(stage.planned(key))
        assert (figures["sent"], figures["tokens_spent"]) == (1, 1)
        rows = {row["consent_id"]: row for row in ledger.listing(stage.engine, Wanted())}
        spent = rows[ids[-place]]
        assert (spent["state"], spent["spent_campaign"], spent["spent_state"]) == ("spent", key, "sent")
        assert spent["spent_at"] is not None
        assert sum(row["state"] == "spent" for row in rows.values()) == place
    fourth = stage.run(stage.planned("fourth"))
    assert (fourth["planned"], fourth["audience"], fourth["excluded"]) == (0, 1, {"token_spent": 1})
    assert list(stage.seen().values()) == [3]


def test_each_state_of_a_consent_is_told(stage: Stage) -> None:
    people = stage.opt_in(8)
    tokens = dict(
        stage.sql("SELECT s.psid, k.id FROM otn.token k JOIN otn.subscriber s ON s.id = k.subscriber_id ORDER BY k.id")
    )
    ids = [tokens[psid] for psid in people]
    stage.planned(max_recipients=8)
    stage.sql("DELETE FROM otn.recipient WHERE token_id = ANY (%s)", ids[4:])
    changes = [
        (ids[1], f"state = 'unknown', {CALLED}, unanswered = 1, reason = 'timeout'"),
        (ids[2], f"state = 'sent', {CALLED}, evidence = 'answer', message_id = 'm', sent_at = now()"),
        (ids[3], f"state = 'refused', {CALLED}, error_code = 100, token_dead = true"),
    ]
    for token, change in changes:
        stage.sql(f"UPDATE otn.recipient SET {change} WHERE token_id = %s", token)
    stage.sql("UPDATE otn.token SET token_encrypted = NULL, wiped_at = now() WHERE id = %s", ids[4])
    stage.sql(
        "INSERT INTO otn.suppression (subscriber_id, reason, since)"
        " SELECT subscriber_id, 'stop_word', opted_in_at + interval '1 s' FROM otn.token WHERE id = %s",
        ids[5],
    )
    stage.sql(
        "UPDATE otn.subscriber SET erased_at = now(), psid = NULL, first_name = NULL"
        " WHERE id = (SELECT subscriber_id FROM otn.token WHERE id = %s)",
        ids[6],
    )
    expected = ["reserved", "reserved", "spent", "spent", "expired", "silenced", "erased", "unspent"]
    assert states(stage) == dict(zip(ids, expected, strict=True))
    for state in ledger.STATES:
        found = ledger.listing(stage.engine, Wanted(state=state))
        assert [row["consent_id"] for row in found] == [
            token for token, told in zip(ids, expected, strict=True) if told == state
        ]


def test_a_stop_of_another_topic_and_a_stop_before_the_consent_silence_nothing(stage: Stage) -> None:
    stage.opt_in(2)
    stage.sql(
        "INSERT INTO otn.topic (page_id, key, title, payload, registered_at)"
        " VALUES (%s, 'other', 'Other', 'other', now())",
        stage.page_row,
    )
    stage.sql(
        "INSERT INTO otn.suppression (subscriber_id, reason, topic_id, since)"
        " SELECT min(s.id), 'stop_word', max(t.id), now() + interval '1 h' FROM otn.subscriber s, otn.topic t"
    )
    stage.sql(
        "INSERT INTO otn.suppression (subscriber_id, reason, since)"
        " SELECT max(id), 'stop_word', now() - interval '1 day' FROM otn.subscriber"
    )
    assert set(states(stage).values()) == {"unspent"}


def answer_card(stage: Stage, **card: Any) -> int:
    """A request card that a rule sent and that was tapped."""
    values = {
        "message": json.dumps(one_time_request("Shoes are back", "restock")),
        "called_at": "2026-01-01T09:00:00Z",
        "sent_at": "2026-01-01T09:00:01Z",
        **card,
    }
    row = stage.sql(
        "INSERT INTO otn.window_message (page_id, subscriber_id, cause, event_id, topic_id, card, message, state,"
        " attempts, attempt_id, evidence, message_id, not_after, called_at, sent_at, tapped_at)"
        " SELECT %s, max(id), 'rule', 1, %s, true, %s, 'sent', 1, gen_random_uuid(), 'answer', 'm', now(), %s, %s,"
        " now() FROM otn.subscriber RETURNING id",
        *(stage.page_row, stage.topic_row, values["message"], values["called_at"], values["sent_at"]),
    )
    number = int(row[0][0])
    stage.sql("UPDATE otn.token SET card_id = %s, ref = 'sku-1'", number)
    return number


def test_the_card_that_was_answered_proves_what_was_read_until_its_text_goes(stage: Stage) -> None:
    stage.opt_in(1)
    card = answer_card(stage)
    row = ledger.listing(stage.engine, Wanted())[0]
    assert (row["card_id"], row["asked_by"], row["card_title"]) == (card, "rule", "Shoes are back")
    assert row["asked_at"].isoformat() == "2026-01-01T09:00:01+00:00"
    assert (row["ref"], row["source"], row["topic"]) == ("sku-1", "webhook", "restock")
    stage.sql("UPDATE otn.window_message SET message = NULL")
    row = ledger.listing(stage.engine, Wanted())[0]
    assert (row["card_title"], row["asked_at"] is not None) == (None, True)


def test_the_ledger_is_walked_by_key_and_filtered(stage: Stage) -> None:
    stage.opt_in(5)
    walked: list[int] = []
    while rows := ledger.listing(stage.engine, Wanted(topic="restock"), after=walked[-1] if walked else 0, most=2):
        walked += [row["consent_id"] for row in rows]
    assert walked == [row["consent_id"] for row in ledger.listing(stage.engine, Wanted())]
    assert len(walked) == 5
    person = ledger.listing(stage.engine, Wanted())[3]
    assert ledger.listing(stage.engine, Wanted(subscriber_id=person["subscriber_id"])) == [person]
    assert ledger.listing(stage.engine, Wanted(topic="other")) == []
    assert ledger.listing(stage.engine, Wanted(page="other")) == []
    with pytest.raises(UsageError, match=r"There is no state 'used'\. Choose one of: unspent"):
        Wanted(state="used")


def test_an_export_is_of_one_moment_and_reads_in_slices(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "CURSOR_ROWS", 2)
    stage.opt_in(7)
    rows = ledger.export(stage.engine, Wanted())
    first = next(rows)
    stage.opt_in(3)
    stage.sql("UPDATE otn.token SET ref = 'changed'")
    rest = list(rows)
    assert len([first, *rest]) == 7
    assert {row["ref"] for row in [first, *rest]} == {None}
    assert ledger.count(stage.engine, Wanted()) == 10
    assert [row["consent_id"] for row in ledger.export(stage.engine, Wanted(state="unspent"))] == sorted(states(stage))


def test_every_column_of_the_view_is_described(stage: Stage) -> None:
    undescribed = stage.sql(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'otn.v_consent'::regclass AND attnum > 0"
        " AND col_description(attrelid, attnum) IS NULL"
    )
    assert undescribed == []
