from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks import deliveries, ingest, purge
from otn.cli import bench


@pytest.mark.parametrize(
    ("measured", "rows"), [(purge, 50), (deliveries, 100), (ingest, 50)], ids=["purge", "deliveries", "ingest"]
)
def test_ours_and_the_limit_do_the_same_and_leave_nothing_behind(
    measured: Any,
    rows: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = {one.pid for one in psutil.Process().children(recursive=True)}
    found = measured.run(None, 1, 50)
    assert {one.pid for one in psutil.Process().children(recursive=True)} <= before
    assert list(tmp_path.iterdir()) == []
    assert [(one["name"], one["rows"]) for one in found["sides"]][:2] == [("ours", rows), ("limit", rows)]
    assert found["to_limit_least"] <= found["to_limit"] <= found["to_limit_most"]
    bench.SHOWN[measured.__name__.rpartition(".")[2]](found)
    assert str(found["to_limit"]) in capsys.readouterr().out


def test_a_side_that_left_something_undone_is_no_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purge, "purge", lambda _: None)
    with pytest.raises(RuntimeError, match="50 tokens were not wiped"):
        purge.run(None, 1, 50)
