"""Named queries: each is used, each says why it is there, each fits the schema."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from otn.database import Engine, queries, transaction
from otn.errors import ConfigurationError
from otn.settings import ROOT, sql_folder
from tests.named_queries import NAMED, SUBJECTS, look_at, sql_of

SOURCE = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "plugins" / "otn").rglob("*.py")))


@pytest.mark.parametrize(("subject", "name"), NAMED)
def test_every_query_is_used(subject: str, name: str) -> None:
    assert f'queries("{subject}")' in SOURCE
    used = bool(re.search(rf'(\.|"){name}\b', SOURCE))
    assert used, f"nobody uses {subject}.{name}"


def test_every_query_that_is_used_exists() -> None:
    used = re.findall(r'queries\("(\w+)"\)\.(\w+)\(', SOURCE)
    assert len(used) > 40
    assert [one for one in used if one not in NAMED and one != ("campaign", "plan")] == []


@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_query_says_why_it_is_there(subject: str) -> None:
    text = (sql_folder() / "queries" / f"{subject}.sql").read_text(encoding="utf-8")
    for block in re.split(r"^-- name: ", text, flags=re.MULTILINE)[1:]:
        name, why, *_ = block.splitlines()
        assert re.match(r"-- \S.{10,}", why), f"{subject}.{name} does not say why"


def test_every_query_fits_the_schema(database: Engine) -> None:
    # All of them in one database, each undone: what is missing or misspelt, Postgres tells without running anything.
    wrong: list[str] = []
    with transaction(database) as connection, connection.cursor() as cursor:
        cursor.execute(sql_of("ingest", "make_stage"))
        for subject, name in NAMED:
            cursor.execute("SAVEPOINT before")
            if name == "make_stage":
                cursor.execute("DROP TABLE stage")
            try:
                look_at(cursor, sql_of(subject, name))
            except Exception as error:  # noqa: BLE001 - all that are wrong are told at once
                wrong.append(f"{subject}.{name}: {error}")
            cursor.execute("ROLLBACK TO before")
    assert wrong == []


def test_a_subject_that_is_not_there_is_told_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTN_SQL_DIR", str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"no nothing.sql in .*Set OTN_SQL_DIR"):
        queries("nothing")


def test_a_subject_is_read_once() -> None:
    assert queries("campaign") is queries("campaign")


def test_a_query_gives_rows_by_name(database: Engine) -> None:
    with transaction(database) as connection:
        row: Any = queries("ingest").context(connection)
    assert row.any_erased is False
