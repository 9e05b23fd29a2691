from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from otn.crypto import new_key, read_keyring
from tests.campaign.stage import Stage
from tests.consent.inbox import Inbox, body, optin
from tests.dags.airflow_runs import Airflow


def inbox(stage: Stage) -> Inbox:
    return Inbox(stage.engine, stage.keyring)


def raw(stage: Stage, *tokens: str) -> bytes:
    page = stage.settings.page_id
    return body(*(optin(token, "restock", page=page) for token in tokens), page=page)


def test_what_is_stored_is_taken_in_and_a_second_run_finds_nothing(airflow: Airflow, stage: Stage) -> None:
    box = inbox(stage)
    box.put(raw(stage, "token-1", "token-2"), raw(stage, "token-2"), b"{broken")
    run = airflow.run("otn_ingest")
    assert run.state == "success", run
    balance = run.xcom("ingest")
    assert (balance["webhooks"], balance["ingested"], balance["duplicate"], balance["quarantined"]) == (3, 2, 1, 1)
    assert box.tokens() == {"token-1", "token-2"}
    assert airflow.run("otn_ingest").xcom("ingest")["webhooks"] == 0


def test_a_day_again_changes_nothing_and_balances(airflow: Airflow, stage: Stage) -> None:
    box = inbox(stage)
    day = (datetime.now(UTC) - timedelta(days=1)).date()
    box.put(raw(stage, "token-1"), raw(stage, "token-1"), day=day)
    assert airflow.run("otn_ingest").state == "success"
    before = box.counts()
    run = airflow.run("otn_reingest")
    assert run.state == "success", run
    balance = run.xcom("reingest")[day.isoformat()]
    assert balance["received"] == balance["ingested"] + balance["duplicate"] + balance["quarantined"] == 2
    assert box.counts() == before


def test_a_webhook_of_a_lost_key_turns_the_run_red_after_everything_else_was_taken_in(
    airflow: Airflow, stage: Stage, capsys: Any
) -> None:
    box = inbox(stage)
    other = read_keyring({"OTN_ENCRYPTION_KEYS": new_key(), "OTN_HASH_KEY": new_key()})
    box.put(raw(stage, "token-1"))
    box.put(raw(stage, "token-2"), keyring=other)
    run = airflow.run("otn_ingest")
    assert run.state == "failed"
    assert "put the key that they were written with back into OTN_ENCRYPTION_KEYS" in capsys.readouterr().out
    assert box.tokens() == {"token-1"}
