from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from otn.campaign import approval as approvals
from otn.campaign import control, ledger, plan, report
from otn.campaign.answers import Answer, not_called
from otn.campaign.control import ContentDiffersError
from otn.crypto import new_key, read_keyring
from otn.database import DatabaseError, queries, transaction
from otn.errors import ConfigurationError, UsageError
from otn.messenger.client import SendRequest
from tests.campaign.stage import QUICK, Stage


def test_everyone_gets_the_message_once_and_every_row_says_so(stage: Stage) -> None:
    people = stage.opt_in(230, (1, 3))
    campaign = stage.planned(text='Hi {{ first_name | default("there") }}')
    figures = stage.run(campaign)
    assert stage.seen() == dict.fromkeys(people, 1)
    assert (figures["sent"], figures["sent_inferred"], figures["state"]) == (230, 0, "finished")
    assert report.problems(figures) == []
    texts = {row["message"]["text"] for row in stage.sandbox.ledger(stage.settings.page_id)}
    assert "Hi P0" in texts
    assert len(texts) == 230
    stage.promise_holds(campaign)


def test_a_second_run_of_the_same_key_sends_nothing(stage: Stage) -> None:
    stage.opt_in(20)
    campaign = stage.planned()
    stage.run(campaign)
    again = stage.planned()
    stage.run(again)
    assert again == campaign
    assert sum(stage.seen().values()) == 20


def test_the_same_key_with_other_content_is_refused(stage: Stage) -> None:
    stage.open(text="one")
    with pytest.raises(ContentDiffersError, match="Use a new key"):
        stage.open(text="two")


def test_two_senders_of_one_chunk_share_it_without_a_double(stage: Stage) -> None:
    stage.opt_in(1500)
    campaign = stage.planned()
    errors: list[BaseException] = []

    def sender() -> None:
        try:
            stage.send(campaign)
        except BaseException as error:  # noqa: BLE001 - handed to the test
            errors.append(error)

    threads = [threading.Thread(target=sender) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    stage.promise_holds(campaign)
    assert stage.report(campaign)["sent"] == 1500


@pytest.mark.parametrize(
    ("kind", "evidence"),
    [
        ("drop_after", "token_used_inferred"),  # answered by nothing, but the person saw it
        ("drop", "answer"),  # answered by nothing, and nothing happened
        ("server_error_after", "token_used_inferred"),
        ("server_error", "answer"),
        ("html_after", "token_used_inferred"),
        ("garbage_after", "token_used_inferred"),
        ("sent_but_error", "token_used_inferred"),
        ("batch_cut_after", "token_used_inferred"),
    ],
)
def test_an_unclear_answer_is_settled_by_asking_again_with_the_same_token(
    stage: Stage, kind: str, evidence: str
) -> None:
    people = stage.opt_in(6)
    campaign = stage.planned()
    stage.sandbox.faults(next=[{"kind": kind, "psid": people[2]}])
    stage.send(campaign)
    assert stage.states(campaign)[people[2]] == ("unknown", None)
    stage.reconcile(campaign)
    assert stage.states(campaign)[people[2]] == ("sent", evidence)
    assert set(stage.seen().values()) == {1}
    stage.promise_holds(campaign)


def test_a_person_who_blocked_the_page_is_refused_with_the_code_and_keeps_the_token(stage: Stage) -> None:
    people = stage.opt_in(4)
    stage.sandbox.block(stage.settings.page_id, [people[1]], family="551/1893047")
    figures = stage.run(stage.planned())
    assert (figures["sent"], figures["refused"], figures["errors"]) == (3, 1, {"551/1893047": 1})
    assert figures["tokens_spent"] == 3
    second = stage.report(stage.planned("second"))
    assert (second["planned"], second["excluded"]) == (0, {"token_spent": 3, "unreachable": 1})
    stage.sandbox.unblock(stage.settings.page_id, [people[1]])
    stage.sql("UPDATE otn.subscriber SET last_interaction_at = clock_timestamp() WHERE psid = %s", people[1])
    third = stage.run(stage.planned("third"))
    assert (third["planned"], third["sent"], third["excluded"]) == (1, 1, {"token_spent": 3})


def test_whoever_a_retry_reaches_is_not_unreachable_any_more(stage: Stage) -> None:
    person = stage.opt_in(1, tokens_per_person=(2, 2))[0]
    stage.sandbox.block(stage.settings.page_id, [person], family="551/1893047")
    campaign = stage.planned()
    assert stage.run(campaign)["refused"] == 1
    stage.sandbox.unblock(stage.settings.page_id, [person])
    assert control.retry(stage.engine, campaign, scope="refused", actor="anna") == 1
    assert stage.run(campaign)["sent"] == 1
    assert stage.report(stage.planned("second"))["excluded"] == {}


def test_blocked_after_an_unclear_call_stays_unknown(stage: Stage) -> None:
    people = stage.opt_in(1)
    campaign = stage.planned()
    stage.sandbox.faults(next=[{"kind": "drop_after", "psid": people[0]}])
    stage.send(campaign)
    stage.sandbox.block(stage.settings.page_id, people, family="551")
    stage.reconcile(campaign)
    # The sandbox looks at the token first and says "used": had it said 551, nothing would be settled.
    state, evidence = stage.states(campaign)[people[0]]
    assert (state, evidence) in {("sent", "token_used_inferred"), ("unknown", None)}
    stage.promise_holds(campaign)


def test_a_token_that_somebody_else_spent_is_refused_and_raises_the_alarm(stage: Stage) -> None:
    stage.opt_in(3)
    campaign = stage.planned()
    token = next(iter(stage.sandbox.tokens(stage.settings.page_id)))["token"]
    stage.client.send(SendRequest({"one_time_notif_token": token}, {"text": "from elsewhere"}))
    figures = stage.run(campaign)
    assert (figures["sent"], figures["refused"], figures["spent_elsewhere"]) == (2, 1, 1)
    assert any("who else sends" in problem for problem in report.problems(figures))


def test_a_dead_page_token_halts_the_campaign_and_spends_nothing(stage: Stage) -> None:
    stage.opt_in(500)
    campaign = stage.planned()
    stage.sandbox.page(stage.settings.page_id, dead=463)
    result = stage.send(campaign)
    assert (result.done, result.state) == (False, "halted")
    figures = stage.report(campaign)
    assert (figures["waiting"], figures["sent"], figures["unknown"]) == (500, 0, 0)
    assert "190" in figures["halt_reason"]
    stage.sandbox.page(stage.settings.page_id, dead=None)
    assert stage.planned() == campaign  # triggered again: resumed
    assert stage.run(campaign)["sent"] == 500


def test_ten_equal_content_errors_halt_the_campaign(stage: Stage) -> None:
    stage.opt_in(600)
    campaign = stage.planned()
    stage.sandbox.faults({"error": {"probability": 1, "code": 100, "subcode": 2018047, "status": 400}})
    result = stage.send(campaign)
    assert result.state == "halted"
    assert "10" in stage.report(campaign)["halt_reason"] or "times in a row" in stage.report(campaign)["halt_reason"]
    assert stage.report(campaign)["sent"] == 0


def test_a_throttle_sends_nobody_into_doubt_and_the_page_keeps_silent(stage: Stage) -> None:
    stage.opt_in(120)
    campaign = stage.planned()
    stage.sandbox.faults(next=[{"kind": "error", "code": 613, "status": 400, "message": "limit"}])
    stage.send(campaign, limits=replace(QUICK, run_s=1.5))
    figures = stage.report(campaign)
    assert figures["unknown"] == 0
    assert figures["sent"] + figures["waiting"] == 120
    assert figures["waiting"] > 0
    assert stage.sql("SELECT next_at > clock_timestamp() + interval '5 seconds' FROM otn.pace")[0][0]


def test_answers_are_recorded_though_the_silence_cannot_be_booked(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.opt_in(1)
    campaign = stage.planned()
    stage.sandbox.faults(next=[{"kind": "error", "code": 613, "status": 400, "message": "limit"}])
    monkeypatch.setattr(queries("pace"), "hold_back", lambda connection, **_: connection.cursor().execute("SELECT 1/0"))
    with pytest.raises(DatabaseError, match="22012"):
        stage.send(campaign)
    assert stage.report(campaign)["waiting"] == 1


def test_a_suppressed_person_is_skipped_at_the_last_moment(stage: Stage) -> None:
    people = stage.opt_in(5)
    campaign = stage.planned()
    stage.sql(
        "INSERT INTO otn.suppression (subscriber_id, reason)"
        " SELECT id, 'stop_word' FROM otn.subscriber WHERE psid = %s",
        people[0],
    )
    figures = stage.run(campaign)
    assert (figures["sent"], figures["skipped"]) == (4, {"suppressed": 1})
    assert stage.seen()[people[0]] == 0


def test_a_missing_personal_field_skips_the_person_and_says_so(stage: Stage) -> None:
    people = stage.opt_in(3)
    stage.sql("UPDATE otn.subscriber SET first_name = NULL WHERE psid = %s", people[1])
    figures = stage.run(stage.planned(text="Hi {{ first_name }}"))
    assert (figures["sent"], figures["skipped"]) == (2, {"personal_field_missing": 1})


def test_pause_stops_claims_and_resume_goes_on(stage: Stage) -> None:
    stage.opt_in(50)
    campaign = stage.planned()
    control.pause(stage.engine, campaign, actor="ops")
    assert stage.send(campaign).done is False
    assert stage.seen() == {}
    control.resume(stage.engine, campaign, actor="ops")
    assert stage.run(campaign)["sent"] == 50


def test_cancel_frees_the_tokens_of_everyone_who_waits(stage: Stage) -> None:
    stage.opt_in(10)
    campaign = stage.planned()
    control.cancel(stage.engine, campaign, actor="ops")
    assert stage.send(campaign).state == "cancelled"
    figures = stage.report(campaign)
    assert (figures["cancelled"], figures["tokens_spent"]) == (10, 0)
    with pytest.raises(UsageError, match="cancelled"):
        stage.open()
    assert stage.run(stage.planned("other"))["sent"] == 10


def test_a_chunk_is_walked_in_rounds_and_whoever_came_back_belongs_to_the_next(stage: Stage) -> None:
    stage.opt_in(5)
    campaign = stage.planned()
    chunk = ledger.WaitingChunk(campaign, 1)

    def claimed() -> list[int]:
        claims = ledger.claim(stage.engine, chunk, most=2, lease_s=60, sender="walker")
        back = [not_called(row.subscriber_id, row.attempt_id, "not_called") for row in claims.rows]
        if back:
            ledger.record(stage.engine, campaign, back, sender="walker")
            stage.sql("UPDATE otn.recipient SET not_before = NULL")
        return sorted(row.subscriber_id for row in claims.rows)

    everybody = [row[0] for row in stage.sql("SELECT subscriber_id FROM otn.recipient ORDER BY subscriber_id")]
    assert [claimed(), claimed(), claimed()] == [everybody[:2], everybody[2:4], everybody[4:]]
    with transaction(stage.engine) as connection:
        assert chunk.is_due(connection)  # nobody is left behind the last one, but before
    assert claimed() == everybody[:2]
    chunk.after = everybody[-1]
    assert (claimed(), claimed()) == ([], everybody[:2])


def test_a_killed_senders_rows_are_in_doubt_and_settled_after_their_lease(stage: Stage) -> None:
    people = stage.opt_in(4)
    campaign = stage.planned()
    claims = ledger.claim(stage.engine, ledger.WaitingChunk(campaign, 1), most=2, lease_s=0.5, sender="killed")
    token = stage.keyring.decrypt(claims.rows[0].token_encrypted, "token").decode()
    stage.client.send(
        SendRequest({"one_time_notif_token": token}, {"text": "It is back!", "metadata": claims.rows[0].attempt_id})
    )
    figures = stage.run(campaign)  # waits for the lease by itself
    assert (figures["sent"], figures["sent_inferred"]) == (4, 1)
    assert stage.seen() == dict.fromkeys(people, 1)
    stage.promise_holds(campaign)


def test_a_zombie_that_wakes_after_its_lease_cannot_overwrite_but_its_acceptance_counts(stage: Stage) -> None:
    stage.opt_in(2)
    campaign = stage.planned()
    claims = ledger.claim(stage.engine, ledger.WaitingChunk(campaign, 1), most=2, lease_s=0.05, sender="zombie")
    stage.run(campaign)  # another run settles both
    late = [
        Answer(claims.rows[0].subscriber_id, claims.rows[0].attempt_id, "refused", error_code=551),
        Answer(claims.rows[1].subscriber_id, claims.rows[1].attempt_id, "sent", message_id="m_late"),
    ]
    ledger.record(stage.engine, campaign, late, sender="zombie")
    assert [state for state, _ in stage.states(campaign).values()] == ["sent", "sent"]
    logged = stage.sql("SELECT count(*) FROM otn.attempt WHERE sender = 'zombie' AND step = 'answer'")
    assert logged[0][0] == 2
    stage.promise_holds(campaign)


def test_recording_the_same_answers_twice_changes_nothing_twice(stage: Stage) -> None:
    stage.opt_in(1)
    campaign = stage.planned()
    row = ledger.claim(stage.engine, ledger.WaitingChunk(campaign, 1), most=1, lease_s=9, sender="me").rows[0]
    answer = [Answer(row.subscriber_id, row.attempt_id, "refused", error_code=551, retry_worth=True)]
    ledger.record(stage.engine, campaign, answer, sender="me")
    assert ledger.record(stage.engine, campaign, answer, sender="me").states == {}
    assert stage.sql("SELECT answered, refused FROM otn.campaign") == [(1, 1)]


def test_retry_of_refused_rows_takes_only_what_is_worth_it(stage: Stage) -> None:
    people = stage.opt_in(4)
    stage.sandbox.block(stage.settings.page_id, people[:2], family="551")
    campaign = stage.planned()
    stage.run(campaign)
    stage.sandbox.unblock(stage.settings.page_id, people[:1])
    assert control.retry(stage.engine, campaign, scope="refused", actor="ops") == 2
    figures = stage.run(campaign)
    assert (figures["sent"], figures["refused"]) == (3, 1)
    stage.promise_holds(campaign)


def test_two_campaigns_that_plan_at_once_never_share_a_token(stage: Stage) -> None:
    stage.opt_in(300, (1, 2))
    campaigns = [stage.open(f"c{n}") for n in range(4)]
    threads = [
        threading.Thread(target=plan.plan, args=(stage.engine, campaign), kwargs={"messages_per_second": None})
        for campaign in campaigns
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shared = stage.sql("SELECT token_id FROM otn.recipient WHERE holds_token GROUP BY token_id HAVING count(*) > 1")
    assert shared == []
    for campaign in campaigns:
        figures = stage.report(campaign)
        assert figures["audience"] == 300 == figures["planned"] + sum(figures["excluded"].values())


def test_a_wrong_key_loses_no_row(stage: Stage) -> None:
    stage.opt_in(3)
    campaign = stage.planned()
    right, stage.keyring = stage.keyring, read_keyring({"OTN_ENCRYPTION_KEYS": new_key(), "OTN_HASH_KEY": new_key()})
    with pytest.raises(ConfigurationError, match="OTN_ENCRYPTION_KEYS"):
        stage.send(campaign)
    assert stage.report(campaign)["waiting"] == 3
    stage.keyring = right
    assert stage.run(campaign)["sent"] == 3


def test_the_pace_holds_over_two_senders_as_the_platform_measures_it(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(messages_per_second=60.0)
    stage.opt_in(260)
    campaign = stage.planned()
    stage.sandbox.clear_pace()
    threads = [threading.Thread(target=stage.send, args=(campaign,)) for _ in range(2)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - began
    assert stage.report(campaign)["sent"] == 260
    page = stage.sandbox.pace()[stage.settings.page_id]
    print(page, took)
    assert page["most_accepted_in_1s"] <= 66


def test_a_page_that_the_platform_has_barred_halts_the_campaign_before_any_call(stage: Stage) -> None:
    stage.opt_in(5)
    campaign = stage.planned()
    stage.sql("UPDATE otn.page SET halted_at = clock_timestamp(), halt_reason = 'policy_enforcement: spam'")
    assert stage.send(campaign).state == "halted"
    assert stage.report(campaign)["halt_reason"] == "policy_enforcement: spam"
    assert stage.seen() == {}


def test_a_silence_that_the_platform_wants_is_not_taken_up_by_permits(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(messages_per_second=100.0)
    stage.opt_in(30)
    campaign = stage.planned()
    stage.sql(
        "INSERT INTO otn.pace (page_id, next_at) VALUES (%s, clock_timestamp() + interval '60 s')", stage.page_row
    )
    before = stage.sql("SELECT next_at FROM otn.pace")
    assert stage.send(campaign, limits=replace(QUICK, run_s=1.0)).done is False
    assert stage.sql("SELECT next_at FROM otn.pace") == before
    assert stage.seen() == {}


def test_more_people_than_were_approved_are_not_planned(stage: Stage) -> None:
    stage.opt_in(3)
    campaign = stage.open()
    approvals.approve(stage.engine, campaign, actor="boss", cap=2)
    with pytest.raises(plan.NotStartableError, match="asks again"):
        plan.plan(stage.engine, campaign, messages_per_second=None)
    assert stage.states(campaign) == {}


def test_batches_that_are_cut_count_as_calls_and_not_by_head(stage: Stage) -> None:
    """Four batches of fifty without an answer are four calls without an answer: no reason to halt."""
    stage.opt_in(400)
    campaign = stage.planned()
    stage.sandbox.faults(next=[{"kind": "batch_cut", "count": 4, "page_id": stage.settings.page_id}])
    figures = stage.run(campaign)
    assert (figures["state"], figures["sent"]) == ("finished", 400)
    stage.promise_holds(campaign)
