from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from otn.database import Engine, transaction
from otn.orchestration.choices import BYTES_LIMIT, MOST, Choices, read_choices, write_choices
from otn.orchestration.forms import ask_params, broadcast_params, retry_params
from otn.settings import ROOT, choices_file

SHOP = """
INSERT INTO otn.page (page_id, connection_id) VALUES ('1001', 'shop'), ('1002', 'second');
INSERT INTO otn.topic (page_id, key, title, payload, registered_at)
    VALUES (1, 'restock', '<script>alert(1)</script>', 'a', clock_timestamp()),
           (2, 'restock', '{{ conn.otn_db.password }}', 'a', clock_timestamp()),
           (1, 'news', 'News', 'b', clock_timestamp());
INSERT INTO otn.topic (page_id, key, title, payload) VALUES (1, 'met-only', 'Never registered', 'c');
"""
HOSTILE = ["<img src=x onerror=alert(1)>", "{{ conn.otn_db.password }}"]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OTN_CHOICES_DIR", str(tmp_path / "choices"))
    found = choices_file()
    assert found
    return found


def examples() -> dict[str, Any]:
    forms = {"broadcast": broadcast_params(), "retry": retry_params(), "ask": ask_params()}
    return {
        f"{form}.{name}": param.schema["examples"]
        for form, params in forms.items()
        for name, param in params.items()
        if "examples" in param.schema
    }


def test_what_there_is_is_proposed_in_every_form(database: Engine, file: Path) -> None:
    with transaction(database) as connection, connection.cursor() as cursor:
        cursor.execute(SHOP)
    assert write_choices(database)
    assert read_choices() == Choices(topics=("news", "restock"), pages=("second", "shop"))
    assert examples() == {
        "broadcast.topic": ["news", "restock"],
        "broadcast.page": ["second", "shop"],
        "retry.page": ["second", "shop"],
        "ask.topic": ["news", "restock"],
        "ask.page": ["second", "shop"],
    }
    assert "script" not in file.read_text()  # titles are not in it
    assert broadcast_params()["topic"].resolve("new since") == "new since"  # a proposal, no bound


def test_nothing_is_written_where_nothing_changed(database: Engine, file: Path) -> None:
    assert write_choices(database)
    before = file.stat()
    assert not write_choices(database)
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    with transaction(database) as connection, connection.cursor() as cursor:
        cursor.execute(SHOP)
    assert write_choices(database)
    assert file.stat().st_ino != before.st_ino  # whoever reads the old one reads on in it
    assert [one.name for one in file.parent.iterdir()] == [file.name]
    assert file.stat().st_mode & 0o777 == 0o644


def test_a_folder_that_cannot_be_made_stops_no_ingest(database: Engine, file: Path) -> None:
    file.parent.write_text("a file where the folder should be")
    assert not write_choices(database)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"topics": "abc"}',
        '{"topics": [1, null, "", " a", "a\\nb", {}]}',
        "[" * 100_000,
        "\udc00",
    ],
    ids=["empty", "cut", "list", "null", "text", "wrong keys", "deep", "no utf-8"],
)
def test_a_broken_file_proposes_nothing(file: Path, text: str) -> None:
    file.parent.mkdir()
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert read_choices() == Choices()
    assert examples() == {}


def test_a_missing_file_a_pipe_and_a_huge_one_propose_nothing(file: Path) -> None:
    assert examples() == {}
    file.parent.mkdir()
    os.mkfifo(file)
    assert examples() == {}
    file.unlink()
    file.write_text(json.dumps({"topics": ["restock"]}) + " " * BYTES_LIMIT)
    assert examples() == {}


def test_no_more_is_proposed_than_a_list_can_show(file: Path) -> None:
    file.parent.mkdir()
    many = [f"k{number}" for number in range(500)]
    file.write_text(json.dumps({name: [*many, "x" * 201] for name in MOST}))
    assert {name: len(getattr(read_choices(), name)) for name in MOST} == MOST


def serialized(name: str) -> Any:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.serialization.serialized_objects import DagSerialization

    bag = DagBag(dag_folder=ROOT / "dags" / f"{name}.py")
    assert bag.import_errors == {}
    return DagSerialization.to_dict(bag.dags[name])


@pytest.mark.parametrize("name", ["otn_broadcast", "otn_retry", "otn_ask"])
def test_airflow_parses_the_same_dag_with_the_file_and_without(file: Path, name: str) -> None:
    plain = serialized(name)
    file.parent.mkdir()
    file.write_text(json.dumps(dict.fromkeys(MOST, HOSTILE)))
    proposing = serialized(name)
    assert proposing == serialized(name)  # no new version while the file stays as it is
    assert proposing != plain
    assert json.dumps(HOSTILE[0]) in json.dumps(proposing)  # as text; Airflow renders no templates in params
    file.write_text("broken")
    assert serialized(name) == plain


def test_without_a_home_nothing_is_written_into_the_project(database: Engine) -> None:
    assert choices_file({}) is None
    assert choices_file({"OTN_HOME": "/srv/otn"}) == Path("/srv/otn/choices/choices.json")
    assert not write_choices(database)
    assert examples() == {}
