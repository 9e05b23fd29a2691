from __future__ import annotations

import json
from collections.abc import Callable

from otn.database import Engine, transaction
from sandbox.process import Handle

from .conftest import Shell

Variable = Callable[..., str]


def change(database: Engine, statement: str) -> None:
    with transaction(database) as connection, connection.cursor() as cursor:
        cursor.execute(statement)


def add(otn: Shell, variable: str, *words: str, code: int = 0) -> str:
    ended = otn("pages", "add", "shop", *words, code=code, AIRFLOW_CONN_SHOP=variable)
    return ended.stdout + ended.stderr


def test_a_page_is_registered_once_and_checked(otn: Shell, page_variable: Variable) -> None:
    variable = page_variable()
    for _ in range(2):
        said = add(otn, variable, "--name", "Shop [bold]x[/bold]")
        assert "The access token works." in said
    (page,) = otn.json("pages", "list")
    assert (page["connection"], page["page_id"]) == ("shop", json.loads(variable)["login"])
    assert "Shop [bold]x[/bold]" in otn("pages", "list").stdout


def test_missing_webhooks_are_named_and_can_be_subscribed(
    otn: Shell, page_variable: Variable, platform: Handle
) -> None:
    variable = page_variable(subscribed_fields=["messages"])
    assert "messaging_optins" in add(otn, variable)
    assert "All webhooks are subscribed." in add(otn, variable, "--subscribe")
    (page,) = platform.control.pages()
    assert {"messages", "messaging_optins", "message_echoes"} <= set(page["subscribed_fields"])


def test_missing_secrets_are_named(otn: Shell, page_variable: Variable) -> None:
    said = add(otn, page_variable(verify_token=""))
    assert "no verify_token" in said
    assert "no app_secret" not in said


def test_a_dead_token_registers_nothing_unless_told_so(otn: Shell, page_variable: Variable, platform: Handle) -> None:
    variable = page_variable()
    platform.control.page(json.loads(variable)["login"], dead=463)
    assert "--unchecked" in add(otn, variable, code=1)
    assert otn.json("pages", "list") == []
    add(otn, variable, "--unchecked")
    assert len(otn.json("pages", "list")) == 1


def test_a_platform_out_of_reach_does_not_keep_a_page_from_being_registered(
    otn: Shell, page_variable: Variable
) -> None:
    variable = json.loads(page_variable()) | {"host": "http://127.0.0.1:1"}
    assert "no answer" in add(otn, json.dumps(variable))
    assert len(otn.json("pages", "list")) == 1


def test_connections_that_cannot_be_used_are_a_sentence(otn: Shell, page_variable: Variable) -> None:
    assert "Set AIRFLOW_CONN_SHOP" in otn("pages", "add", "shop", code=1).stderr
    assert "no password" in add(otn, '{"conn_type": "messenger", "login": "1"}', code=1)
    assert "cannot be read" in add(otn, "{broken", code=1)
    assert otn.json("pages", "list") == []


def test_a_page_is_halted_and_resumed_by_a_person(
    otn: Shell, page_variable: Variable, database: Engine, campaign: str
) -> None:
    assert "reason" in otn("pages", "halt", "shop", "--reason", " ", code=2).stderr
    assert "until" in otn("pages", "halt", "shop", "--reason", "a [bold]complaint").stdout
    (page,) = otn.json("pages", "list")
    assert (page["halt_reason"], page["needs_resume"]) == ("a [bold]complaint", True)
    change(database, "UPDATE otn.campaign SET state = 'halted', halt_reason = 'the page'")
    assert campaign in otn("pages", "resume", "1001").stdout
    assert "was not halted" in otn("pages", "resume", "shop").stdout


def test_a_page_that_the_platform_blocked_needs_a_reason_to_go_on(otn: Shell, database: Engine, campaign: str) -> None:
    change(
        database,
        "UPDATE otn.page SET halted_at = now(), halt_reason = 'policy_enforcement: block', halt_held = true,"
        " blocked_at = now()",
    )
    assert "--because" in otn("pages", "resume", "shop", code=2).stderr
    otn("pages", "resume", "shop", "--because", "The inbox says it is free.")
    with transaction(database) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT actor, detail ->> 'because' AS because FROM otn.audit WHERE action = 'page resumed'")
        (row,) = cursor.fetchall()
    assert row.actor.startswith("cli:")
    assert row.because == "The inbox says it is free."


def test_topics(otn: Shell, page_variable: Variable) -> None:
    add(otn, page_variable())
    otn("topics", "add", "restock", "--title", "Back in stock")
    otn("topics", "add", "restock", "--title", "Back on the shelf")
    (topic,) = otn.json("topics", "list")
    assert (topic["key"], topic["title"], topic["payload"], topic["page"], topic["people"]) == (
        *("restock", "Back on the shelf", "restock", "shop", 0),
    )
    assert "Back on the shelf" in otn("topics", "list", "--page", "shop").stdout
    assert "65" in otn("topics", "add", "long", "--title", "x" * 66, code=2).stderr
    conflict = otn("topics", "add", "other", "--title", "x", "--payload", "restock", code=2).stderr
    assert "belongs to the topic 'restock'" in conflict
    assert "no page 'none'" in otn("topics", "add", "x", "--title", "x", "--page", "none", code=2).stderr


def test_hostile_payloads_do_not_reach_the_terminal_as_commands(
    otn: Shell, page_variable: Variable, database: object
) -> None:

    add(otn, page_variable())
    with transaction(database) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO otn.topic (page_id, key, payload) VALUES (1, E'k\\x1b[2J', E'p\\x1b]0;x\\x07')")
    said = otn("topics", "list").stdout
    assert "(not registered)" in said
    assert "\x1b" not in said
    assert otn.json("topics", "list")[0]["payload"] == "p\x1b]0;x\x07"
