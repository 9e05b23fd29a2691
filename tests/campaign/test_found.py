"""What went wrong when somebody tried to break the engine; each test says what should happen instead."""

from __future__ import annotations

import threading
import time
import tracemalloc
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from typing import Any

import psycopg2
import pytest
from sqlalchemy import make_url

from otn.campaign import approval as approvals
from otn.campaign import control, evidence, ledger, report
from otn.campaign.answers import Answer, from_result, not_called
from otn.campaign.model import CampaignSpec
from otn.campaign.state import CampaignCancelledError
from otn.crypto import DecryptionError, Keyring, new_key, read_keyring
from otn.database import DatabaseAwayError, transaction
from otn.errors import ConfigurationError
from otn.messenger.client import SendResult
from otn.messenger.errors import Outcome, PlatformError, classify
from otn.messenger.messages import MessageError
from otn.rendering import RenderError, TemplateError, compile_message
from otn.settings import Connection, database_url
from tests.campaign.stage import QUICK, Stage
from tests.clean import database, emptied_url

__all__ = ["database", "emptied_url"]

CONTENT = "100/2018047"


def claim(stage: Stage, campaign: int, most: int = 1, chunk: int = 1) -> list[ledger.Claimed]:
    return ledger.claim(stage.engine, ledger.WaitingChunk(campaign, chunk), most=most, lease_s=60, sender="me").rows


def doubtful(stage: Stage, campaign: int) -> list[ledger.Claimed]:
    stage.sql("UPDATE otn.recipient SET not_before = NULL WHERE isfinite(not_before)")
    return ledger.claim(stage.engine, ledger.Doubtful(campaign), most=1, lease_s=60, sender="me").rows


def open_for_approval(stage: Stage, key: str = "spring", **values: Any) -> control.Campaign:
    return control.open_campaign(
        stage.engine,
        CampaignSpec(key=key, message={"text": "It is back!"}, **values),
        page_row_id=stage.page_row,
        facebook_page_id=stage.settings.page_id,
        topic_row_id=stage.topic_row,
        topic_key="restock",
        actor="anna",
    )


# ── stop rules


def test_a_person_known_to_have_the_message_is_no_refusal_to_the_stop_rules(stage: Stage) -> None:
    """Asked again, "token used" settles a row as sent; 200 of them must not halt the campaign as refusals."""
    stage.opt_in(210)
    campaign = stage.planned()
    rows = claim(stage, campaign, 210)
    unknown = [Answer(row.subscriber_id, row.attempt_id, "unknown", reason="timeout") for row in rows]
    ledger.record(stage.engine, campaign, unknown, sender="me")
    assert stage.planned() == campaign  # halted for too many unknown, and triggered again by a person
    stage.sql("UPDATE otn.recipient SET not_before = NULL")
    again = ledger.claim(stage.engine, ledger.Doubtful(campaign), most=200, lease_s=60, sender="me").rows
    used = [
        Answer(row.subscriber_id, row.attempt_id, "refused", error_code=100, token_refused=True, token_used=True)
        for row in again
    ]
    recorded = ledger.record(stage.engine, campaign, used, sender="me")
    assert recorded.states == {"sent": 200}
    assert stage.report(campaign)["state"] == "sending"


def test_ten_equal_content_errors_in_a_row_halt_although_the_slice_ended_well(stage: Stage) -> None:
    stage.opt_in(12)
    campaign = stage.planned()
    rows = claim(stage, campaign, 11)
    answers = [
        Answer(row.subscriber_id, row.attempt_id, "refused", error_code=100, content_error=CONTENT) for row in rows[:10]
    ]
    answers.append(Answer(rows[10].subscriber_id, rows[10].attempt_id, "sent", message_id="m_1"))
    ledger.record(stage.engine, campaign, answers, sender="me")
    assert stage.report(campaign)["state"] == "halted"


def test_an_error_that_means_a_halt_when_it_is_kept_up_halts(stage: Stage) -> None:
    """1/99: the table says "then halted" after three tries; the rows must not come back for ever."""
    stage.opt_in(3)
    campaign = stage.planned()
    stage.sql("UPDATE otn.recipient SET attempts = 2, attempt_id = gen_random_uuid()")  # tried twice already
    stage.sandbox.faults({"error": {"probability": 1, "code": 1, "subcode": 99, "status": 400}})
    stage.send(campaign, limits=replace(QUICK, run_s=2))
    assert stage.report(campaign)["state"] == "halted"


# ── sending


def test_people_who_are_skipped_do_not_brake_the_page(stage: Stage) -> None:
    """A missing personal field has nothing to do with the platform: no silence for the whole page."""
    stage.opt_in(6)
    stage.sql("UPDATE otn.subscriber SET first_name = NULL")
    campaign = stage.planned(text="Hi {{ first_name }}")
    stage.send(campaign, limits=replace(QUICK, run_s=2, slice_rows=1))
    assert stage.report(campaign)["skipped"] == {"personal_field_missing": 6}
    assert stage.sql("SELECT count(*) FROM otn.pace WHERE next_at > clock_timestamp() + interval '1 second'") == [(0,)]


def test_a_call_that_could_not_start_loses_no_answer_of_the_others(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database is away when one call renews its lease: what the platform accepted meanwhile is stated, not lost."""
    stage.opt_in(100)
    campaign = stage.planned()
    renew, calls = ledger.renew, []

    def fail_once(*arguments: Any) -> set[int]:
        calls.append(1)
        if len(calls) == 2:
            raise DatabaseAwayError(psycopg2.OperationalError("gone"))
        return renew(*arguments)

    monkeypatch.setattr(ledger, "renew", fail_once)
    with suppress(DatabaseAwayError):  # a lease that is shorter than one call: each call renews it
        stage.send(campaign, limits=replace(QUICK, lease_s=60, call_s=61))
    stage.sql("UPDATE otn.recipient SET lease_until = clock_timestamp() WHERE state = 'sending'")
    stage.run(campaign)
    figures = stage.report(campaign)
    assert (figures["sent"], figures["sent_inferred"]) == (100, 0)


@pytest.mark.parametrize(
    "result",
    [
        lambda: refusal(PlatformError(code=2**40, http_status=400)),
        lambda: refusal(PlatformError(code=551, subcode=2**31, http_status=400)),
        lambda: SendResult(Outcome.UNKNOWN, http_status=10**9, reason="unusable_item"),
        lambda: SendResult(Outcome.UNKNOWN, http_status=-(10**9), reason="unusable_item"),
    ],
    ids=["code", "subcode", "status", "negative status"],
)
def test_an_absurd_number_in_one_answer_spoils_no_other_answer(stage: Stage, result: Callable[[], SendResult]) -> None:
    stage.opt_in(2)
    campaign = stage.planned()
    rows = claim(stage, campaign, 2)
    answers = [
        from_result(rows[0].subscriber_id, rows[0].attempt_id, result()),
        Answer(rows[1].subscriber_id, rows[1].attempt_id, "sent", message_id="m_1"),
    ]
    ledger.record(stage.engine, campaign, answers, sender="me")
    assert stage.report(campaign)["sent"] == 1
    assert stage.report(campaign)["sending"] == 0


def refusal(error: PlatformError) -> SendResult:
    verdict = classify(error)
    return SendResult(verdict.outcome, error=error, verdict=verdict, http_status=error.http_status)


def test_a_call_that_was_never_made_is_no_try_of_an_error(stage: Stage) -> None:
    """Five tries of a temporary failure are five answers, not four silences of the page and one answer."""
    stage.opt_in(1)
    campaign = stage.planned()
    for _ in range(4):
        row = claim(stage, campaign)[0]
        ledger.record(stage.engine, campaign, [not_called(row.subscriber_id, row.attempt_id, "x")], sender="me")
        stage.sql("UPDATE otn.recipient SET not_before = NULL")
    stage.sandbox.faults(next=[{"kind": "error", "code": 2, "status": 400}])
    stage.send(campaign, limits=replace(QUICK, run_s=2))
    figures = stage.report(campaign)
    assert (figures["waiting"], figures["refused"]) == (1, 0)


def test_a_row_in_doubt_is_not_given_up_over_calls_that_were_never_made(stage: Stage) -> None:
    stage.opt_in(1)
    campaign = stage.planned()
    first = claim(stage, campaign)[0]
    doubt = [Answer(first.subscriber_id, first.attempt_id, "unknown", reason="timeout")]
    ledger.record(stage.engine, campaign, doubt, sender="me")
    for _ in range(7):
        row = doubtful(stage, campaign)[0]
        ledger.record(stage.engine, campaign, [not_called(row.subscriber_id, row.attempt_id, "x")], sender="me")
    assert doubtful(stage, campaign), "nobody ever asked about it again, and nobody will"


def test_a_campaign_that_has_sent_everything_is_not_halted_over_its_page(stage: Stage) -> None:
    stage.opt_in(2)
    campaign = stage.planned()
    stage.send(campaign)
    stage.sql("UPDATE otn.page SET halted_at = now(), halt_reason = 'another campaign met 190'")
    stage.reconcile(campaign)
    assert control.end_run(stage.engine, campaign) == "finished"


def test_a_sender_that_finds_everything_done_is_done(stage: Stage) -> None:
    stage.opt_in(2)
    campaign = stage.planned()
    stage.run(campaign)
    assert stage.send(campaign).done
    assert stage.reconcile(campaign).done


# ── decisions


def test_a_second_trigger_that_wants_an_approval_gets_it(stage: Stage) -> None:
    """Scheduled without a question, triggered again with one: it waits for a yes instead of breaking a rule."""
    stage.open()
    campaign = open_for_approval(stage, approval=True)
    assert (campaign.state, campaign.needs_approval) == ("awaiting_approval", True)


def test_nobody_can_say_yes_to_what_was_cancelled(stage: Stage) -> None:
    campaign = open_for_approval(stage).id
    approvals.reject(stage.engine, campaign, actor="carl", reason="typo")
    with pytest.raises(CampaignCancelledError):
        approvals.approve(stage.engine, campaign, actor="bob", cap=10)
    assert stage.sql("SELECT approved_by FROM otn.campaign") == [(None,)]


def test_an_interrupted_campaign_whose_last_answer_came_late_ends_finished(stage: Stage) -> None:
    stage.opt_in(1)
    campaign = stage.planned()
    row = claim(stage, campaign)[0]
    stage.sql("UPDATE otn.recipient SET lease_until = now()")  # it hangs
    assert control.end_run(stage.engine, campaign) == "interrupted"
    ledger.record(
        stage.engine, campaign, [Answer(row.subscriber_id, row.attempt_id, "sent", message_id="m_1")], sender="me"
    )
    assert control.end_run(stage.engine, campaign) == "finished"


def test_retrying_who_waits_calls_them_now_in_a_campaign_that_was_left_sending(stage: Stage) -> None:
    """All was killed while people were told to wait an hour: the state is still "sending"."""
    stage.opt_in(1)
    campaign = stage.planned()
    row = claim(stage, campaign)[0]
    answers = [Answer(row.subscriber_id, row.attempt_id, "returned", reason="throttled", wait_s=3600.0)]
    ledger.record(stage.engine, campaign, answers, sender="me")
    assert control.retry(stage.engine, campaign, scope="waiting", actor="ops") == 1
    assert len(claim(stage, campaign)) == 1


def test_a_finished_campaign_is_not_red_over_a_later_halt_of_its_page(stage: Stage) -> None:
    stage.opt_in(1)
    campaign = stage.planned()
    stage.run(campaign)
    stage.sql("UPDATE otn.page SET halted_at = now(), halt_reason = 'another campaign met 190'")
    assert report.problems(stage.report(campaign)) == []


def test_the_advice_for_a_cancelled_campaign_can_be_followed(stage: Stage) -> None:
    stage.opt_in(1)
    campaign = stage.planned()
    row = claim(stage, campaign)[0]
    answers = [Answer(row.subscriber_id, row.attempt_id, "unknown", reason="timeout")]
    ledger.record(stage.engine, campaign, answers, sender="me")
    control.cancel(stage.engine, campaign, actor="ops")
    # otn_retry refuses a cancelled campaign.
    assert not any("otn_retry" in problem for problem in report.problems(stage.report(campaign)))


# ── evidence


def test_a_read_that_is_faster_than_our_own_bookkeeping_counts(stage: Stage) -> None:
    """The platform answered ten seconds ago, the person read five seconds ago, the row is recorded now; no echo."""
    psid = stage.opt_in(1)[0]
    campaign = stage.planned()
    row = claim(stage, campaign)[0]
    answer = Answer(row.subscriber_id, row.attempt_id, "sent", message_id="m_1")
    event = stage.sql(
        "INSERT INTO otn.event (fingerprint, page_id, subscriber_id, kind, occurred_at, watermark, webhook_day,"
        " webhook_id) SELECT sha256('read'), page_id, id, 'read', now(), clock_timestamp() - interval '5 seconds',"
        " '2000-01-01', gen_random_uuid() FROM otn.subscriber WHERE psid = %s RETURNING id",
        psid,
    )[0][0]
    with transaction(stage.engine) as connection:
        evidence.settle(connection, [event])
    ledger.record(stage.engine, campaign, [replace(answer, at=answer.at - 10)], sender="me")
    evidence.settle_campaign(stage.engine, campaign)
    assert stage.report(campaign)["read"] == 1


# ── messages


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello{# ask legal first #} there", "Hello there"),
        ("{{ 'Hello' }} there", "Hello there"),
        ("{% raw %}{{ first_name }}{% endraw %}", "{{ first_name }}"),
        ("{% if true %}Hello there{% endif %}", "Hello there"),
    ],
)
def test_a_template_without_fields_is_rendered_too(text: str, expected: str) -> None:
    assert compile_message({"text": text}).render({}) == {"text": expected}


@pytest.mark.parametrize(
    "text",
    [
        "{{ " + "(" * 300 + "first_name" + ")" * 300 + " }}",
        "{{ " + "not " * 900 + "first_name }}",
        "{% if first_name is defined %}" * 120 + "x" + "{% endif %}" * 120,
        "{{ first_name" + " | upper" * 900 + " }}",
    ],
    ids=["parentheses", "not", "if", "filters"],
)
def test_a_template_that_is_nested_beyond_measure_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises((TemplateError, MessageError)):
        compile_message({"text": text})


def test_a_message_that_is_nested_beyond_measure_is_refused_with_a_sentence() -> None:
    message: Any = "x"
    for _ in range(600):
        message = [message]
    with pytest.raises(MessageError):
        compile_message({"text": "hi", "quick_replies": message})


def test_a_message_that_names_the_same_part_again_and_again_is_refused_before_it_is_walked() -> None:
    """Two hundred bytes of YAML can describe a billion parts."""
    looks = 0

    class Watched(list[Any]):
        def __iter__(self) -> Any:
            nonlocal looks
            looks += 1
            return super().__iter__()

    part: Any = Watched(["x"])
    for _ in range(14):
        part = Watched([part, part])
    with pytest.raises(MessageError):
        compile_message({"text": "hi", "quick_replies": part})
    assert looks < 10_000


def test_no_text_grows_large_while_it_is_rendered() -> None:
    text = "{{ first_name" + " | replace('a', 'aaaaaaaaaa')" * 7 + " }}"
    tracemalloc.start()
    try:
        with pytest.raises((TemplateError, RenderError)):
            compile_message({"text": text}).render({"first_name": "a"})
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "text",
    [
        "{% if first_name %}Hi {{ first_name }}{% else %}Hello{% endif %}",
        "{{ 'Hi ' if first_name else 'Hello' }}",
    ],
)
def test_a_missing_field_can_be_asked_for_by_if(text: str) -> None:
    assert compile_message({"text": text}).render({})["text"] == "Hello"


@pytest.mark.parametrize(
    ("message", "variables"),
    [
        ({"text": "{{ first_name | default('') }}"}, {}),
        (
            {"attachment": {"type": "image", "payload": {"url": "https://cdn.example/{{ city }}.png"}}},
            {"city": "New York"},
        ),
    ],
    ids=["empty", "no address"],
)
def test_a_person_who_is_skipped_is_told_the_right_reason(message: dict[str, Any], variables: dict[str, str]) -> None:
    with pytest.raises(RenderError) as refused:
        compile_message(message).render(variables)
    assert refused.value.reason != "message_over_limit"


# ── keys, settings, schema


@pytest.mark.parametrize("length", range(5, 17))
def test_a_sealed_text_that_was_cut_short_is_refused_like_any_other(keyring: Keyring, length: int) -> None:
    with pytest.raises(DecryptionError):
        keyring.decrypt(keyring.encrypt(b"token", "token")[:length], "token")


@pytest.mark.parametrize("between", ["", ";", "\n", "|"])
def test_two_keys_that_run_into_each_other_are_not_taken_for_the_first(between: str) -> None:
    """The older key would be lost in silence, and with it every token that it sealed."""
    glued = new_key() + between + new_key()
    with pytest.raises(ConfigurationError):
        read_keyring({"OTN_ENCRYPTION_KEYS": glued, "OTN_HASH_KEY": new_key()})


@pytest.mark.parametrize("name", ["opt ins", "a/b", "käse", "100%"])
def test_a_database_of_any_name_is_reached(name: str) -> None:
    assert make_url(database_url(Connection("otn_db", host="db", schema=name))).database == name


@pytest.mark.usefixtures("database")
def test_a_receipt_that_is_stored_at_the_same_moment_does_not_keep_partitions_from_being_made(
    emptied_url: str,
) -> None:
    """The receipt of a day without partition is not committed yet when the partitions are made."""
    plain = make_url(emptied_url).set(drivername="postgresql").render_as_string(hide_password=False)
    made: list[Any] = []
    waited = False

    def make() -> None:
        with closing(psycopg2.connect(plain)) as connection, connection.cursor() as cursor:
            try:
                cursor.execute("SELECT otn.make_webhook_partitions('2035-03-02', 3)")
                made.append(cursor.fetchone()[0])
                connection.rollback()  # the database is shared
            except psycopg2.Error as error:
                made.append(error)

    with closing(psycopg2.connect(plain)) as receiver, receiver.cursor() as cursor:
        cursor.execute(
            "INSERT INTO otn.webhook_event (received_day, id, body) VALUES ('2035-03-02', gen_random_uuid(), 'x')"
        )
        maker = threading.Thread(target=make)
        maker.start()
        with closing(psycopg2.connect(plain)) as watcher:
            give_up = time.monotonic() + 30
            while time.monotonic() < give_up and maker.is_alive() and not waited:
                waited = blocked(watcher)
                time.sleep(0.02)
        receiver.commit()
        maker.join(30)
    assert waited, "the receipt was stored before the partitions were made"
    assert made == [2]


def blocked(connection: Any) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
            " WHERE NOT l.granted AND d.datname = current_database()"
        )
        found = bool(cursor.fetchone()[0])
    connection.rollback()
    return found
