from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pytest

from otn.campaign import approval as approvals
from otn.campaign import audience, control, plan
from otn.campaign.model import CampaignSpec
from otn.campaign.plan import NotStartableError
from otn.database import queries, transaction
from tests.campaign.stage import Stage
from tests.clean import database, emptied_url

__all__ = ["database", "emptied_url"]


def written(stage: Stage, campaign: int, pace: float | None = None) -> plan.Plan:
    return plan.plan(stage.engine, campaign, messages_per_second=pace)


def chunks(stage: Stage, campaign: int) -> dict[int, int]:
    """People by chunk."""
    rows = stage.sql("SELECT chunk, count(*) FROM otn.recipient WHERE campaign_id = %s GROUP BY 1", campaign)
    return dict(rows)


def planned_psids(stage: Stage, campaign: int) -> set[str]:
    return set(stage.states(campaign))


def label(stage: Stage, psids: list[str], labels: str) -> None:
    stage.sql("UPDATE otn.subscriber SET labels = %s::text[] WHERE psid = ANY (%s)", labels, psids)


def suppress(stage: Stage, psid: str) -> None:
    stage.sql(
        "INSERT INTO otn.suppression (subscriber_id, reason) SELECT id, 'operator' FROM otn.subscriber WHERE psid = %s",
        psid,
    )


def live_for(stage: Stage, psid: str, days: float) -> None:
    """Let every token of a person end in so many days."""
    stage.sql(
        "UPDATE otn.token SET opted_in_at = clock_timestamp() - interval '200 days',"
        " expires_at = clock_timestamp() + make_interval(secs => %s * 86400)"
        " WHERE subscriber_id = (SELECT id FROM otn.subscriber WHERE psid = %s)",
        days,
        psid,
    )


def test_the_canary_is_a_chunk_of_its_own_and_the_rest_is_cut_to_a_minute(stage: Stage) -> None:
    stage.opt_in(500)
    campaign = stage.open(canary=7)
    assert written(stage, campaign, pace=2) == plan.Plan(planned=500, excluded=0, chunks=5)
    assert chunks(stage, campaign) == {0: 7, 1: 120, 2: 120, 3: 120, 4: 120, 5: 13}
    assert plan.waiting_chunks(stage.engine, campaign) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("people", "canary", "pace", "expected"),
    [
        (5, 0, None, {1: 5}),
        (5, 5, None, {0: 5}),
        (5, 9, 1.0, {0: 5}),  # more canary than people
        (5, 0, 0.001, {1: 1, 2: 1, 3: 1, 4: 1, 5: 1}),  # a chunk holds one at least
        (61, 1, 1.0, {0: 1, 1: 60}),
        (62, 1, 1.0, {0: 1, 1: 60, 2: 1}),
    ],
)
def test_chunks_fit_the_pace(
    stage: Stage, people: int, canary: int, pace: float | None, expected: dict[int, int]
) -> None:
    stage.opt_in(people)
    campaign = stage.open(canary=canary)
    assert written(stage, campaign, pace).chunks == max(expected)
    assert chunks(stage, campaign) == expected


def test_there_are_never_more_than_300_chunks(stage: Stage) -> None:
    stage.opt_in(1000)
    campaign = stage.open(canary=3)
    assert written(stage, campaign, pace=0.001).chunks == 250
    assert set(chunks(stage, campaign).values()) == {3, 4, 1}


def test_nobody_is_a_plan_too(stage: Stage) -> None:
    campaign = stage.open()
    assert written(stage, campaign) == plan.Plan(planned=0, excluded=0, chunks=0)
    assert plan.waiting_chunks(stage.engine, campaign) == []
    assert control.end_run(stage.engine, campaign) == "finished"


def test_everyone_who_ever_held_a_token_is_planned_or_left_out_with_one_reason(stage: Stage) -> None:
    people = stage.opt_in(9)
    label(stage, people, "{vip}")
    label(stage, [people[1]], "{}")
    label(stage, [people[2]], "{vip,staff}")
    suppress(stage, people[0])
    for psid, days in zip(people[3:], (-1, 10, 20, 30, 40, 50), strict=True):
        live_for(stage, psid, days)
    audience_of = {"include_labels": ("vip",), "exclude_labels": ("staff",)}
    stage.run(stage.planned("spent", max_recipients=1, **audience_of))
    stage.planned("reserved", max_recipients=1, **audience_of)
    campaign = stage.planned(max_recipients=2, **audience_of)
    rows = stage.sql(
        "SELECT s.psid, e.reason FROM otn.exclusion e JOIN otn.subscriber s ON s.id = e.subscriber_id"
        " WHERE campaign_id = %s",
        campaign,
    )
    assert dict(rows) == {
        people[0]: "suppressed",
        people[1]: "label_missing",
        people[2]: "label_excluded",
        people[3]: "token_expired",
        people[4]: "token_spent",
        people[5]: "token_reserved",
        people[8]: "over_max_recipients",
    }
    assert planned_psids(stage, campaign) == {people[6], people[7]}
    assert stage.report(campaign)["audience"] == 9


@pytest.mark.parametrize(
    ("reason", "how"),
    [
        ("suppressed", suppress),
        ("label_missing", lambda stage, psid: label(stage, [psid], "{old}")),
        ("label_missing", lambda stage, psid: label(stage, [psid], "{vip}")),  # all of them are asked for
        ("label_excluded", lambda stage, psid: label(stage, [psid], "{vip,old,staff}")),
        ("token_expired", lambda stage, psid: live_for(stage, psid, -0.001)),
        (
            "token_expired",
            lambda stage, psid: stage.sql(
                "UPDATE otn.token SET token_encrypted = NULL, wiped_at = now() WHERE subscriber_id ="
                " (SELECT id FROM otn.subscriber WHERE psid = %s)",
                psid,
            ),
        ),
        ("over_max_recipients", lambda stage, psid: live_for(stage, psid, 100)),
    ],
)
def test_each_reason_by_itself(stage: Stage, reason: str, how: Any) -> None:
    people = stage.opt_in(3)
    label(stage, people, "{vip,old}")
    for psid in people[1:]:
        live_for(stage, psid, 50)
    how(stage, people[0])
    campaign = stage.open(include_labels=("vip", "old"), exclude_labels=("staff", "banned"), max_recipients=2)
    counted = audience.count(
        stage.engine,
        topic_id=stage.topic_row,
        include_labels=("vip", "old"),
        exclude_labels=("staff", "banned"),
        max_recipients=2,
    )
    assert written(stage, campaign) == plan.Plan(planned=2, excluded=1, chunks=1)
    assert stage.report(campaign)["excluded"] == {reason: 1} == counted.excluded
    assert (counted.recipients, counted.people, counted.dying) == (2, 3, 0)
    assert planned_psids(stage, campaign) == set(people[1:])


def test_a_token_in_doubt_is_spent_and_one_in_a_call_is_reserved(stage: Stage) -> None:
    stage.opt_in(2)
    first = stage.planned("first")
    stage.sql(
        "UPDATE otn.recipient SET state = (ARRAY['unknown', 'sending'])[n]::otn.recipient_state, unanswered = 1,"
        " attempts = 1, attempt_id = gen_random_uuid(), reason = 'lease_lost',"
        " lease_until = CASE n WHEN 2 THEN now() END FROM (SELECT subscriber_id AS s, row_number() OVER () AS n"
        " FROM otn.recipient) x WHERE s = subscriber_id AND campaign_id = %s",
        first,
    )
    second = stage.planned("second")
    assert stage.report(second)["excluded"] == {"token_reserved": 1, "token_spent": 1}


def test_max_recipients_keeps_those_whose_tokens_end_soonest(stage: Stage) -> None:
    people = stage.opt_in(20)
    for n, psid in enumerate(people):
        live_for(stage, psid, 100 - n)
    campaign = stage.open(max_recipients=4)
    written(stage, campaign)
    assert planned_psids(stage, campaign) == set(people[-4:])
    assert stage.report(campaign)["excluded"] == {"over_max_recipients": 16}


def test_of_several_tokens_the_one_that_ends_soonest_and_lives_is_spent(stage: Stage) -> None:
    people = stage.opt_in(2, (4, 4))
    stage.sql(
        "UPDATE otn.token t SET opted_in_at = now() - interval '200 days',"
        " expires_at = now() + x.days * interval '1 day'"
        " FROM (SELECT id, (ARRAY[-1, 30, 5, 90])[row_number() OVER (PARTITION BY subscriber_id ORDER BY id)] AS days"
        " FROM otn.token) x WHERE x.id = t.id"
    )
    campaign = stage.planned()
    chosen = "SELECT round(extract(epoch FROM t.expires_at - now()) / 86400)::int FROM otn.recipient r JOIN otn.token t"
    assert stage.sql(chosen + " ON t.id = r.token_id WHERE campaign_id = %s", campaign) == [(5,), (5,)]
    second = stage.planned("second")  # one person, one message a campaign; the next token for the next campaign
    assert stage.sql(chosen + " ON t.id = r.token_id WHERE campaign_id = %s", second) == [(30,), (30,)]
    assert planned_psids(stage, second) == set(people)


def test_how_many_tokens_would_end_within_a_month_anyway_is_counted(stage: Stage) -> None:
    people = stage.opt_in(5)
    for psid, days in zip(people, (1, 29, 31, 100, -1), strict=True):
        live_for(stage, psid, days)
    counted = audience.count(
        stage.engine, topic_id=stage.topic_row, include_labels=(), exclude_labels=(), max_recipients=None
    )
    assert (counted.recipients, counted.dying, counted.excluded) == (4, 2, {"token_expired": 1})


def test_counting_writes_nothing(stage: Stage) -> None:
    stage.opt_in(3)
    audience.count(stage.engine, topic_id=stage.topic_row, include_labels=(), exclude_labels=(), max_recipients=1)
    assert stage.sql("SELECT (SELECT count(*) FROM otn.recipient) + (SELECT count(*) FROM otn.exclusion)") == [(0,)]


def test_people_of_another_topic_are_not_of_this_audience(stage: Stage) -> None:
    stage.opt_in(2)
    stage.sql(
        "WITH other AS (INSERT INTO otn.topic (page_id, key, payload) VALUES (%s, 'sale', 'sale') RETURNING id)"
        " UPDATE otn.token SET topic_id = other.id FROM other WHERE token.id = (SELECT min(id) FROM otn.token)",
        stage.page_row,
    )
    assert written(stage, stage.open()) == plan.Plan(planned=1, excluded=0, chunks=1)


def test_postgres_knows_of_the_rows_before_they_are_claimed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "MANY", 250)
    known = "SELECT reltuples FROM pg_class WHERE oid = 'otn.recipient'::regclass"
    stage.sql("ANALYZE otn.recipient")
    stage.opt_in(500)
    written(stage, stage.open(max_recipients=249))
    assert stage.sql(known) == [(0,)]
    written(stage, stage.open("summer"))
    assert stage.sql(known) == [(500,)]


def test_a_task_that_does_not_own_the_table_may_have_it_counted(stage: Stage) -> None:
    stage.opt_in(20)
    written(stage, stage.open())
    stage.sql("SELECT pg_restore_relation_stats('schemaname', 'otn', 'relname', 'recipient', 'reltuples', 0::real)")
    with transaction(stage.engine) as connection, connection.cursor() as cursor:
        cursor.execute("SET LOCAL ROLE otn_sender")
        queries("campaign").count_rows_anew(connection)
    assert stage.sql("SELECT reltuples FROM pg_class WHERE oid = 'otn.recipient'::regclass") == [(20,)]


def test_planned_again_it_is_the_same_plan(stage: Stage) -> None:
    stage.opt_in(10)
    suppress(stage, stage.sql("SELECT psid FROM otn.subscriber LIMIT 1")[0][0])
    campaign = stage.open()
    first = written(stage, campaign, pace=0.1)
    rows = "SELECT subscriber_id, token_id, chunk, variables::text FROM otn.recipient ORDER BY 1"
    before = stage.sql(rows)
    stage.opt_in(5)
    assert written(stage, campaign, pace=100) == first == plan.Plan(planned=9, excluded=1, chunks=2)
    assert stage.sql(rows) == before
    assert stage.sql("SELECT count(*) FROM otn.exclusion") == [(1,)]


def test_whoever_opted_in_between_the_approval_and_the_plan_belongs(stage: Stage) -> None:
    stage.opt_in(2)
    spec = CampaignSpec(key="spring", message={"text": "It is back!"})
    campaign = stage.open_by(spec)
    with pytest.raises(NotStartableError, match="Approve it"):
        written(stage, campaign)
    approvals.approve(stage.engine, campaign, actor="anna", cap=12)
    late = stage.opt_in(1)
    assert written(stage, campaign).planned == 3
    assert late[0] in planned_psids(stage, campaign)


def test_personal_fields_are_frozen_and_no_others_are_kept(stage: Stage) -> None:
    people = stage.opt_in(3)
    stage.sql("UPDATE otn.subscriber SET last_name = 'Byron', attributes = %s", '{"city": "Rome", "age": 7, "x": null}')
    stage.sql("UPDATE otn.subscriber SET first_name = NULL WHERE psid = %s", people[1])
    stage.sql("UPDATE otn.subscriber SET attributes = '{}' WHERE psid = %s", people[2])
    text = '{{ first_name | d("") }}{{ city | d("") }}{{ age | d("") }}{{ x | d("") }}'
    campaign = stage.planned(text="Hi " + text)
    stage.sql("UPDATE otn.subscriber SET first_name = 'Changed', attributes = '{}'")
    rows: dict[str, Any] = dict(
        stage.sql(
            "SELECT s.psid, r.variables FROM otn.recipient r JOIN otn.subscriber s ON s.id = r.subscriber_id"
            " WHERE campaign_id = %s",
            campaign,
        )
    )
    assert rows == {
        people[0]: {"first_name": "P0", "city": "Rome", "age": 7},
        people[1]: {"city": "Rome", "age": 7},
        people[2]: {"first_name": "P2"},
    }
    stage.run(campaign)
    texts = {row["psid"]: row["message"]["text"] for row in stage.sandbox.ledger(stage.settings.page_id)}
    assert texts == {people[0]: "Hi P0Rome7", people[1]: "Hi Rome7", people[2]: "Hi P2"}


def test_a_text_without_fields_keeps_nothing_about_people(stage: Stage) -> None:
    stage.opt_in(2)
    stage.planned()
    assert stage.sql("SELECT DISTINCT variables::text FROM otn.recipient") == [("{}",)]


@pytest.mark.parametrize("state", ["awaiting_approval", "cancelled"])
def test_what_may_not_start_is_not_planned(stage: Stage, state: str) -> None:
    stage.opt_in(1)
    campaign = stage.open()
    stage.sql(
        "UPDATE otn.campaign SET state = %s, finished_at = CASE WHEN %s = 'cancelled' THEN now() END", state, state
    )
    with pytest.raises(NotStartableError, match=f"is {state} and cannot be planned"):
        written(stage, campaign)
    assert stage.sql("SELECT count(*) FROM otn.recipient") == [(0,)]


def test_two_plans_at_once_of_one_campaign_are_one_plan(stage: Stage) -> None:
    stage.opt_in(200)
    campaign = stage.open()
    plans: list[plan.Plan] = []
    threads = [threading.Thread(target=lambda: plans.append(written(stage, campaign))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(plans) == {plan.Plan(planned=200, excluded=0, chunks=1): 4}


@pytest.mark.parametrize(("module", "statement"), [(plan, "plan_recipients"), (audience, "count_audience")])
def test_nobody_is_joined_one_by_one_whatever_postgres_believes_of_the_topic(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, module: Any, statement: str
) -> None:
    stage.opt_in(1)
    stage.sql("ANALYZE otn.token, otn.subscriber, otn.suppression, otn.recipient")  # before the others came
    for psid in stage.opt_in(200)[:50]:
        suppress(stage, psid)
    campaign = stage.open()
    asked = queries("campaign")
    steps: list[str] = []

    class Explained:
        def __getattr__(self, name: str) -> Any:
            return explain if name == statement else getattr(asked, name)

    def explain(connection: Any, **values: Any) -> Any:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {getattr(asked, statement).sql}", values)
            steps.extend(row[0] for row in cursor)
        return getattr(asked, statement)(connection, **values)

    monkeypatch.setattr(module, "queries", lambda _subject: Explained())
    if module is plan:
        assert written(stage, campaign) == plan.Plan(planned=151, excluded=50, chunks=1)
    else:
        everybody = {"include_labels": [], "exclude_labels": [], "max_recipients": None}
        assert audience.count(stage.engine, topic_id=stage.topic_row, **everybody).recipients == 151
    assert steps
    assert [step for step in steps if "Nested Loop" in step] == []
