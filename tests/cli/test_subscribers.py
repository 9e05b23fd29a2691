from __future__ import annotations

import csv
import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from otn.cli.app import app
from otn.database import Engine, transaction
from otn.errors import UsageError

from .conftest import PSID, Shell


def sql(database: Engine, statement: str) -> list[tuple[object, ...]]:
    with transaction(database) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return [tuple(row) for row in cursor.fetchall()] if cursor.description else []


def labels(database: Engine) -> list[tuple[object, ...]]:
    return sql(database, "SELECT id::int, labels FROM otn.subscriber WHERE labels <> '{}' ORDER BY id")


@dataclass
class Said:
    """What one command said."""

    stdout: str
    stderr: str


@dataclass
class Here:
    """Runs commands in this process: a second less each. What a process adds is tested elsewhere."""

    capsys: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch

    def __call__(self, *words: str, code: int = 0, stdin: str = "") -> Said:
        self.monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        ended, error = 0, ""
        try:
            app(list(words), standalone_mode=False)
        except UsageError as wrong:
            ended, error = 2, str(wrong)
        said = self.capsys.readouterr()
        assert ended == code, said.out + said.err + error
        return Said(said.out, said.err + error)

    def json(self, *words: str, stdin: str = "") -> Any:
        return json.loads(self(*words, "--json", stdin=stdin).stdout)


@pytest.fixture
def here(otn: Shell, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Here:
    for name, value in otn.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(otn.home)
    return Here(capsys, monkeypatch)


def test_labels_by_psid_by_filter_and_by_result(here: Here, campaign: str, database: Engine) -> None:
    said = here("subscribers", "label", "--add", "vip", PSID, "404").stdout
    assert "1 of 2 people changed; 0 had it; left as they are: unknown_person: 1." in said
    assert here.json("subscribers", "label", "--add", "a b", "--label-filter", "vip")["changed"] == 1
    figures = here.json("subscribers", "label", "--add", "got", "--campaign", campaign, "--result", "sent")
    assert figures == {"people": 1, "changed": 1, "unchanged": 0, "skipped": {}, "dry_run": False}
    dry = here.json("subscribers", "label", "--remove", "vip", PSID, "--dry-run")
    assert (dry["changed"], dry["dry_run"]) == (1, True)
    assert labels(database) == [(1, ["vip", "a b", "got"])]
    assert here.json("subscribers", "label", "--remove", "vip", "-", stdin=f"{PSID}\n404\n\n")["people"] == 2
    assert labels(database) == [(1, ["a b", "got"])]


def test_attributes_and_what_they_choose(here: Here, campaign: str) -> None:
    here("subscribers", "attribute", "--set", "city=Oslo", "--set", "size=4=2", PSID)
    found = here.json("subscribers", "list", "--attribute", "city=Oslo")
    assert [row["attributes"] for row in found["subscribers"]] == [{"city": "Oslo", "size": "4=2"}]
    here("subscribers", "attribute", "--unset", "size", "--attribute-filter", "city=Oslo")
    assert "city=Oslo" in here("subscribers", "list", "--attribute", "city=Oslo").stdout
    assert "Nobody." in here("subscribers", "list", "--attribute", "size=4=2").stdout


def test_a_list_has_pages_and_shows_psids_only_when_asked(here: Here, campaign: str) -> None:
    first = here.json("subscribers", "list", "--most", "2")
    assert ([row["subscriber_id"] for row in first["subscribers"]], first["next"]) == ([1, 2], 2)
    rest = here.json("subscribers", "list", "--most", "9", "--after", "2", "--with-psid")
    assert ([row["subscriber_id"] for row in rest["subscribers"]], rest["next"]) == ([3, 4, 5], None)
    assert rest["subscribers"][-1]["suppressed"] == ["stop_word"]
    assert "psid" not in first["subscribers"][0]
    assert rest["subscribers"][0]["psid"] not in here("subscribers", "list").stdout
    assert "--after 2" in here("subscribers", "list", "--most", "2").stderr


def test_one_person_is_shown_as_a_story(here: Here, campaign: str) -> None:
    person = here.json("subscribers", "show", PSID)
    assert (person["psid"], person["subscriber_id"]) == (PSID, 1)
    assert [row["state"] for row in person["campaigns"]] == ["sent"]
    assert {"tapped", "token", "campaign"} <= {moment["what"] for moment in person["timeline"]}
    said = here("subscribers", "show", "#1").stdout
    assert "Timeline" in said
    assert "spring" in said
    assert here.json("subscribers", "show", "-", stdin=f"{PSID}\n")["subscriber_id"] == 1


def test_a_file_is_taken_with_its_reasons(here: Here, campaign: str, database: Engine, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text(f"psid,label,city\n{PSID},vip,Oslo\n404,vip,\n2.87E+16,vip,\n", encoding="utf-8")
    assert "would change" in here("subscribers", "import", str(file), "--dry-run").stdout
    assert labels(database) == []
    figures = here.json("subscribers", "import", str(file))
    assert (figures["rows"], figures["changed"]) == (3, 1)
    assert figures["left_out"] == {"unknown_person": 1, "psid_rounded_by_a_spreadsheet": 1}
    assert {"line": 3, "reason": "unknown_person"} in figures["examples"]
    said = here("subscribers", "import", str(file))
    assert "3 rows, 2 left out" in said.stdout
    assert "line 3 (unknown_person)" in said.stderr
    assert PSID not in said.stdout + said.stderr
    assert here.json("subscribers", "import", "-", stdin=f"psid,label\n{PSID},b\n")["changed"] == 1
    assert "cannot be read" in here("subscribers", "import", "nowhere.csv", code=2).stderr


def test_a_wrong_use_is_a_sentence(here: Here, campaign: str) -> None:
    wrong = [
        (("label", PSID), "There is nothing to change"),
        (("label", "--add", "a"), "exactly one of the two"),
        (("label", "--add", "a", PSID, "--label-filter", "b"), "exactly one of the two"),
        (("label", "--add", "a", "--campaign", "spring"), "--campaign and --result go together"),
        (("attribute", "--set", "city", PSID), "'city' is no attribute. Write NAME=VALUE"),
        (("show", "404"), "knows nobody of this PSID"),
    ]
    for words, sentence in wrong:
        ended = here("subscribers", *words, code=2)
        assert sentence in ended.stderr
        assert ended.stdout == ""


def test_the_ledger_is_listed_and_exported(here: Here, campaign: str, database: Engine) -> None:
    sql(database, "UPDATE otn.token SET ref = '=1+1', source = 'import:old.csv' WHERE id = 1")
    found = here.json("consents", "list", "--topic", "restock")
    assert [row["state"] for row in found["consents"]] == ["spent", "unspent", "reserved", "reserved", "silenced"]
    assert found["next"] is None
    assert "psid" not in found["consents"][0]
    mine = here.json("consents", "list", "--psid", PSID, "--with-psid")["consents"]
    assert [(row["psid"], row["spent_campaign"], row["source"]) for row in mine] == [(PSID, "spring", "import:old.csv")]
    assert "unspent" in here("consents", "list", "--state", "unspent").stdout
    assert "There is no state 'used'" in here("consents", "list", "--state", "used", code=2).stderr
    rows = list(csv.DictReader(io.StringIO(here("consents", "export").stdout)))
    assert (len(rows), rows[0]["ref"], "psid" in rows[0]) == (5, "'=1+1", False)
    lines = here("consents", "export", "--format", "jsonl", "--with-psid", "--state", "spent").stdout.splitlines()
    assert [json.loads(line)["psid"] for line in lines] == [PSID]
    assert json.loads(lines[0])["ref"] == "=1+1"
