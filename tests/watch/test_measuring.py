"""Figures of the metrics, from Postgres alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from otn.database import DatabaseError, Engine, transaction
from otn.errors import ConfigurationError
from otn.watch import measuring
from tests.console.shop import Shop


@pytest.fixture
def shop(database: Engine) -> Shop:
    return Shop.open(database)


def sql(shop: Shop, statement: str, *values: Any) -> None:
    with transaction(shop.engine) as connection, connection.cursor() as cursor:
        cursor.execute(statement, values)


def counted(shop: Shop) -> dict[str, float]:
    return {one.dotted: one.value for one in measuring.count(shop.engine)}


def measured(shop: Shop, rate_of: Callable[[str], float | None] = lambda _: 30.0) -> dict[str, float]:
    return {one.dotted: one.value for one in measuring.measure(shop.engine, rate_of)}


PLACE = "1000000001.restock"


def test_stock_is_what_no_campaign_holds_and_dying_what_could_still_be_spent(shop: Shop) -> None:
    shop.opt_in("restock", 4)
    shop.opt_in("restock", 3, "20 days")
    shop.opt_in("sale", 2, "29 days")
    found = counted(shop)
    assert (found[f"otn.consents.{PLACE}"], found[f"otn.consents_dying.{PLACE}"]) == (7, 3)
    assert (found["otn.consents.1000000001.sale"], found["otn.consents_dying.1000000001.sale"]) == (2, 2)
    sql(
        shop,
        "INSERT INTO otn.suppression (subscriber_id, reason)"
        " SELECT subscriber_id, 'operator' FROM otn.token ORDER BY expires_at LIMIT 1",
    )
    found = counted(shop)
    assert (found[f"otn.consents.{PLACE}"], found[f"otn.consents_dying.{PLACE}"]) == (7, 2)
    shop.planned("spring", max_recipients=2)  # the soonest to end
    found = counted(shop)
    assert (found[f"otn.consents.{PLACE}"], found[f"otn.consents_dying.{PLACE}"]) == (5, 0)
    sql(shop, "UPDATE otn.token SET expires_at = now() - interval '1 s' WHERE topic_id = %s", shop.topics["sale"])
    assert counted(shop)["otn.consents.1000000001.sale"] == 0


def test_a_campaign_counts_until_it_has_been_over_for_a_day_and_then_is_zero(shop: Shop) -> None:
    shop.opt_in("restock", 3)
    shop.planned("spring")
    assert counted(shop)[f"otn.recipients.{PLACE}.waiting"] == 3
    sql(shop, "UPDATE otn.recipient SET state = 'cancelled'")
    sql(shop, "UPDATE otn.campaign SET state = 'cancelled', finished_at = now() - interval '23 hours'")
    found = counted(shop)
    assert (found[f"otn.recipients.{PLACE}.cancelled"], found[f"otn.planned.{PLACE}"]) == (3, 3)
    sql(shop, "UPDATE otn.campaign SET finished_at = now() - interval '25 hours'")
    found = counted(shop)
    assert (found[f"otn.recipients.{PLACE}.cancelled"], found[f"otn.planned.{PLACE}"]) == (0, 0)


def test_an_opt_in_to_what_nobody_registered_has_no_name(shop: Shop) -> None:
    shop.opt_in("sale", 2)
    sql(shop, "UPDATE otn.topic SET registered_at = NULL, key = 'for-anna', payload = 'for-anna' WHERE key = 'sale'")
    found = counted(shop)
    assert found["otn.consents.1000000001.unregistered"] == 2
    assert "anna" not in "".join(found)


def test_a_campaign_is_late_from_late_after_on(shop: Shop) -> None:
    shop.campaign("spring", send_at=None)
    shop.campaign("summer")
    state = "UPDATE otn.campaign SET state = 'scheduled', send_at = now() - %s::interval WHERE key = 'summer'"
    sql(shop, state, "59 minutes")
    assert measured(shop)["otn.campaigns_late.1000000001"] == 0
    sql(shop, state, "61 minutes")
    found = measured(shop)
    assert found["otn.campaigns_late.1000000001"] == 1
    assert found["otn.campaigns.1000000001.halted"] == 0


def test_a_page_that_is_halted_and_its_calls(shop: Shop) -> None:
    assert measured(shop)["otn.page.halted.1000000001"] == 0
    sql(shop, "UPDATE otn.page SET halted_at = now(), halt_reason = '190: token'")
    sql(
        shop,
        "INSERT INTO otn.call_count (page_id, slot, calls)"
        " SELECT %s, date_bin('5 minutes', clock_timestamp(), 'epoch') - n * interval '5 minutes', 4500"
        " FROM generate_series(1, 2) AS n",
        shop.page_row,
    )
    sql(
        shop,
        "INSERT INTO otn.pace (page_id, next_at, quota, quota_at) VALUES (%s, now() + interval '90 s', 100000, now())",
        shop.page_row,
    )
    found = measured(shop)
    assert found["otn.page.halted.1000000001"] == 1
    assert found["otn.pace.used.1000000001"] in {0.5, 0}  # of 30 a second; 0: five minutes ended just now
    assert (found["otn.quota.used.1000000001"], found["otn.quota.allowed.1000000001"]) == (9000, 100000)
    assert 60 < found["otn.pace.booked_seconds.1000000001"] <= 90


def unreadable(_: str) -> float | None:
    raise ConfigurationError("The connection is incomplete. Correct it.")


@pytest.mark.parametrize("rate_of", [lambda _: None, unreadable], ids=["no pace", "no connection"])
def test_without_a_pace_the_other_figures_of_the_page_are_there(shop: Shop, rate_of: Any) -> None:
    found = measured(shop, rate_of)
    assert "otn.pace.used.1000000001" not in found
    assert "otn.quota.allowed.1000000001" not in found  # none is counted
    assert found["otn.quota.used.1000000001"] == 0


def test_an_alarm_that_ends_or_eases_is_zero_afterwards(shop: Shop) -> None:
    sql(
        shop,
        "INSERT INTO otn.alarm (page_id, kind, level, sentence, advice) VALUES (%s, 'token', 'alarm', 'S', ''),"
        " (NULL, 'spool', 'warn', 'S', '')",
        shop.page_row,
    )
    found = measured(shop)
    assert (found["otn.alarms.1000000001.token.alarm"], found["otn.alarms.none.spool.warn"]) == (1, 1)
    sql(shop, "UPDATE otn.alarm SET level = 'warn' WHERE kind = 'token'")
    sql(shop, "UPDATE otn.alarm SET ended_at = now() WHERE kind = 'spool'")
    found = measured(shop)
    assert (found["otn.alarms.1000000001.token.alarm"], found["otn.alarms.none.spool.warn"]) == (0, 0)
    assert found["otn.alarms.1000000001.token.warn"] == 1


def test_what_waits_and_what_could_not_be_read(shop: Shop) -> None:
    assert (measured(shop)["otn.ingest.lag_seconds"], measured(shop)["otn.quarantine"]) == (0, 0)
    sql(
        shop,
        "INSERT INTO otn.webhook_event (received_day, id, received_at, body)"
        " SELECT current_date, gen_random_uuid(), now() - n * interval '10 minutes', ''"
        " FROM generate_series(1, 2) AS n",
    )
    sql(
        shop,
        "INSERT INTO otn.quarantine (webhook_day, webhook_id, position, reason, item)"
        " SELECT current_date, id, '0/0', 'why', '' FROM otn.webhook_event",
    )
    found = measured(shop)
    assert (found["otn.ingest.waiting"], found["otn.quarantine"]) == (2, 2)
    assert 1_200 <= found["otn.ingest.lag_seconds"] < 1_300


def test_figures_that_take_too_long_are_given_up(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "QUARTERLY_MS", 50)
    with transaction(shop.engine) as other:
        other.cursor().execute("LOCK TABLE otn.recipient IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(DatabaseError) as error:
            measuring.count(shop.engine)
    assert error.value.sqlstate == "57014"
    assert counted(shop)[f"otn.planned.{PLACE}"] == 0


def test_nothing_at_all_is_no_error(database: Engine) -> None:
    assert {one.dotted for one in measuring.count(database)} == {"otn.counted_at"}
    assert {one.dotted for one in measuring.measure(database, lambda _: None)} == {
        "otn.measured_at",
        "otn.ingest.waiting",
        "otn.ingest.lag_seconds",
        "otn.quarantine",
    }
