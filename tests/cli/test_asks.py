from __future__ import annotations

from otn.asking.ask import AskSpec, open_ask
from otn.consent import pages, topics
from otn.database import Engine, transaction
from tests.cli.conftest import Shell


def ask(database: Engine, key: str) -> None:
    with transaction(database) as connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO otn.page (page_id, connection_id) VALUES ('1001', 'shop');"
            "INSERT INTO otn.topic (page_id, key, title, payload, registered_at)"
            " VALUES (1, 'restock', 'Back in stock', 'restock', clock_timestamp());"
            "INSERT INTO otn.subscriber (page_id, psid, locale, last_interaction_at)"
            " SELECT 1, n::text, CASE n WHEN 1 THEN 'de_DE' END, clock_timestamp() FROM generate_series(1, 4) AS n"
        )
        page = pages.find(connection, "shop")
        topic = topics.find(connection, page, "restock")
    open_ask(database, AskSpec(key, ref="\x1b[31mshoe", gated=("DE",)), page, topic, actor="test")
    with transaction(database) as connection, connection.cursor() as cursor:
        cursor.execute(
            "UPDATE otn.window_message SET state = 'skipped', reason = 'window_closed'"
            " WHERE id = (SELECT min(id) FROM otn.window_message)"
        )


def test_asks_are_listed_and_their_figures_told(otn: Shell, database: Engine) -> None:
    ask(database, "manual__1")
    assert [(row["key"], row["asked"], row["tapped"]) for row in otn.json("asks", "list", "--page", "shop")] == [
        ("manual__1", 3, 0)
    ]
    figures = otn.json("asks", "report", "manual__1")
    assert (figures["asked"], figures["waiting"]) == (3, 2)
    assert (figures["skipped"], figures["excluded"]) == ({"window_closed": 1}, {"region_gated": 1})
    shown = otn("asks", "report", "manual__1").stdout
    assert "region_gated: 1" in shown
    assert "\x1b[31m" not in shown


def test_the_responder_says_why_it_does_not_start(otn: Shell) -> None:
    said = otn("responder", code=1, OTN_HASH_KEY="").stderr
    assert "OTN_HASH_KEY" in said
