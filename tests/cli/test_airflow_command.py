"""``./otn airflow``: Airflow's own command line, in the environment of a home."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from otn.local.home import Home
from otn.settings import ROOT


def airflow(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "otn", "airflow", "--home", str(home), *words],
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT}"},
    )


def test_it_sees_the_settings_of_the_home_and_passes_its_options_on(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "home")
    home.create()
    home.save_state(ports={"postgres": 1, "api": 28_123, "receiver": 2})

    done = airflow(home.path, "config", "get-value", "api", "base_url")
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["http://127.0.0.1:28123"]), done.stderr
    assert "--reprocess-behavior" in airflow(home.path, "backfill", "create", "--help").stdout


def test_a_home_that_was_never_started_is_said_to_be_none(tmp_path: Path) -> None:
    done = airflow(tmp_path / "nothing", "dags", "list")

    assert done.returncode == 1
    assert f"There is no system at {tmp_path / 'nothing'}. Start it with ./otn up" in done.stderr
