"""The page's pace: shared by campaigns and answers, slower for media, within the calls of a day."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from otn.campaign import control, plan
from otn.database import make_engine, queries, transaction
from otn.messenger.attachments import is_played
from otn.pace import Pace, Permit, Quota, read_quota, waits_for_quota
from otn.settings import PageSettings
from tests.asking.desk import Desk
from tests.campaign.stage import QUICK, Stage
from tests.clean import database, emptied_url

__all__ = ["database", "emptied_url"]

MakeStage = Callable[..., Stage]
VIDEO = {"attachment": {"type": "video", "payload": {"url": "https://media.example/film.mp4"}}}


@pytest.fixture
def page_row(database: Any) -> int:
    with transaction(database) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO otn.page (page_id, connection_id) VALUES ('1', 'one') RETURNING id")
        return int(cursor.fetchone()[0])


def run(database: Any, statement: str, *values: Any) -> list[Any]:
    with transaction(database) as connection, connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def people(database: Any, page_row: int, count: int) -> None:
    """People whose window is open."""
    run(
        database,
        "INSERT INTO otn.subscriber (page_id, psid, last_interaction_at)"
        " SELECT %s, gen_random_uuid()::text, clock_timestamp() FROM generate_series(1, %s)",
        page_row,
        count,
    )


def slide(database: Any) -> None:
    """A day goes by for every call."""
    run(database, "UPDATE otn.call_count SET slot = slot - interval '24 hours 5 minutes'")


# ── the part that is kept for answers


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("rate", [1.0, 5.0, 10.0, 15.0, 20.0, 30.0, 50.0, 100.0, 300.0])
def test_in_any_second_broadcast_and_answers_together_stay_within_the_rate_and_one_call(
    database: Any, page_row: int, rate: float, kept: float
) -> None:
    broadcast = Pace(database, page_row, rate, kept_share=kept)
    answers = replace(broadcast, is_answer=True)
    size = broadcast.batch_size()
    shared = broadcast.shared_rate or 0.0
    calls: list[tuple[float, int]] = []
    for step in range(24):
        if step % 4 != 3:  # a slice of a second and a half, whose calls are spread over it
            start = broadcast.take(max(1, int(shared * 1.5) // size) * size).start
            calls += [(start + n * size / shared, size) for n in range(max(1, int(shared * 1.5) // size))]
        permit = answers.take(min(3, size))
        calls.append((permit.start, permit.messages))
    calls.sort()
    one_call = max(1, int(rate / 10))
    worst = max(sum(n for at, n in calls if start <= at < start + 1 - 1e-6) for start, _ in calls)
    assert worst <= rate + one_call


def test_an_answer_starts_at_once_however_far_a_broadcast_has_booked(database: Any, page_row: int) -> None:
    broadcast, answers = Pace(database, page_row, 30.0), Pace(database, page_row, 30.0, is_answer=True)
    broadcast.take(3600 * 27)
    first, second = answers.take(1), answers.take(1)
    now = time.monotonic()
    assert broadcast.ahead_s() > 3000
    assert answers.ahead_s() < 1
    assert first.start < second.start < now + 1
    assert answers.take(10).messages == 1, "the kept part sends one message a call"


def test_where_nothing_is_kept_campaigns_have_the_whole_rate_and_answers_wait(database: Any, page_row: int) -> None:
    broadcast = Pace(database, page_row, 30.0, kept_share=0.0)
    answers = replace(broadcast, is_answer=True)
    assert broadcast.shared_rate == 30.0
    broadcast.take(30 * 60)
    assert answers.ahead_s() > 50
    assert answers.take(5) == Permit(pytest.approx(time.monotonic() + 60, abs=5), 5)


def test_the_connection_says_what_is_kept(database: Any, page_row: int) -> None:
    settings = PageSettings("one", "http://localhost", "1", "token", answers_share=0.25)
    assert Pace.of(database, page_row, settings).kept_share == 0.25


def test_alone_answers_queue_with_everybody_and_leave_the_kept_part(database: Any, page_row: int) -> None:
    answers = Pace(database, page_row, 30.0, is_answer=True)
    assert answers.take(5).messages == 5
    assert run(database, "SELECT answers_at = 'epoch' FROM otn.pace") == [(True,)]


def test_a_silence_that_the_platform_wants_is_for_answers_too(database: Any, page_row: int) -> None:
    for rate in (30.0, None):
        answers = Pace(database, page_row, rate, is_answer=True)
        answers.hold_back(60)
        assert answers.ahead_s() > 50


def test_answers_are_through_while_a_broadcast_runs_and_the_platform_sees_the_pace_of_both(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(messages_per_second=40.0)
    stage.opt_in(200)
    campaign = stage.planned()
    desk = Desk(
        stage.engine, stage.keyring, stage.sandbox, stage.settings, stage.client, stage.page_row, stage.topic_row
    )
    writers = desk.people(8)
    stage.sandbox.clear_pace()
    for psid in writers:
        desk.answer(psid, {"text": "Here you are."})
    Pace(stage.engine, stage.page_row, 40.0).take(72)  # a broadcast has booked two seconds; this one goes on behind it
    with ThreadPoolExecutor(1) as threads:
        sending = threads.submit(stage.send, campaign)
        desk.send()
        assert not sending.done(), "the answers came only after the broadcast"
        assert sending.result().sent == 200
    assert desk.states() == {"sent": len(writers)}
    measured = stage.sandbox.pace()[stage.settings.page_id]
    print(measured)
    assert measured["most_accepted_in_1s"] <= 44


# ── media


@pytest.mark.parametrize(
    ("message", "played"),
    [
        (VIDEO, True),
        ({"attachment": {"type": "audio", "payload": {"url": "https://e.example/a.mp3"}}}, True),
        ({"attachment": {"type": "template", "payload": {"elements": [{"media_type": "video"}]}}}, True),
        ({"attachment": {"type": "template", "payload": {"elements": [{"media_type": "image"}]}}}, False),
        ({"attachment": {"type": "image", "payload": {"attachment_id": "1"}}}, False),
        ({"attachment": {"type": ["video"], "payload": {"elements": "video"}}}, False),
        ({"attachment": "video"}, False),
        ({"text": "video"}, False),
    ],
)
def test_what_the_platform_takes_more_slowly(message: dict[str, Any], played: bool) -> None:
    assert is_played(message) is played


def test_a_campaign_with_a_video_keeps_to_the_slower_rate(make_stage: MakeStage) -> None:
    stage = make_stage(messages_per_second=200.0)
    stage.opt_in(25)
    spec = control.CampaignSpec(key="film", message=VIDEO, approval=False)
    campaign = stage.open_by(spec)
    plan.plan(stage.engine, campaign, messages_per_second=200.0)
    stage.sandbox.clear_pace()
    stage.send(campaign)
    measured = stage.sandbox.pace()[stage.settings.page_id]
    assert stage.report(campaign)["waiting"] == 0
    assert measured["most_calls_in_1s"] <= 11


def test_media_among_answers_is_paid_for_by_whoever_comes_next(database: Any, page_row: int) -> None:
    answers = Pace(database, page_row, 50.0, media_per_second=10.0, is_answer=True)
    answers.take(1)
    answers.weigh_media(0)
    before = answers.ahead_s()
    answers.weigh_media(1000)  # 80 s
    assert Pace(database, page_row, 50.0).ahead_s() > before + 40


# ── the calls of a day


def quota(database: Any, page_row: int) -> Quota:
    with transaction(database) as connection:
        found = read_quota(connection, page_row)
    assert found is not None
    return found


@pytest.mark.parametrize("rate", [None, 1000.0])
def test_campaigns_leave_a_tenth_of_the_quota_to_answers_and_go_on_when_the_day_slides(
    database: Any, page_row: int, rate: float | None
) -> None:
    people(database, page_row, 5)
    campaign, answers = (Pace(database, page_row, rate, calls_per_person=20.0, is_answer=one) for one in (False, True))
    assert (campaign.outlook().room, answers.outlook().room) == (90, 100)
    campaign.take(89)
    assert campaign.ahead_s() < 1
    assert campaign.outlook().at_most(50) == 1
    campaign.take(1)
    assert 86_000 < campaign.ahead_s() <= 86_400 + 300
    assert answers.ahead_s() < 1
    assert answers.outlook().at_most(50) == 10
    answers.take(10)
    assert answers.ahead_s() > 86_000
    found = quota(database, page_row)
    assert (found.allowed, found.used, found.share) == (100, 100, 1.0)
    assert isinstance(found.free_at, datetime)
    assert "used 100 of the 100 calls" in str(waits_for_quota(found))
    slide(database)
    assert campaign.ahead_s() < 1
    assert (quota(database, page_row).used, waits_for_quota(quota(database, page_row))) == (0, None)


def test_the_window_of_a_day_slides_by_what_leaves_it(database: Any, page_row: int) -> None:
    people(database, page_row, 1)
    pace = Pace(database, page_row, None, calls_per_person=10.0)
    assert pace.outlook().room == 9
    run(
        database,
        "INSERT INTO otn.call_count"
        " SELECT %s, date_bin('5 minutes', clock_timestamp(), 'epoch') - n * interval '1 hour', 3"
        " FROM generate_series(20, 23) AS n",
        page_row,
    )
    assert 3_600 < pace.ahead_s() <= 2 * 3_600 + 300, "two of the four must leave"


def test_permits_that_find_nobody_are_no_calls(database: Any, page_row: int) -> None:
    people(database, page_row, 1)
    pace = Pace(database, page_row, None, calls_per_person=100.0)
    pace.outlook()
    pace.take(50)
    pace.give_back(48)
    pace.give_back(0)
    assert quota(database, page_row).used == 2


def test_a_quota_that_was_not_reckoned_to_its_end_is_reckoned_after_a_minute(database: Any, page_row: int) -> None:
    people(database, page_row, 1)
    pace = Pace(database, page_row, None, calls_per_person=10.0)
    pace.take(1)
    run(database, "UPDATE otn.pace SET quota_at = clock_timestamp()")  # whoever claimed it died
    assert pace.outlook().room is None
    run(database, "UPDATE otn.pace SET quota_at = quota_at - interval '2 minutes'")
    assert pace.outlook().room == 8


def test_a_database_that_cannot_book_stops_no_sender_that_has_claimed(
    database: Any, page_row: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("give_back", "lengthen"):
        monkeypatch.setattr(queries("pace"), name, lambda connection, **_: connection.cursor().execute("SELECT 1/0"))
    pace = Pace(database, page_row, 50.0, media_per_second=10.0)
    pace.take(2)
    pace.give_back(1)
    pace.weigh_media(1)
    assert caplog.text.count("could not be booked (22012)") == 2
    monkeypatch.undo()
    nobody = make_engine("postgresql+psycopg2://nobody@127.0.0.1:9/nothing")
    Pace(nobody, page_row, 50.0).give_back(1)
    assert caplog.text.count("could not be booked") == 3


def test_who_can_be_messaged_counts(make_stage: MakeStage) -> None:
    stage = make_stage()
    stage.opt_in(4)  # unspent consents
    people(stage.engine, stage.page_row, 3)  # open windows
    stage.sql("INSERT INTO otn.subscriber (page_id, psid) VALUES (%s, 'a stranger')", stage.page_row)
    campaign = stage.planned(max_recipients=2)
    stage.run(campaign)
    pace = Pace(stage.engine, stage.page_row, None, calls_per_person=200.0)
    pace.outlook()
    assert quota(stage.engine, stage.page_row).allowed == 7 * 200
    stage.sql("UPDATE otn.recipient SET sent_at = sent_at - interval '2 days'")
    pace.outlook()
    assert quota(stage.engine, stage.page_row).allowed == 7 * 200, "reckoned again only when it is old"
    stage.sql("UPDATE otn.pace SET quota_at = quota_at - interval '1 hour'")
    pace.outlook()
    assert quota(stage.engine, stage.page_row).allowed == 5 * 200


def test_without_a_quota_nothing_waits(database: Any, page_row: int) -> None:
    Pace(database, page_row, None, calls_per_person=1.0).outlook()
    off = Pace(database, page_row, None)
    assert off.outlook().room is None
    with transaction(database) as connection:
        assert read_quota(connection, page_row) is None
        assert read_quota(connection, page_row + 1) is None


def test_a_campaign_waits_for_its_quota_says_so_and_goes_on(make_stage: MakeStage) -> None:
    stage = make_stage()
    stage.settings = replace(stage.settings, calls_per_person=1.0)
    stage.opt_in(10)
    campaign = stage.planned()
    result = stage.send(campaign, limits=replace(QUICK, slice_rows=4))
    assert (result.sent, result.done, result.state) == (9, False, "sending")
    assert result.quota is not None
    figures = stage.report(campaign)
    assert (figures["sent"], figures["waiting"]) == (9, 1)
    assert "used 9 of the 10 calls" in figures["waits_for"]
    slide(stage.engine)
    again = stage.send(campaign)
    assert (again.sent, again.done, again.quota) == (1, True, None)
    assert stage.report(campaign)["waits_for"] is None
    stage.promise_holds(campaign)


# ── the canary by label


@pytest.mark.parametrize(("canary", "first"), [(0, 3), (2, 5)])
def test_staff_come_first_and_so_many_of_the_others(stage: Stage, canary: int, first: int) -> None:
    psids = stage.opt_in(12)
    stage.sql("UPDATE otn.subscriber SET labels = '{staff,tall}' WHERE psid = ANY (%s)", psids[4:7])
    stage.sql("UPDATE otn.subscriber SET labels = '{tall}' WHERE psid = ANY (%s)", psids[7:9])
    campaign = stage.planned(canary=canary, canary_labels=("staff", "press"))
    chunks = dict(
        stage.sql("SELECT s.psid, r.chunk FROM otn.recipient r JOIN otn.subscriber s ON s.id = r.subscriber_id")
    )
    assert {psid for psid in psids[4:7] if chunks[psid] == 0} == set(psids[4:7])
    assert list(chunks.values()).count(0) == first
    assert {chunk for chunk in chunks.values() if chunk} == {1}
    assert plan.waiting_chunks(stage.engine, campaign) == [1]
