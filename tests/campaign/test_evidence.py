from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from otn.campaign import control, evidence, ledger
from otn.campaign.answers import Answer
from otn.database import queries, transaction
from tests.campaign.stage import Stage
from tests.clean import database, emptied_url

__all__ = ["database", "emptied_url"]

MOMENT = datetime(2040, 5, 1, 12, tzinfo=UTC)  # later than every send of these tests


def event(stage: Stage, kind: str, psid: str, *, page: int | None = None, **values: Any) -> int:
    """Store an event as ingest does; answers its id."""
    columns = {"kind": kind, "occurred_at": MOMENT, "webhook_day": MOMENT.date(), **values}
    names, marks = ", ".join(columns), ", ".join(["%s"] * len(columns))
    return int(
        stage.sql(
            f"INSERT INTO otn.event (fingerprint, webhook_id, page_id, subscriber_id, {names})"
            " SELECT sha256(gen_random_uuid()::text::bytea), gen_random_uuid(), page_id, id,"
            f" {marks} FROM otn.subscriber WHERE psid = %s AND page_id = %s RETURNING id",
            *columns.values(),
            psid,
            page or stage.page_row,
        )[0][0]
    )


def happen(stage: Stage, kind: str, psid: str, **values: Any) -> None:
    """An event comes in and is settled."""
    settle(stage, event(stage, kind, psid, **values))


def settle(stage: Stage, *ids: int) -> None:
    with transaction(stage.engine) as connection:
        evidence.settle(connection, ids)


def claim(stage: Stage, campaign: int) -> ledger.Claimed:
    return ledger.claim(stage.engine, ledger.WaitingChunk(campaign, 1), most=1, lease_s=60, sender="me").rows[0]


def ask_again(stage: Stage, campaign: int) -> ledger.Claimed:
    stage.sql("UPDATE otn.recipient SET not_before = NULL")
    return ledger.claim(stage.engine, ledger.Doubtful(campaign), most=1, lease_s=60, sender="me").rows[0]


def answered(stage: Stage, campaign: int, row: ledger.Claimed, outcome: str, **values: Any) -> None:
    answer = Answer(row.subscriber_id, row.attempt_id, outcome, **values)
    ledger.record(stage.engine, campaign, [answer], sender="me")


def row_of(stage: Stage, campaign: int) -> dict[str, Any]:
    with transaction(stage.engine) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT * FROM otn.recipient WHERE campaign_id = %s", (campaign,))
        rows = cursor.fetchall()
    assert len(rows) == 1
    return dict(rows[0]._asdict())


def sending(stage: Stage, campaign: int, row: ledger.Claimed) -> None:
    pass


def unknown(stage: Stage, campaign: int, row: ledger.Claimed) -> None:
    answered(stage, campaign, row, "unknown", reason="timeout")


def refused(stage: Stage, campaign: int, row: ledger.Claimed) -> None:
    answered(stage, campaign, row, "refused", error_code=551, error_subcode=1893047, retry_worth=True)


def token_refused(stage: Stage, campaign: int, row: ledger.Claimed) -> None:
    answered(stage, campaign, row, "refused", error_code=100, token_refused=True, token_used=True)


def waiting(stage: Stage, campaign: int, row: ledger.Claimed) -> None:
    answered(stage, campaign, row, "returned", reason="throttled", wait_s=60.0)


def cancelled(stage: Stage, campaign: int, row: ledger.Claimed) -> None:
    control.cancel(stage.engine, campaign, actor="ops")
    waiting(stage, campaign, row)


def skipped(stage: Stage, campaign: int, row: ledger.Claimed) -> None:
    answered(stage, campaign, row, "returned", reason="personal_field_missing", skip=True)


def asked_again(stage: Stage, campaign: int, row: ledger.Claimed) -> None:
    unknown(stage, campaign, row)
    ask_again(stage, campaign)


def sent_inferred(stage: Stage, campaign: int, row: ledger.Claimed) -> None:
    unknown(stage, campaign, row)
    token_refused(stage, campaign, ask_again(stage, campaign))


STATES = [
    (sending, "sending"),
    (unknown, "unknown"),
    (asked_again, "sending"),
    (refused, "refused"),
    (token_refused, "refused"),
    (waiting, "waiting"),
    (cancelled, "cancelled"),
    (skipped, "skipped"),
    (sent_inferred, "sent"),
]


@pytest.fixture
def one(stage: Stage) -> tuple[Stage, str, int, ledger.Claimed]:
    """A person, a campaign, and a call under way."""
    psid = stage.opt_in(1)[0]
    campaign = stage.planned()
    return stage, psid, campaign, claim(stage, campaign)


One = tuple[Stage, str, int, ledger.Claimed]
Step = Callable[[Stage, int, ledger.Claimed], None]


@pytest.mark.parametrize(("step", "state"), STATES, ids=lambda value: getattr(value, "__name__", value))
def test_an_echo_with_our_metadata_settles_whatever_stood_there(one: One, step: Step, state: str) -> None:
    stage, psid, campaign, row = one
    step(stage, campaign, row)
    assert row_of(stage, campaign)["state"] == state
    happen(stage, "echo", psid, mid="m_echo", metadata=row.attempt_id)
    got = row_of(stage, campaign)
    assert (got["state"], got["evidence"], got["message_id"], got["sent_at"]) == ("sent", "echo", "m_echo", MOMENT)
    assert (got["lease_until"], got["not_before"], got["reason"], got["error_code"]) == (None, None, None, None)
    assert (got["holds_token"], got["retry_worth"], got["token_dead"]) == (True, False, False)
    stage.sql("UPDATE otn.campaign SET state = 'sending' WHERE state = 'interrupted'")
    source = ledger.WaitingChunk(campaign, 1)
    assert ledger.claim(stage.engine, source, most=9, lease_s=9, sender="me").rows == []
    assert stage.report(campaign)["sent_inferred"] == 0


@pytest.mark.parametrize("step", [sending, unknown, refused])
@pytest.mark.parametrize(
    "values",
    [
        {"mid": "m_foreign", "metadata": "22222222-2222-2222-2222-222222222222"},
        {"mid": "m_foreign", "metadata": "something else"},
        {"mid": "m_foreign"},
        {"metadata": "ours"},  # without a message id it proves no message
    ],
    ids=["other id", "other text", "none", "no mid"],
)
def test_an_echo_that_is_not_of_our_message_changes_nothing(one: One, step: Step, values: dict[str, str]) -> None:
    stage, psid, campaign, row = one
    step(stage, campaign, row)
    before = row_of(stage, campaign)
    given = {**values, **({"metadata": row.attempt_id} if values.get("metadata") == "ours" else {})}
    happen(stage, "echo", psid, **given)
    assert row_of(stage, campaign) == before


def test_an_echo_of_another_persons_conversation_settles_nobody(stage: Stage) -> None:
    people = stage.opt_in(2)
    campaign = stage.planned()
    row = claim(stage, campaign)
    mine = stage.sql("SELECT psid FROM otn.subscriber WHERE id = %s", row.subscriber_id)[0][0]
    other = next(psid for psid in people if psid != mine)
    happen(stage, "echo", other, mid="m_echo", metadata=row.attempt_id)
    assert {state for state, _ in stage.states(campaign).values()} == {"sending", "waiting"}


def test_an_echo_of_the_same_psid_on_another_page_settles_nobody(one: One) -> None:
    stage, psid, campaign, row = one
    page = stage.sql("INSERT INTO otn.page (page_id, connection_id) VALUES ('2', 'second') RETURNING id")[0][0]
    stage.sql("INSERT INTO otn.subscriber (page_id, psid) VALUES (%s, %s)", page, psid)
    happen(stage, "echo", psid, page=page, mid="m_echo", metadata=row.attempt_id)
    assert row_of(stage, campaign)["state"] == "sending"


def test_an_echo_beside_an_accepted_row_only_tells_its_time(one: One) -> None:
    stage, psid, campaign, row = one
    answered(stage, campaign, row, "sent", message_id="m_1")
    happen(stage, "echo", psid, mid="m_1")
    happen(stage, "echo", psid, mid="m_second", metadata=row.attempt_id)
    got = row_of(stage, campaign)
    assert (got["evidence"], got["message_id"], got["sent_at"]) == ("answer", "m_1", MOMENT)


@pytest.mark.parametrize(
    ("outcome", "values"),
    [
        ("sent", {"message_id": "m_answer"}),
        ("refused", {"error_code": 100, "token_refused": True, "token_used": True}),
        ("refused", {"error_code": 551}),
        ("returned", {"reason": "throttled"}),
        ("unknown", {"reason": "timeout"}),
    ],
)
def test_after_an_echo_no_answer_changes_the_row(one: One, outcome: str, values: dict[str, Any]) -> None:
    stage, psid, campaign, row = one
    happen(stage, "echo", psid, mid="m_echo", metadata=row.attempt_id)
    before = row_of(stage, campaign)
    answered(stage, campaign, row, outcome, **values)
    assert row_of(stage, campaign) == before
    assert stage.sql("SELECT outcome FROM otn.attempt WHERE step = 'answer'") == [(outcome,)]


def test_the_same_echo_twice_is_once(one: One) -> None:
    stage, psid, campaign, row = one
    unknown(stage, campaign, row)
    first = event(stage, "echo", psid, mid="m_echo", metadata=row.attempt_id)
    settle(stage, first)
    before = {**row_of(stage, campaign), "updated_at": None}
    settle(stage, first, first, event(stage, "echo", psid, mid="m_echo", metadata=row.attempt_id))
    assert {**row_of(stage, campaign), "updated_at": None} == before


def test_no_events_are_no_work(stage: Stage) -> None:
    settle(stage)


def test_echoes_of_two_campaigns_settle_each_its_own(stage: Stage) -> None:
    psid = stage.opt_in(1, (2, 2))[0]
    campaigns = [stage.planned("one"), stage.planned("two")]
    rows = [claim(stage, campaign) for campaign in campaigns]
    settle(stage, *(event(stage, "echo", psid, mid=f"m_{n}", metadata=row.attempt_id) for n, row in enumerate(rows)))
    assert [row_of(stage, campaign)["message_id"] for campaign in campaigns] == ["m_0", "m_1"]


def test_an_echo_for_a_token_that_another_campaign_has_now_marks_it_contested(one: One) -> None:
    stage, psid, campaign, row = one
    refused(stage, campaign, row)
    other = stage.planned("other")
    happen(stage, "echo", psid, mid="m_echo", metadata=row.attempt_id)
    got = row_of(stage, campaign)
    assert (got["state"], got["token_contested"], got["holds_token"]) == ("sent", True, False)
    assert row_of(stage, other)["holds_token"]


# ── deliveries and reads


@pytest.fixture
def sent(one: One) -> One:
    stage, _, campaign, row = one
    answered(stage, campaign, row, "sent", message_id="m_1")
    return one


def sent_at(stage: Stage, campaign: int) -> datetime:
    moment: datetime = row_of(stage, campaign)["sent_at"]
    return moment


def test_a_delivery_that_names_our_message_is_noted(sent: One) -> None:
    stage, psid, campaign, _ = sent
    happen(stage, "delivery", psid, mids=["m_0", "m_1"], watermark=MOMENT - timedelta(hours=1))
    got = row_of(stage, campaign)
    assert (got["delivered_at"], got["read_at"]) == (MOMENT - timedelta(hours=1), None)


def test_a_delivery_without_watermark_counts_by_its_own_time(sent: One) -> None:
    stage, psid, campaign, _ = sent
    happen(stage, "delivery", psid, mids=["m_1"])
    assert row_of(stage, campaign)["delivered_at"] == MOMENT


@pytest.mark.parametrize(("after_s", "counts"), [(-1, False), (0, True), (1, True)])
@pytest.mark.parametrize("kind", ["delivery", "read"])
def test_a_watermark_covers_what_was_sent_up_to_it(sent: One, kind: str, after_s: int, counts: bool) -> None:
    stage, psid, campaign, _ = sent
    watermark = sent_at(stage, campaign) + timedelta(seconds=after_s)
    happen(stage, kind, psid, watermark=watermark)
    got = row_of(stage, campaign)
    assert got["delivered_at"] == (watermark if counts else None)
    assert got["read_at"] == (watermark if counts and kind == "read" else None)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("delivery", {"mids": ["m_other"]}),
        ("delivery", {"mids": []}),
        ("delivery", {}),
        ("read", {}),
        ("message", {"watermark": MOMENT}),
        ("reaction", {"mids": ["m_1"]}),
    ],
)
def test_what_says_nothing_of_our_message_is_not_noted(sent: One, kind: str, values: dict[str, Any]) -> None:
    stage, psid, campaign, _ = sent
    happen(stage, kind, psid, **values)
    got = row_of(stage, campaign)
    assert (got["delivered_at"], got["read_at"]) == (None, None)


@pytest.mark.parametrize("step", [sending, unknown, refused, waiting, cancelled, skipped])
def test_a_watermark_never_settles_a_row(one: One, step: Step) -> None:
    stage, psid, campaign, row = one
    step(stage, campaign, row)
    before = row_of(stage, campaign)
    happen(stage, "delivery", psid, watermark=MOMENT)
    happen(stage, "read", psid, watermark=MOMENT)
    assert row_of(stage, campaign) == before


def test_an_inferred_row_is_annotated_by_watermark_and_stays_inferred(one: One) -> None:
    stage, psid, campaign, row = one
    sent_inferred(stage, campaign, row)
    happen(stage, "read", psid, watermark=MOMENT)
    figures = stage.report(campaign)
    assert (figures["sent_inferred"], figures["delivered"], figures["read"]) == (1, 1, 1)


def test_the_first_delivery_and_the_first_read_stand(sent: One) -> None:
    stage, psid, campaign, _ = sent
    happen(stage, "read", psid, watermark=MOMENT)
    happen(stage, "delivery", psid, mids=["m_1"], watermark=MOMENT + timedelta(days=1))
    happen(stage, "read", psid, watermark=MOMENT + timedelta(days=1))
    got = row_of(stage, campaign)
    assert (got["delivered_at"], got["read_at"]) == (MOMENT, MOMENT)


def test_of_several_reports_at_once_the_earliest_counts(sent: One) -> None:
    stage, psid, campaign, _ = sent
    ids = [event(stage, "read", psid, watermark=MOMENT + timedelta(hours=n)) for n in (3, 1, 2)]
    settle(stage, *ids)
    assert row_of(stage, campaign)["read_at"] == MOMENT + timedelta(hours=1)


def test_another_persons_delivery_is_not_ours(stage: Stage) -> None:
    people = stage.opt_in(2)
    campaign = stage.planned()
    row = claim(stage, campaign)
    answered(stage, campaign, row, "sent", message_id="m_1")
    mine = stage.sql("SELECT psid FROM otn.subscriber WHERE id = %s", row.subscriber_id)[0][0]
    happen(stage, "delivery", next(psid for psid in people if psid != mine), mids=["m_1"], watermark=MOMENT)
    assert stage.report(campaign)["delivered"] == 0


@pytest.mark.parametrize("kind", ["echo", "delivery", "read"])
def test_what_came_before_the_answer_was_recorded_is_found_at_the_end_of_the_run(one: One, kind: str) -> None:
    stage, psid, campaign, row = one
    values = {
        "echo": {"mid": "m_1"},  # its metadata was lost on the way
        "delivery": {"mids": ["m_1"]},
        "read": {"watermark": MOMENT},
    }
    happen(stage, kind, psid, **values[kind])
    assert row_of(stage, campaign)["state"] == "sending"
    answered(stage, campaign, row, "sent", message_id="m_1")
    evidence.settle_campaign(stage.engine, campaign)
    got = row_of(stage, campaign)
    assert got["delivered_at"] == {"echo": None, "delivery": MOMENT, "read": MOMENT}[kind]
    assert got["read_at"] == {"echo": None, "delivery": None, "read": MOMENT}[kind]
    if kind == "echo":
        assert got["sent_at"] == MOMENT


def test_an_echo_that_came_while_the_sender_was_dead_settles_the_row_it_left(one: One) -> None:
    stage, psid, campaign, row = one
    event(stage, "echo", psid, mid="m_echo", metadata=row.attempt_id)  # stored, its settling was rolled back
    unknown(stage, campaign, row)
    stage.reconcile(campaign)
    assert row_of(stage, campaign)["evidence"] == "echo"
    assert stage.seen() == {}, "nobody was asked again"


def test_a_campaign_is_looked_through_in_slices(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "SLICE", 3)
    people = stage.opt_in(10)
    campaign = stage.planned()
    claims = ledger.claim(stage.engine, ledger.WaitingChunk(campaign, 1), most=10, lease_s=60, sender="me").rows
    psids = {int(i): psid for i, psid in stage.sql("SELECT id, psid FROM otn.subscriber")}
    for row in claims:
        event(stage, "echo", psids[row.subscriber_id], mid=f"m_{row.subscriber_id}", metadata=row.attempt_id)
    evidence.settle_campaign(stage.engine, campaign)
    assert stage.states(campaign) == dict.fromkeys(people, ("sent", "echo"))


def test_a_campaign_without_plan_has_no_evidence(stage: Stage) -> None:
    evidence.settle_campaign(stage.engine, stage.open())


def test_ingest_and_senders_on_the_same_rows_never_wait_in_a_circle(stage: Stage) -> None:
    stage.opt_in(60)
    campaign = stage.planned()
    claims = ledger.claim(stage.engine, ledger.WaitingChunk(campaign, 1), most=60, lease_s=60, sender="me").rows
    psids = {int(i): psid for i, psid in stage.sql("SELECT id, psid FROM otn.subscriber")}
    echoes = [
        event(stage, "echo", psids[row.subscriber_id], mid=f"e_{row.subscriber_id}", metadata=row.attempt_id)
        for row in claims
    ]
    errors: list[BaseException] = []

    def guarded(work: Callable[[], Any]) -> None:
        try:
            for _ in range(8):
                work()
        except BaseException as error:  # noqa: BLE001 - handed to the test
            errors.append(error)

    late = [Answer(row.subscriber_id, row.attempt_id, "sent", message_id="m") for row in reversed(claims)]

    def again() -> None:
        with transaction(stage.engine) as connection:
            queries("recipient").expire_leases(connection, campaign_id=campaign)

    work: list[Callable[[], Any]] = [
        lambda: settle(stage, *reversed(echoes)),
        lambda: ledger.record(stage.engine, campaign, late, sender="me"),
        lambda: ledger.renew(stage.engine, campaign, claims, 60),
        again,
    ]
    threads = [threading.Thread(target=guarded, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert stage.report(campaign)["sent"] == 60
