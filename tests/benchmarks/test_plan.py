from __future__ import annotations

import tempfile
from pathlib import Path

import psutil
import pytest

from benchmarks import plan
from otn.cli import bench


def test_a_plan_gives_its_figures_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = {one.pid for one in psutil.Process().children(recursive=True)}
    found = plan.run(rounds=1, people=10_000)
    assert {one.pid for one in psutil.Process().children(recursive=True)} <= before
    assert list(tmp_path.iterdir()) == []
    assert found["planned"] + found["excluded"] == found["people"] == 10_000
    assert found["planned"] > found["excluded"] > 0
    sides = {side["name"]: side for side in found["sides"]}
    assert {name: side["people"] for name, side in sides.items()} == {"plan": 10_000, "bare insert": 10_000, "ORM": 50}
    assert all(0 < side["least_s"] <= side["s"] <= side["most_s"] for side in sides.values())
    assert 0 < found["to_limit_least"] <= found["to_limit"] <= found["to_limit_most"]
    assert found["small"] == 100
    assert found["cost_ratio"] == pytest.approx(found["large_us"] / found["small_us"], abs=0.01)
    assert found["large_more_mb"] > 0
    bench.SHOWN["plan"](found)
    assert str(found["to_limit"]) in capsys.readouterr().out
