from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from otn.crypto import read_keyring
from otn.database import Engine, transaction

from .conftest import PSID, Inside, Shell


def sql(database: Engine, statement: str, *values: object) -> list[tuple[object, ...]]:
    with transaction(database) as connection, connection.cursor() as cursor:
        cursor.execute(statement, values or None)
        return [tuple(row) for row in cursor.fetchall()] if cursor.description else []


def piped(otn: Shell, *words: str, text: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "otn", *words]
    return subprocess.run(
        command, env=otn.environ, cwd=otn.home, input=text, capture_output=True, text=True, timeout=120, check=False
    )


def test_a_person_is_shown_silenced_and_erased(otn: Shell, inside: Inside, campaign: str, database: Engine) -> None:
    shown = json.loads(inside("privacy", "show", PSID).stdout)
    assert [one["campaign"] for one in shown["campaigns"]] == [campaign]
    said = inside("privacy", "suppress", PSID, "--topic", "restock", "--note", "wrote a letter").stdout
    assert "about restock" in said
    assert ("operator", "wrote a letter") in sql(database, "SELECT reason, note FROM otn.suppression")
    assert "nothing was changed" in inside("privacy", "release", PSID).stdout
    assert "Lifted" in inside("privacy", "release", PSID, "--topic", "restock").stdout

    assert "Add --yes" in inside("privacy", "erase", PSID, code=2).stderr
    done = piped(otn, "privacy", "erase", "-", "--yes", "--reason", "letter of today", text=f"{PSID}\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert "only figures are left" in done.stdout
    assert PSID not in done.stdout
    assert json.loads(inside("privacy", "show", PSID).stdout).keys() == {"page", "psid", "erased_at"}
    assert sql(database, "SELECT count(*) FROM otn.audit WHERE to_jsonb(audit)::text LIKE %s", f"%{PSID}%") == [(0,)]
    journal = Path(otn.environ["OTN_HOME"]) / "erasures.jsonl"
    assert len(journal.read_text().splitlines()) == 1


def test_migrate_and_a_command_carry_out_what_a_restored_backup_has_lost(
    otn: Shell, inside: Inside, campaign: str, database: Engine, tmp_path: Path
) -> None:
    keyring = read_keyring(otn.environ)
    line = {"psid_hash": keyring.digest("psid", "1001", PSID).hex(), "at": "2026-01-01T00:00:00+00:00"}
    journal = tmp_path / "elsewhere.jsonl"
    journal.write_text(json.dumps(line) + "\n{torn")
    said = otn("migrate", OTN_ERASURE_JOURNAL=str(journal))
    assert "1 people stood in the erasure journal" in said.stderr
    assert sql(database, "SELECT count(*) FROM otn.subscriber WHERE psid = %s", PSID) == [(0,)]
    again = inside("privacy", "erasures", "apply", "--json", OTN_ERASURE_JOURNAL=str(journal))
    assert json.loads(again.stdout) == {"journal": 1, "unreadable": 1, "erased": 0, "silenced": 0, "lifted": 0}


def test_migrate_says_who_asked_for_silence_since_the_backup(
    otn: Shell, inside: Inside, campaign: str, database: Engine
) -> None:
    inside("privacy", "suppress", PSID)
    inside("privacy", "suppress", PSID, "--topic", "restock")
    inside("privacy", "release", PSID)
    lines = (Path(otn.environ["OTN_HOME"]) / "silences.jsonl").read_text().splitlines()
    assert [json.loads(line)["lifted"] for line in lines] == [False, False, True]
    assert not any(PSID in line or "restock" in line for line in lines)
    sql(database, "DELETE FROM otn.suppression WHERE reason = 'operator'")
    sql(database, "UPDATE otn.silence_mark SET bytes = 0, tail = DEFAULT")
    assert "1 stop words and objections" in otn("migrate").stderr
    again = json.loads(inside("privacy", "erasures", "apply", "--json").stdout)
    assert (again["silenced"], again["lifted"]) == (0, 0)


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("privacy", "show", "4711"), 2, "holds nobody of this PSID"),
        (("privacy", "erase", PSID, "--yes", "--page", "other"), 2, "There is no page 'other'"),
        (("privacy", "deletions"), 0, "No deletion request yet"),
        (("import", "none.csv"), 2, "none.csv cannot be read"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(
    inside: Inside, campaign: str, words: tuple[str, ...], code: int, sentence: str
) -> None:
    ended = inside(*words, code=code)
    assert sentence in ended.stdout + ended.stderr


def test_an_import_tells_what_became_of_each_line(
    inside: Inside, campaign: str, tmp_path: Path, database: Engine
) -> None:
    file = tmp_path / "old.csv"
    now = sql(database, "SELECT clock_timestamp()")[0][0]
    file.write_text(f"psid,token,payload,opted_in_at,source\n7,secret-1,restock,{now},shop\n8,secret-2,restock,,shop\n")
    dry = inside.json("import", str(file), "--dry-run")
    rejects = tmp_path / "rejects.csv"
    told = inside.json("import", str(file), "--source", "crm", "--rejects", str(rejects))
    assert (dry["imported"], told["imported"], told["refused"]) == (1, 1, {"opted_in_at_missing": 1})
    assert told["page"] == "shop"
    assert rejects.read_text() == "line,reason\n3,opted_in_at_missing\n"
    assert rejects.stat().st_mode & 0o777 == 0o600
    assert "would overwrite" in inside("import", str(file), "--rejects", str(file), code=2).stderr
    assert "secret-1" in file.read_text()
    assert "secret" not in inside("import", str(file)).stdout
    assert sql(database, "SELECT count(*) FROM otn.token WHERE source LIKE 'import:shop:%%'") == [(1,)]
