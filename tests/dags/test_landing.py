"""Landing through the task of otn_ingest and Airflow's ObjectStoragePath: a folder, and a store of objects."""

from __future__ import annotations

import gzip
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from otn.errors import ConfigurationError
from otn.intake.landing import Found, ListingError
from otn.intake.landing_place import LandingPlace
from otn.orchestration.landing import ObjectStore
from tests.campaign.stage import Stage
from tests.consent.inbox import Inbox, body, optin
from tests.dags.airflow_runs import Airflow

NOW = datetime.now(UTC)


def optins(*tokens: str) -> bytes:
    line = {"psid": "7001", "payload": "restock", "opted_in_at": NOW.isoformat(), "source": "gateway"}
    return b"".join(json.dumps(line | {"token": token}).encode() + b"\n" for token in tokens)


def files(stage: Stage) -> dict[str, tuple[Any, ...]]:
    rows = Inbox(stage.engine, stage.keyring).rows("SELECT name, state, error, lines, imported FROM otn.landing_file")
    return {row.name: tuple(row)[1:] for row in rows}


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> MemoryFileSystem:
    """A store of objects that Airflow's connection ``vendor`` leads to."""
    from airflow.sdk.io import attach, store

    class Bucket(MemoryFileSystem):
        store: dict[str, Any] = {}  # noqa: RUF012 - of this test alone
        pseudo_dirs = [""]  # noqa: RUF012 - likewise
        cachable = False

    found = Bucket()
    monkeypatch.setattr(store, "_STORE_CACHE", {})
    monkeypatch.setenv("AIRFLOW_CONN_VENDOR", json.dumps({"conn_type": "aws"}))
    attach("s3", conn_id="vendor", fs=found)
    return found


def test_a_folder_is_taken_in_by_the_real_task_and_a_bad_file_harms_nothing(
    airflow: Airflow, stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing = tmp_path / "landing"
    (landing / "messenger_default").mkdir(parents=True)
    (landing / "messenger_default" / "a.jsonl").write_bytes(optins("token-1", "token-2"))
    (landing / "messenger_default" / "b.jsonl.gz").write_bytes(gzip.compress(optins("token-2", "token-3"))[:-5])
    raw = body(optin("token-4", "restock", page=stage.settings.page_id), page=stage.settings.page_id)
    (landing / "c.ndjson").write_bytes(raw)
    monkeypatch.setenv("OTN_LANDING_URL", str(landing))
    box = Inbox(stage.engine, stage.keyring)
    box.put(body(optin("token-5", "restock", page=stage.settings.page_id), page=stage.settings.page_id))
    run = airflow.run("otn_ingest")
    assert (run.state, set(run.tasks)) == ("success", {"ingest", "land"}), run
    pulled = run.xcom("land")
    assert (pulled["met"], pulled["taken"], pulled["failed"], pulled["webhooks"]) == (3, 2, 1, 1)
    again = airflow.run("otn_ingest")
    assert (again.xcom("land")["met"], again.xcom("land")["lines"]) == (0, 0)
    assert box.tokens() >= {"token-1", "token-2", "token-4", "token-5"}
    assert files(stage)["messenger_default/b.jsonl.gz"][:2] == ("waiting", "truncated")
    assert (landing / "c.ndjson").read_bytes() == raw  # nothing is moved, nothing is written


def test_objects_are_taken_in_through_their_connection(
    airflow: Airflow, stage: Stage, bucket: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.pipe_file("/vendor/optins/messenger_default/2026/10/a.jsonl", optins("token-1"))
    bucket.pipe_file("/vendor/optins/messenger_default/_tmp/b.jsonl", optins("token-2"))
    bucket.pipe_file("/vendor/optins/readme.txt", b"not ours")
    bucket.pipe_file("/vendor/other/c.jsonl", optins("token-3"))
    monkeypatch.setenv("OTN_LANDING_URL", "s3://vendor/optins/")
    monkeypatch.setenv("OTN_LANDING_CONN", "vendor")
    run = airflow.run("otn_ingest")
    assert run.state == "success", run
    assert files(stage) == {"messenger_default/2026/10/a.jsonl": ("taken", None, 1, 1)}
    bucket.pipe_file("/vendor/optins/messenger_default/2026/10/a.jsonl", optins("token-1", "token-4"))
    assert airflow.run("otn_ingest").xcom("land")["imported"] == 1
    assert Inbox(stage.engine, stage.keyring).tokens() == {"token-1", "token-4"}
    # A bucket that is empty is no error, one that is not there is.
    place = LandingPlace("s3://vendor/nothing", "vendor")
    assert list(ObjectStore(place).listing()) == []
    with pytest.raises(ListingError, match="not_found"):
        list(ObjectStore(LandingPlace("s3://another/optins", "vendor")).listing())


def test_an_address_that_may_not_be_read_turns_only_its_own_task_red(
    airflow: Airflow, stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    box = Inbox(stage.engine, stage.keyring)
    box.put(body(optin("token-1", "restock", page=stage.settings.page_id), page=stage.settings.page_id))
    monkeypatch.setenv("OTN_LANDING_URL", "http://169.254.169.254/latest")
    run = airflow.run("otn_ingest")
    assert (run.state, run.tasks) == ("failed", {"ingest": "success", "land": "failed"})
    assert "nothing is read from there" in capsys.readouterr().out
    assert box.tokens() == {"token-1"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A landing with a good file, and everything that somebody could try."""
    secret, landing = tmp_path / "secret", tmp_path / "landing"
    secret.mkdir()
    (secret / "a.jsonl").write_bytes(optins("secret"))
    (landing / "page" / "deep").mkdir(parents=True)
    (landing / "page" / "deep" / "good ü#?%2e.jsonl").write_bytes(optins("good"))
    (landing / "page" / "link.jsonl").symlink_to(secret / "a.jsonl")
    (landing / "way out").symlink_to(secret)
    (landing / "circle").symlink_to(landing)
    (landing / "nowhere.jsonl").symlink_to(landing / "missing")
    (landing / "folder.jsonl").mkdir()
    os.mkfifo(landing / "pipe.jsonl")
    (landing / "new\nline.jsonl").write_bytes(b"")
    (landing / os.fsdecode(b"latin \xfc.jsonl")).write_bytes(b"")
    (landing / "back\\slash.jsonl").write_bytes(b"")
    (landing / ".hidden.jsonl").write_bytes(b"")
    return landing


def listed(store: ObjectStore) -> dict[str, Found]:
    return {one.name: one for batch in store.listing() for one in batch}


def test_nothing_leads_out_of_a_folder_or_makes_the_reader_wait(folder: Path) -> None:
    store = ObjectStore(LandingPlace(f"file://{folder}"))
    found = listed(store)
    assert {name: one.error for name, one in found.items()} == {
        "page/deep/good ü#?%2e.jsonl": None,
        "page/link.jsonl": "is_a_link",
        "way out": "is_a_link",
        "circle": "is_a_link",
        "nowhere.jsonl": "is_a_link",
        "pipe.jsonl": "no_regular_file",
        "new\\u000aline.jsonl": "name_unusable",
        "latin \\udcfc.jsonl": "name_unusable",
        "back\\u005cslash.jsonl": "name_climbs",
    }
    with store.open("page/deep/good ü#?%2e.jsonl") as file:
        assert file.read() == optins("good")
    hostile = [
        *(name for name, one in found.items() if one.error),
        "../secret/a.jsonl",
        "way out/a.jsonl",
        "/etc/passwd",
    ]
    for name in hostile:  # by a person's word, or because it was changed after it was listed
        with pytest.raises(OSError), store.open(name):  # noqa: PT011 - each in its own way
            pytest.fail(name)


def test_objects_with_names_that_climb_are_refused(bucket: MemoryFileSystem) -> None:
    for name in ("a/../b.jsonl", "a/./c.jsonl", f"{'x' * 1100}.jsonl", "a/tab\t.jsonl", "good.jsonl"):
        bucket.store[f"/vendor/optins/{name}"] = bucket.store.get("x") or _memory_file(bucket)
    found = listed(ObjectStore(LandingPlace("s3://vendor/optins", "vendor")))
    errors = sorted((one.error or "", len(one.name) <= 1024) for one in found.values())
    assert errors == [
        ("", True),
        ("name_climbs", True),
        ("name_climbs", True),
        ("name_too_long", True),
        ("name_unusable", True),
    ]
    assert found["good.jsonl"].size == 1


def _memory_file(bucket: MemoryFileSystem) -> Any:
    bucket.pipe_file("/elsewhere", b"x")
    return bucket.store["/elsewhere"]


def test_a_folder_without_rights_is_told_and_the_others_are_listed(bucket: MemoryFileSystem) -> None:
    bucket.pipe_file("/vendor/optins/a/1.jsonl", b"")
    bucket.pipe_file("/vendor/optins/b/2.jsonl", b"")
    real = bucket.ls

    def ls(path: str, **options: Any) -> Any:
        if path.endswith("/a"):
            raise PermissionError
        return real(path, **options)

    bucket.ls = ls
    listing = ObjectStore(LandingPlace("s3://vendor/optins", "vendor")).listing()
    assert [one.name for one in next(listing)] == ["b/2.jsonl"]
    with pytest.raises(ListingError, match="no_rights"):
        next(listing)


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="'nobody' is not defined"):
        ObjectStore(LandingPlace("s3://vendor/optins", "nobody"))
    with pytest.raises(ConfigurationError, match="Install the Airflow provider"):
        ObjectStore(LandingPlace("gs://vendor/optins"))
