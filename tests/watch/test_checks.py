"""What the database says of the installation and of its pages."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from otn.database import make_engine, transaction
from otn.watch import installation, pages
from otn.watch.finding import Finding
from tests.watch.conftest import Place


def found(place: Place, kind: str) -> list[Finding]:
    with transaction(place.engine) as conn:
        everything = [*installation.findings(conn), *pages.findings(conn, place.pages())]
    return [one for one in everything if one.kind == kind]


def level(place: Place, kind: str) -> str:
    (one,) = found(place, kind)
    return one.level


def test_a_fresh_installation_has_no_alarm_and_every_kind_is_looked_at(place: Place) -> None:
    with transaction(place.engine) as conn:
        everything = [*installation.findings(conn), *pages.findings(conn, place.pages())]
    assert {one.kind for one in everything if one.level != "ok"} == {"responder"}
    assert len({(one.page_id, one.kind) for one in everything}) == len(everything) == 17


def test_a_page_of_which_nothing_is_told_is_well_beside_one_that_is_not(place: Place) -> None:
    place.sql("INSERT INTO otn.page (page_id, connection_id, halted_at, halt_reason) VALUES ('2', 'two', now(), '190')")
    assert [one.level for one in found(place, "halt")] == ["ok", "alarm"]


def test_a_quota_that_is_nearly_used_is_told_before_sending_waits(place: Place) -> None:
    assert found(place, "quota")[0].sentence == "No quota is kept for the page."
    place.sql("INSERT INTO otn.pace (page_id, quota, quota_at) SELECT id, 100, now() FROM otn.page")
    count = "INSERT INTO otn.call_count SELECT id, now() - interval '1 h', %s FROM otn.page"
    place.sql(count, 79)
    assert level(place, "quota") == "ok"
    place.sql("UPDATE otn.call_count SET calls = 80")
    (one,) = found(place, "quota")
    assert (one.level, "80 are used" in one.sentence, "nine tenths" in one.advice) == ("alarm", True, True)
    place.sql("UPDATE otn.call_count SET calls = 90")
    assert "Sending goes on by itself" in found(place, "quota")[0].advice


def test_a_lagging_ingest(place: Place) -> None:
    put = (
        "INSERT INTO otn.webhook_event (received_day, id, body, received_at)"
        " VALUES (current_date, gen_random_uuid(), 'x', now() - make_interval(mins => %s))"
    )
    place.sql(put, 5)
    assert level(place, "ingest") == "ok"
    place.sql(put, 30)
    assert found(place, "ingest")[0].sentence == "2 webhooks wait for ingest, the oldest for 30 minutes."
    assert level(place, "ingest") == "alarm"


def test_a_quarantine_that_grows_is_worse_than_one_that_is_full(place: Place) -> None:
    put = (
        "INSERT INTO otn.quarantine (webhook_day, webhook_id, position, reason, item, created_at)"
        " SELECT current_date, gen_random_uuid(), '0/0', 'odd', 'x', now() - make_interval(hours => %s)"
        " FROM generate_series(1, %s)"
    )
    place.sql(put, 5, 500)
    assert level(place, "quarantine") == "warn"
    place.sql(put, 0, 10)
    assert level(place, "quarantine") == "alarm"
    place.sql("UPDATE otn.quarantine SET replayed_at = now()")
    assert level(place, "quarantine") == "ok"


def test_a_topic_that_was_adopted_is_registered(place: Place) -> None:
    place.sql("INSERT INTO otn.topic (page_id, key, payload) VALUES (%s, 'Restock', 'Restock')", place.page_row)
    assert level(place, "topics") == "warn"
    place.sql("UPDATE otn.topic SET adopted_by = %s WHERE key = 'Restock'", place.topic_row)
    assert level(place, "topics") == "ok"


def test_a_responder_is_seen_by_its_connection(place: Place) -> None:
    url = place.engine.url.render_as_string(hide_password=False)
    engine = make_engine(url, pool_size=1, application_name="otn responder")
    with transaction(engine) as conn:
        conn.cursor().execute("SELECT 1")
        assert level(place, "responder") == "ok"
    engine.dispose()


def test_a_request_to_be_deleted_may_not_stay(place: Place) -> None:
    place.sql(
        "INSERT INTO otn.deletion_request (id, code, user_id, user_hash)"
        " VALUES (gen_random_uuid(), 'c', 'x', sha256('x'))"
    )
    assert level(place, "deletions") == "ok"
    place.sql("UPDATE otn.deletion_request SET received_at = now() - interval '3 days'")
    assert level(place, "deletions") == "alarm"


@pytest.mark.parametrize(
    ("change", "way_out"),
    [
        ("halt_reason = '190: token'", "triggered again resumes it too"),
        ("halt_reason = 'mine', halt_held = true", "pages resume shop"),
        ("halt_reason = 'policy', halt_held = true, blocked_at = now()", "until the platform unblocks it"),
    ],
)
def test_a_halt_says_the_way_out(place: Place, change: str, way_out: str) -> None:
    place.sql(f"UPDATE otn.page SET halted_at = now(), {change}")
    (one,) = found(place, "halt")
    assert one.level == "alarm"
    assert way_out in one.advice


def test_a_warning_is_told_for_a_week(place: Place) -> None:
    place.sql(
        "INSERT INTO otn.event (fingerprint, page_id, kind, occurred_at, detail, webhook_day, webhook_id)"
        " VALUES (sha256('w'), %s, 'policy', now() - interval '6 days', 'warning: careful', current_date,"
        " gen_random_uuid())",
        place.page_row,
    )
    assert "careful" in found(place, "policy")[0].sentence
    place.sql("UPDATE otn.event SET occurred_at = now() - interval '8 days'")
    assert level(place, "policy") == "ok"


def answer(place: Place, state: str = "waiting", **columns: Any) -> None:
    person = place.person()
    given = {"created_at": "now() - interval '10 minutes'", "not_after": "now() + interval '1 hour'", **columns}
    called = "attempts, attempt_id, called_at, reason," if state == "unknown" else ""
    values = "1, gen_random_uuid(), now(), 'timeout'," if state == "unknown" else ""
    event = place.value("SELECT coalesce(max(event_id), 0) + 1 FROM otn.window_message")
    place.sql(
        f"INSERT INTO otn.window_message (page_id, subscriber_id, cause, event_id, card, message, state, {called}"
        f" {', '.join(given)}) VALUES (%s, %s, 'rule', %s, false, '{{}}', %s, {values} {', '.join(given.values())})",
        *(place.page_row, person, event, state),
    )


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({}, "alarm"),
        ({"created_at": "now()"}, "ok"),
        ({"not_after": "now()"}, "ok"),  # too late for it anyway
        ({"not_before": "now() + interval '1 minute'"}, "ok"),
    ],
)
def test_answers_that_wait_too_long(place: Place, columns: dict[str, str], expected: str) -> None:
    answer(place, **columns)
    assert level(place, "answers") == expected
    place.sql("UPDATE otn.page SET halted_at = now(), halt_reason = 'x'")
    assert level(place, "answers") == "ok"  # the halt has an alarm of its own


def test_answers_in_doubt_are_told_when_they_are_many(place: Place) -> None:
    for _ in range(9):
        answer(place, "unknown")
    assert level(place, "doubts") == "ok"
    answer(place, "unknown")
    assert level(place, "doubts") == "warn"


def test_each_stopped_campaign_is_a_subject(place: Place) -> None:
    for state in ("halted", "interrupted", "sending", "paused"):
        place.campaign(state, key=state)
    assert [one.subject for one in found(place, "campaign")] == ["halted", "interrupted"]


def test_dying_tokens_come_by_week_with_a_command_that_opens_a_campaign_for_them(place: Place) -> None:
    for _ in range(3):
        place.token(place.person(), 2)
    late = place.person()
    place.token(late, 20)
    for excluded in (place.token(place.person(), 40), place.token(place.person(), -1)):
        assert excluded
    weeks = found(place, "dying")
    assert [one.subject.split()[0] for one in weeks] == ["restock", "restock"]
    assert "of 3 people" in weeks[0].sentence
    conf = [json.loads(re.search(r"--conf '(.*)'`", one.advice).group(1)) for one in weeks]  # type: ignore[union-attr]
    assert [one["max_recipients"] for one in conf] == [3, 4]  # those of the first week end sooner
    assert {one["page"] for one in conf} == {"shop"}
    assert all(one["dry_run"] for one in conf)


def test_tokens_that_cannot_be_spent_do_not_count_as_dying(place: Place) -> None:
    people = [place.person() for _ in range(4)]
    tokens = [place.token(person, 5) for person in people]
    campaign = place.campaign()
    place.sql(
        "INSERT INTO otn.recipient (campaign_id, subscriber_id, token_id, chunk) VALUES (%s, %s, %s, 1)",
        *(campaign, people[0], tokens[0]),
    )
    place.sql("INSERT INTO otn.suppression (subscriber_id, reason) VALUES (%s, 'operator')", people[1])
    place.sql("UPDATE otn.subscriber SET erased_at = now(), psid = NULL WHERE id = %s", people[2])
    (one,) = found(place, "dying")
    assert "of 1 people" in one.sentence


def test_a_campaign_whose_moment_has_passed_is_late_until_it_begins(place: Place) -> None:
    campaign = place.campaign("awaiting_approval")
    place.sql("UPDATE otn.campaign SET planned_at = NULL, send_at = now() - interval '59 minutes'")
    assert level(place, "late") == "ok"  # late_after is an hour
    place.sql("UPDATE otn.campaign SET send_at = now() - interval '61 minutes'")
    (one,) = found(place, "late")
    assert (one.level, one.subject) == ("alarm", "spring")
    assert "and it is awaiting approval" in one.sentence
    place.sql("UPDATE otn.campaign SET send_at = now() + interval '1 hour'")  # moved
    assert level(place, "late") == "ok"
    place.sql("UPDATE otn.campaign SET send_at = now() - interval '1 day', state = 'scheduled'")
    assert level(place, "late") == "alarm"
    place.sql("UPDATE otn.campaign SET state = 'cancelled', finished_at = now() WHERE id = %s", campaign)
    assert level(place, "late") == "ok"


def test_an_endpoint_that_takes_nothing(place: Place) -> None:
    place.sql(
        "INSERT INTO otn.endpoint (page_id, key, url, kinds, secret, created_by)"
        " VALUES (%s, 'crm', 'https://example.org/secret', ARRAY['recipients'], 'x', 'me')",
        place.page_row,
    )
    failing = (
        "UPDATE otn.endpoint SET tries = 3, error = 'status 500', failed_since = now() - make_interval(mins => %s)"
    )
    for minutes, expected in ((59, "ok"), (61, "warn")):
        place.sql(failing, minutes)
        assert level(place, "outgoing") == expected
    place.sql("UPDATE otn.endpoint SET disabled_at = now()")
    (one,) = found(place, "outgoing")
    assert (one.level, one.subject) == ("alarm", "crm")
    assert "(status 500)" in one.sentence
    assert "secret" not in one.sentence + one.advice


def test_results_that_nobody_packs(place: Place) -> None:
    campaign = place.campaign()
    put = (
        "INSERT INTO otn.outcome (page_id, campaign_id, state, at)"
        " VALUES (%s, %s, 'finished', now() - make_interval(mins => %s))"
    )
    place.sql(put, place.page_row, campaign, 5)
    assert level(place, "delivery") == "ok"
    place.sql(put, place.page_row, campaign, 15)
    assert level(place, "delivery") == "warn"
