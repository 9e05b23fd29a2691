from __future__ import annotations

from collections.abc import Callable
from typing import Any

from otn.crypto import Keyring
from otn.database import Engine, transaction

from .conftest import Shell


def levels(found: dict[str, Any]) -> dict[str, list[str]]:
    told: dict[str, list[str]] = {}
    for check in found["checks"]:
        told.setdefault(check["subject"], []).append(check["level"])
    return told


def change(database: Engine, statement: str, *values: object) -> None:
    with transaction(database) as connection, connection.cursor() as cursor:
        cursor.execute(statement, values or None)


def test_a_good_installation_has_nothing_red(otn: Shell, page_variable: Callable[..., str]) -> None:
    otn.environ["AIRFLOW_CONN_SHOP"] = page_variable()
    otn("pages", "add", "shop", "--subscribe")
    found = otn.json("doctor")
    assert found["level"] == "yellow"  # what is answered for a used token was not learnt yet
    told = levels(found)
    assert told["used tokens"] == ["yellow"]
    for subject in ("keys", "database", "schema", "partitions", "ingest", "quarantine", "alarms", "page shop"):
        assert set(told[subject]) == {"green"}, found
    said = otn("doctor").stdout
    assert "✓ database" in said
    assert said.count("page shop") == 1  # what is well about a page is one line
    assert otn.json("alarms", "list") == []  # it only looks


def test_each_fault_is_named_with_what_to_do(otn: Shell, database: Engine, page_variable: Callable[..., str]) -> None:
    otn.environ["AIRFLOW_CONN_SHOP"] = page_variable(subscribed_fields=[])
    otn("pages", "add", "shop")
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
    otn.environ["OTN_RECEIVER_URL"] = "http://127.0.0.1:1"
    found = otn.json("doctor", code=1)
    assert "Look." in otn("alarms", "list").stdout
    told = levels(found)
    assert found["level"] == "red"
    assert told["page shop"].count("red") == 2
    assert told["page gone"].count("red") == 1
    assert told["ingest"] == ["red"]
    assert told["topics"] == told["partitions"] == told["responder"] == told["alarms"] == ["yellow"]
    assert told["receiver"] == ["red"]
    assert all(check["advice"] or "." in check["text"] for check in found["checks"] if check["level"] != "green")


def tomorrow(database: Engine) -> str:
    with transaction(database) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT to_char((clock_timestamp() AT TIME ZONE 'UTC')::date + 1, 'YYYYMMDD')")
        return str(cursor.fetchone()[0])


def test_keys_of_another_installation_are_noticed(otn: Shell, database: Engine, keyring: Keyring) -> None:
    change(database, "INSERT INTO otn.page (page_id, connection_id) VALUES ('1', 'shop')")
    change(database, "INSERT INTO otn.topic (page_id, key, payload) VALUES (1, 'x', 'x')")
    change(database, "INSERT INTO otn.subscriber (page_id, psid) VALUES (1, '1')")
    change(
        database,
        "INSERT INTO otn.token (subscriber_id, topic_id, token_hash, token_encrypted, opted_in_at, expires_at) "
        "VALUES (1, 1, sha256('x'), %s, now(), now() + interval '1 day')",
        keyring.encrypt(b"token", "token"),
    )
    assert levels(otn.json("doctor", code=1))["keys"] == ["green", "red"]


def test_without_keys_database_or_schema_it_still_answers(otn: Shell) -> None:
    del otn.environ["OTN_HASH_KEY"]
    assert levels(otn.json("doctor", code=1))["keys"] == ["red"]
    otn.environ["AIRFLOW_CONN_OTN_DB"] = "postgresql://nobody@127.0.0.1:1/none"
    assert levels(otn.json("doctor", code=1))["database"] == ["red"]
    del otn.environ["AIRFLOW_CONN_OTN_DB"]
    assert levels(otn.json("doctor", code=1))["database"] == ["red"]
