from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from benchmarks import imports


def test_what_a_dag_file_and_a_task_add_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    found = imports.run(rounds=1, dags="otn_ingest")
    assert [one["name"] for one in found["files"]] == ["otn_ingest"]
    assert [one["name"] for one in found["tasks"]] == ["ingest"]
    assert found["tasks"][0]["median_s"] > found["files"][0]["median_s"] > 0
    assert list(tmp_path.iterdir()) == []
