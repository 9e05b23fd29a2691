from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import psycopg2
import pytest

from otn.cli.examination import TITLES, Check
from otn.cli.examination.case import Case, Look, Question
from otn.cli.examination.examine import NOT_ALLOWED, STAGES, answer
from otn.database import DatabaseError, Engine, migrate, transaction
from otn.local.home import Home
from otn.local.postgres import temporary_server
from otn.settings import ROOT

from .conftest import Inside


def levels(found: dict[str, Any]) -> dict[str, list[str]]:
    told: dict[str, list[str]] = {}
    for check in found["checks"]:
        told.setdefault(check["id"], []).append(check["level"])
    return told


def change(database: Engine, statement: str, *values: object) -> None:
    with transaction(database) as connection, connection.cursor() as cursor:
        cursor.execute(statement, values or None)


@pytest.fixture
def durable(inside: Inside) -> Iterator[Inside]:
    """On a server that waits for the disk, as that of the other tests does not."""
    with temporary_server() as url:
        migrate(url)
        inside.environ["AIRFLOW_CONN_OTN_DB"] = url.replace("postgresql+psycopg2", "postgres")
        yield inside


def test_a_good_installation_has_nothing_red(durable: Inside, page_variable: Callable[..., str]) -> None:
    inside = durable
    inside.environ["AIRFLOW_CONN_SHOP"] = page_variable()
    inside("pages", "add", "shop", "--subscribe")
    found = inside.json("doctor")
    assert found["level"] == "yellow"  # what is answered for a used token was not learnt yet
    told = levels(found)
    wrong = {check for check, found in told.items() if set(found) & {"yellow", "red"}}
    # Tests work as the superuser of their server; and nobody answers.
    # Whether there are logins depends on what other tests made on this server.
    assert wrong - {"database.logins"} == {"page.calibration", "database.role", "sending.responder"}
    said = inside("doctor").stdout
    assert "Database\n  ✓ " in said
    assert said.count("page shop:") == 1  # what is well about a page is one line
    assert inside("doctor", "--all").stdout.count("page shop, ") > 8
    assert inside("doctor", "--strict", code=1).stdout == said
    assert inside.json("alarms", "list") == []  # it only looks


def test_each_fault_is_named_with_what_to_do(
    inside: Inside, database: Engine, page_variable: Callable[..., str]
) -> None:
    inside.environ["AIRFLOW_CONN_SHOP"] = page_variable(subscribed_fields=[])
    inside("pages", "add", "shop")
    change(database, "UPDATE otn.page SET halted_at = clock_timestamp(), halt_reason = 'blocked (368)'")
    change(database, "INSERT INTO otn.page (page_id, connection_id) VALUES ('2', 'gone')")
    change(database, "INSERT INTO otn.topic (page_id, key, payload) VALUES (1, 'x', 'x')")
    change(
        database,
        "INSERT INTO otn.webhook_event (received_day, id, body, received_at) VALUES "
        "(current_date, gen_random_uuid(), 'x', clock_timestamp() - interval '1 hour')",
    )
    change(database, "SELECT 1; DROP TABLE otn.webhook_event_" + tomorrow(database))
    change(database, "INSERT INTO otn.alarm (kind, level, sentence, advice) VALUES ('x', 'warn', 'It is so.', 'Look.')")
    inside.environ["OTN_RECEIVER_URL"] = "http://127.0.0.1:1"
    found = inside.json("doctor", code=1)
    assert "Look." in inside("alarms", "list").stdout
    told = levels(found)
    assert found["level"] == "red"
    assert sorted(told["page.connection"]) == ["green", "red"]
    assert sorted(told["page.halt"]) == ["green", "red"]
    assert told["page.subscription"] == told["webhooks.backlog"] == told["webhooks.receiver"] == ["red"]
    for check_id in ("webhooks.topics", "database.partitions", "sending.responder", "sending.alarms"):
        assert told[check_id] == ["yellow"]
    assert all(check["advice"] for check in found["checks"] if check["level"] in {"yellow", "red"})


def tomorrow(database: Engine) -> str:
    with transaction(database) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT to_char((clock_timestamp() AT TIME ZONE 'UTC')::date + 1, 'YYYYMMDD')")
        return str(cursor.fetchone()[0])


def test_without_keys_database_or_schema_it_still_answers(inside: Inside) -> None:
    del inside.environ["OTN_HASH_KEY"]
    assert levels(inside.json("doctor", code=1))["keys.present"] == ["red"]
    inside.environ["AIRFLOW_CONN_OTN_DB"] = "postgresql://nobody@127.0.0.1:1/none"
    assert levels(inside.json("doctor", code=1))["database.connection"] == ["red"]
    del inside.environ["AIRFLOW_CONN_OTN_DB"]
    assert levels(inside.json("doctor", code=1))["database.connection"] == ["red"]


def test_rows_that_wait_for_nobody_are_named_by_their_campaign(inside: Inside, database: Engine, campaign: str) -> None:
    with transaction(database) as connection, connection.cursor() as cursor:
        cursor.execute(
            "ALTER TABLE otn.recipient DISABLE TRIGGER USER;"
            "UPDATE otn.recipient SET updated_at = now() - interval '1 hour' WHERE state = 'unknown';"
            "UPDATE otn.recipient SET state = 'sending', attempts = 1, unanswered = 1, attempt_id = gen_random_uuid(),"
            " lease_until = now() - interval '1 hour' WHERE state = 'waiting'"
        )
    found = inside.json("doctor", code=1)  # the page has no connection
    told = {check["id"]: check for check in found["checks"] if check["subject"] == campaign}
    assert (told["sending.leases"]["level"], told["sending.unknown"]["level"]) == ("yellow", "yellow")
    assert "scope unknown" in told["sending.unknown"]["advice"]


def test_every_check_is_told_in_the_guide_and_asked() -> None:
    guide = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split(" |")] for line in guide.splitlines() if re.match(r"\| `\w+\.", line)]
    told = {check_id.strip("|` "): (yellow, red, advice) for check_id, _, yellow, red, advice, _ in rows}
    assert list(told) == list(TITLES)
    assert {check_id for check_id, (yellow, red, _) in told.items() if not (yellow or red)} == {"keys.backup"}
    assert all(advice for *_, advice in told.values())
    asked = {check_id for questions in STAGES.values() for question in questions for check_id in question.ids}
    assert asked | {"settings.readable"} == set(TITLES)


def test_a_check_that_fails_itself_is_a_line_and_keeps_nothing_from_being_looked_at(tmp_path: Path) -> None:
    case = Case(Home.at(tmp_path), {}, lambda _: None)
    waits = Event()

    def hangs(_case: Case) -> Iterator[Check]:
        waits.wait(60)
        yield Check("machine.disk", "green", "")

    def fails(_case: Case) -> Iterator[Check]:
        raise ValueError("EAAB-secret")
        yield

    def is_refused(_case: Case) -> Iterator[Check]:
        error = DatabaseError(psycopg2.Error())
        error.sqlstate = NOT_ALLOWED
        raise error
        yield

    def told(look: Look, left_s: float = 60) -> Check:
        (check,) = answer(Question(("machine.disk",), look, limit_s=0.1), case, left_s)
        assert "EAAB" not in repr(check)
        return check

    assert (told(hangs).level, told(hangs).text) == ("yellow", "This could not be looked at within 0 s.")
    waits.set()
    assert (told(fails).level, "ValueError" in told(fails).text) == ("yellow", True)
    assert told(is_refused).level == "unseen"
    assert told(fails, left_s=0).level == "unseen"
