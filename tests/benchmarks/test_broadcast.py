from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import psutil
import pytest

from benchmarks import broadcast
from otn.cli import bench


def test_each_side_gives_its_figures_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = {one.pid for one in psutil.Process().children(recursive=True)}
    found = broadcast.run(rounds=1, people=200)
    assert {one.pid for one in psutil.Process().children(recursive=True)} <= before
    assert list(tmp_path.iterdir()) == []
    sides = {side["name"]: side for side in found["sides"]}
    assert set(sides) | set(found["absent"]) == {"limit", "ours", "loop", "celery", "procrastinate"}
    assert set(found["absent"]) == (set() if shutil.which("redis-server") else {"celery"})
    assert sides["ours"]["people"] == sides["limit"]["people"] == 200
    assert sides["loop"]["people"] == 20
    assert all(0 < side["least_per_s"] <= side["per_s"] <= side["most_per_s"] for side in sides.values())
    assert all(set(sides[name]["cpu_us"]) == {"sender", "postgres", "platform"} for name in ("ours", "limit"))
    assert sides["ours"]["cpu_us"]["postgres"] > sides["limit"]["cpu_us"]["postgres"]
    assert found["to_limit_least"] <= found["to_limit"] <= found["to_limit_most"]
    assert sides[found["best_peer"]]["per_s"] == max(sides[name]["per_s"] for name in set(sides) - {"ours", "limit"})
    bench.SHOWN["broadcast"](found)
    assert str(found["to_limit"]) in capsys.readouterr().out
