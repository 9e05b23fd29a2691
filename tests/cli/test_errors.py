from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs import require

from .conftest import Shell


def test_help_and_version(otn: Shell) -> None:
    said = otn("--help").stdout
    for command in ("up", "down", "status", "pages", "topics", "report", "export", "migrate", "receiver", "doctor"):
        assert command in said
        assert "--home" in otn(command, *(("list",) if command in {"pages", "topics"} else ()), "--help").stdout
    assert otn("--version").stdout.startswith("otn 0.")


@pytest.mark.parametrize(
    "words",
    [("nonsense",), ("report",), ("export", "x", "--format", "xml"), ("topics", "add", "x"), ("up", "--api-port", "0")],
)
def test_wrong_use_is_code_2(otn: Shell, words: tuple[str, ...]) -> None:
    ended = otn(*words, code=2)
    assert ended.stdout == ""
    assert ended.stderr


def test_no_database_known(otn: Shell) -> None:
    del otn.environ["AIRFLOW_CONN_OTN_DB"]
    said = otn("campaigns", "list", code=1).stderr
    assert "Error: No database is known" in said
    assert "./otn up" in said


def test_database_away(otn: Shell) -> None:
    for words in (("campaigns", "list"), ("migrate",), ("report", "x")):
        ended = otn(*words, code=1, AIRFLOW_CONN_OTN_DB="postgresql://nobody:hidden-word@127.0.0.1:1/none")
        assert "does not answer" in ended.stderr
        assert "hidden-word" not in ended.stderr
        assert ended.stdout == ""


def test_a_database_without_tables(otn: Shell, postgres: str) -> None:
    place = json.loads(otn.environ["AIRFLOW_CONN_OTN_DB"])
    otn.environ["AIRFLOW_CONN_OTN_DB"] = json.dumps(place | {"schema": "template1"})
    assert "./otn migrate" in otn("campaigns", "list", code=1).stderr


def test_migrating_again_changes_nothing(otn: Shell) -> None:
    assert otn("migrate").stdout == otn("migrate").stdout


def test_unreadable_dotenv_or_connection_shows_no_secret(otn: Shell) -> None:
    ended = otn("campaigns", "list", code=1, AIRFLOW_CONN_OTN_DB='{"password": "hidden-word"')
    assert "AIRFLOW_CONN_OTN_DB cannot be read" in ended.stderr
    assert "hidden-word" not in ended.stderr


def test_an_unexpected_error_is_a_sentence_with_its_details_elsewhere(otn: Shell, tmp_path: Path) -> None:
    # A folder of queries that holds no SQL that can be read: nobody foresees that.
    queries = tmp_path / "sql" / "queries"
    queries.mkdir(parents=True)
    (queries / "campaign.sql").write_text("-- name: 0 is no name\nSELECT;")
    ended = otn("campaigns", "list", code=1, OTN_SQL_DIR=str(tmp_path / "sql"), TMPDIR=str(tmp_path))
    assert "this should not have happened" in ended.stderr
    (details,) = tmp_path.glob("otn-error-*.log")
    assert str(details) in ended.stderr
    assert "Traceback" in details.read_text()
    assert details.stat().st_mode & 0o077 == 0
    command = [sys.executable, "-m", "otn", "campaigns", "list"]
    environ = otn.environ | {"OTN_SQL_DIR": str(tmp_path / "sql"), "OTN_DEBUG": "1"}
    debugged = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" in debugged.stderr


def test_nothing_runs_here(otn: Shell) -> None:
    assert otn.json("status", code=1)["healthy"] is False
    assert "Down" in otn("status", code=1).stdout
    assert "Nothing was running" in otn("down").stdout
    assert not Path(otn.environ["OTN_HOME"]).exists()


def test_the_receiver_says_why_it_does_not_start(otn: Shell) -> None:
    assert "No page has an app secret" in otn("receiver", "--port", "0", code=1).stderr


def test_colours_only_where_a_person_looks(otn: Shell) -> None:
    def shown(**environ: str) -> str:
        command = ["script", "-qec", f"{sys.executable} -m otn doctor", "/dev/null"]
        given = otn.environ | {"TERM": "xterm"} | environ
        ended = subprocess.run(command, env=given, capture_output=True, text=True, timeout=60, check=False)
        return ended.stdout

    require("script", "bsdutils or util-linux")
    assert "\x1b[3" in shown()
    assert "\x1b[3" not in shown(NO_COLOR="1")
    assert "\x1b[3" not in otn("doctor", code=None).stdout
