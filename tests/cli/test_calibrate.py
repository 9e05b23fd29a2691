from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from otn.crypto import read_keyring
from otn.database import Engine, transaction
from sandbox.process import Handle

from .conftest import Shell


def opted_in(otn: Shell, database: Engine, platform: Handle, page_id: str) -> str:
    """A colleague who tapped Notify Me."""
    keyring = read_keyring(otn.environ)
    (psid,) = platform.control.people(page_id)
    (tap,) = platform.control.optins(page_id, "restock", psids=[psid], webhook=False, list_tokens=True)["rows"]
    with transaction(database) as connection, connection.cursor() as cursor:
        cursor.execute(
            "WITH who AS (INSERT INTO otn.subscriber (page_id, psid) SELECT id, %s FROM otn.page RETURNING id)"
            " INSERT INTO otn.token (subscriber_id, topic_id, token_hash, token_encrypted, opted_in_at, expires_at)"
            " SELECT who.id, t.id, %s, %s, now(), now() + interval '300 days' FROM who, otn.topic t",
            (psid, keyring.digest("token", page_id, tap["token"]), keyring.encrypt(tap["token"].encode(), "token")),
        )
    return psid


def used_tokens(otn: Shell) -> list[str]:
    found = otn.json("doctor", code=1)  # red is that the server of the tests does not wait for the disk
    assert [check["id"] for check in found["checks"] if check["level"] == "red"] == ["database.durability"]
    return [check["level"] for check in found["checks"] if check["id"] == "page.calibration"]


def test_after_a_calibration_the_doctor_is_content(
    otn: Shell, database: Engine, platform: Handle, page_variable: Callable[..., str]
) -> None:
    otn.environ["AIRFLOW_CONN_SHOP"] = page_variable()
    page_id = json.loads(otn.environ["AIRFLOW_CONN_SHOP"])["login"]
    otn("pages", "add", "shop", "--subscribe")
    otn("topics", "add", "restock", "--title", "When it is back")
    psid = opted_in(otn, database, platform, page_id)
    assert "Add --yes" in otn("calibrate", "--psid", psid, code=2).stderr

    platform.control.token_answers(alike=True)
    alike: dict[str, Any] = otn.json("calibrate", "--psid", psid, "--yes", code=1)
    assert (alike["learned"], sorted(alike["answers"])) == (False, ["invalid", "used"])
    assert used_tokens(otn) == ["yellow"]
    platform.control.token_answers(alike=False)
    said = otn("calibrate", "--psid", psid, "--topic", "restock", "--yes").stdout
    assert "tells used and invalid tokens apart" in said
    assert psid not in said
    assert used_tokens(otn) == ["green"]
    assert len(list(platform.control.ledger(page_id))) == 1
