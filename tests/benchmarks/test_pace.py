from __future__ import annotations

import tempfile
from pathlib import Path

import psutil
import pytest

from benchmarks import pace


def test_it_asks_the_platform_what_it_saw_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(pace, "WARM_S", 0.5)
    before = {one.pid for one in psutil.Process().children(recursive=True)}
    found = pace.run(rates=(50.0,), seconds=1.0, senders=2)
    assert {one.pid for one in psutil.Process().children(recursive=True)} <= before
    assert list(tmp_path.iterdir()) == []
    (one,) = found["rates"]
    assert (one["rate"], one["people"], one["bound_in_1s"]) == (50.0, 175, 55.0)
    assert one["used"] > 0
    assert one["within"] is (one["most_in_1s"] <= 55.0)
