"""`sending`: a restored database as the person at the command line meets it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from otn.database import Engine, transaction
from otn.epoch import guard
from tests.cli.conftest import PSID, Inside


def sql(database: Engine, statement: str) -> list[Any]:
    with transaction(database) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def gone_back(inside: Inside, database: Engine, campaign: str) -> Path:
    """The database went back to the moment before a claim; its file."""
    guard.check(database, inside.environ)
    guard.check(database, inside.environ)
    sql(database, "UPDATE otn.epoch SET number = 1")
    return Path(inside.environ["OTN_HOME"]) / "epoch.json"


def test_a_database_that_may_send_says_so(inside: Inside, database: Engine, campaign: str) -> None:
    guard.check(database, inside.environ)
    assert "may send" in inside("sending", "show").stdout
    told = inside.json("sending", "show")
    assert (told["may_send"], told["reason"], told["file_number"]) == (True, None, told["number"])
    assert "nothing to confirm" in inside("sending", "confirm", "--reason", "x", "--yes", code=2).stderr


def test_a_restored_one_is_explained_confirmed_and_sends(
    inside: Inside, database: Engine, campaign: str, gone_back: Path
) -> None:
    sql(
        database,
        "INSERT INTO otn.campaign (page_id, topic_id, key, message, content_hash)"
        " SELECT page_id, topic_id, 'draft', message, content_hash FROM otn.campaign",
    )
    said = inside("sending", "show", code=1).stdout
    assert "calls were made up to claim" in said
    assert "sending confirm" in said
    doctor = {one["id"]: one["level"] for one in inside.json("doctor", code=1)["checks"]}
    assert doctor["sending.epoch"] == "red"

    assert "Add --yes" in inside("sending", "confirm", "--reason", "disk broke", code=2).stderr
    assert "--nothing-lost out" in inside("sending", "confirm", "--reason", "x", "--nothing-lost", code=2).stderr
    foretold = inside("sending", "confirm", "--reason", "disk broke", "--dry-run").stdout
    assert "to be asked again with their token: 1." in foretold
    assert "shop/spring" in foretold
    assert "Cancel those that were sent since the backup: shop/draft." in foretold
    assert sql(database, "SELECT count(*) FROM otn.recipient WHERE reason = 'restored'") == [(0,)]
    assert inside("sending", "show", code=1)

    done = json.loads(inside("sending", "confirm", "--reason", "disk broke", "--yes", "--json").stdout)
    assert (done["confirmed"], done["recipients"], done["lost"]) == (True, 1, True)
    assert sql(database, "SELECT count(*) FROM otn.recipient WHERE reason = 'restored'") == [(1,)]
    assert inside.json("sending", "show")["may_send"]
    assert gone_back.exists()


def test_a_confirmation_brings_back_who_asked_for_silence(
    inside: Inside, database: Engine, campaign: str, gone_back: Path
) -> None:
    inside("privacy", "suppress", PSID)
    sql(database, "DELETE FROM otn.suppression WHERE reason = 'operator'")
    sql(database, "UPDATE otn.silence_mark SET bytes = 0, tail = DEFAULT")
    foretold = inside.json("sending", "confirm", "--reason", "disk broke", "--dry-run")
    assert (foretold["journal_lines"], foretold["silenced"], foretold["confirmed"]) == (1, 0, False)
    assert sql(database, "SELECT count(*) FROM otn.suppression WHERE reason = 'operator'") == [(0,)]
    done = inside.json("sending", "confirm", "--reason", "disk broke", "--yes")
    assert (done["silenced"], done["lifted"], done["confirmed"]) == (1, 0, True)
    assert sql(database, "SELECT count(*) FROM otn.suppression WHERE reason = 'operator'") == [(1,)]
    assert sql(database, "SELECT detail FROM otn.audit WHERE action = 'silences returned'") == [
        ({"silenced": 1, "lifted": 0},)
    ]


def test_whoever_is_asked_reads_it_beside_the_json(
    inside: Inside, gone_back: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otn.cli.sending.sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))
    done = inside("sending", "confirm", "--reason", "disk broke", "--json", text="y\n")
    assert json.loads(done.stdout)["confirmed"]
    assert "to be asked again with their token: 1." in done.stderr


def test_without_a_journal_that_can_be_read_nothing_is_confirmed(
    inside: Inside, database: Engine, campaign: str, gone_back: Path
) -> None:
    gone_back.with_name("silences.jsonl").mkdir()
    assert "people back who have asked" in inside("sending", "confirm", "--reason", "x", "--yes", code=1).stderr
    assert not inside.json("sending", "show", code=1)["may_send"]


def test_a_file_that_cannot_be_read_is_told_with_the_remedy(inside: Inside, gone_back: Path) -> None:
    gone_back.unlink()
    gone_back.mkdir()
    assert "correct OTN_EPOCH_FILE" in inside("sending", "show", code=1).stderr
    assert "correct OTN_EPOCH_FILE" in inside("sending", "confirm", "--reason", "x", "--yes", code=1).stderr
