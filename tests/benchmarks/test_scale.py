from __future__ import annotations

import tempfile
from pathlib import Path

import psutil
import pytest

from benchmarks import scale
from otn.cli import bench


def test_a_large_campaign_gives_its_figures_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = {one.pid for one in psutil.Process().children(recursive=True)}
    found = scale.run(small=60, large=300, rounds=1)
    assert {one.pid for one in psutil.Process().children(recursive=True)} <= before
    assert list(tmp_path.iterdir()) == []
    assert (found["small"], found["large"], found["rounds"]) == (60, 300, 2)
    assert 0 < found["small_least_us"] <= found["small_us"] <= found["small_most_us"]
    assert found["cost_ratio"] == pytest.approx(found["large_us"] / found["small_us"], abs=0.01)
    assert found["large_more_mb"] > 0
    assert found["resumed_s"] > 0
    bench.SHOWN["scale"](found)
    assert str(found["cost_ratio"]) in capsys.readouterr().out
