"""What our DAG files and tasks add to a process of Airflow that parses an empty DAG and does nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from otn.local.progress import Progress, Silence
from otn.local.supervision import python_path
from otn.settings import ROOT

ROUNDS = 5
PARSE_S = 0.3  # of a DAG file, at most
TASK_S = 0.5  # of imports of a task, beyond an empty one
EMPTY = """
from airflow.sdk import DAG, task

with DAG(dag_id="empty", schedule=None):

    @task
    def nothing():
        pass

    nothing()
"""
# What a task's body imports, as its DAG file does not.
TASKS = {
    "send": ("otn_broadcast", ["otn.campaign.send", "otn.campaign.reconcile", "otn.orchestration.bench"]),
    "plan": ("otn_broadcast", ["otn.campaign.plan", "otn.campaign.report", "otn.orchestration.bench"]),
    "ingest": (
        "otn_ingest",
        ["otn.intake.ingest", "otn.campaign.evidence", "otn.privacy.silences", "otn.orchestration.hook"],
    ),
}
# Airflow's own part first, so that none of it is counted as ours; in CPU seconds, which neighbours do not lengthen.
CHILD = """
import json, sys, time
from pathlib import Path
import airflow.sdk.execution_time.task_runner
from airflow.dag_processing.dagbag import BundleDagBag
path, modules = Path(sys.argv[1]), sys.argv[2:]
started = time.process_time()
bag = BundleDagBag(dag_folder=path, bundle_path=path.parent, bundle_name="dags")
parsed = time.process_time()
for name in modules:
    __import__(name)
ended = time.process_time()
assert not bag.import_errors, bag.import_errors
print(json.dumps([parsed - started, ended - parsed]))
"""


def run(progress: Progress | None = None, rounds: int = ROUNDS, dags: str = "*") -> dict[str, Any]:
    """Measure DAG files and three kinds of tasks, each in a process of its own, in turns.

    Args:
        progress: told what happens.
        rounds: how often each.
        dags: pattern of the files' names; tasks of others are left out.
    """
    progress = progress or Silence()
    with tempfile.TemporaryDirectory(prefix="otn-bench-") as folder:
        empty = Path(folder) / "empty.py"
        empty.write_text(EMPTY, encoding="utf-8")
        files = {"empty": empty} | {one.stem: one for one in sorted((ROOT / "dags").glob(f"{dags}.py"))}
        parsing: dict[str, list[float]] = {name: [] for name in files}
        tasks: dict[str, list[float]] = {name: [] for name, (dag, _) in TASKS.items() if dag in files}
        for number in range(rounds):
            progress.stage(f"round {number + 1} of {rounds}")
            for name, path in files.items():
                parsing[name].append(_child(Path(folder), path)[0])
            for name, seconds in tasks.items():
                dag, modules = TASKS[name]
                seconds.append(sum(_child(Path(folder), files[dag], modules)))
    nothing = median(parsing.pop("empty"))
    return {
        "rounds": rounds,
        "empty_s": round(nothing, 3),
        "files": [_figures(name, seconds, PARSE_S) for name, seconds in parsing.items()],
        "tasks": [_figures(name, [one - nothing for one in seconds], TASK_S) for name, seconds in tasks.items()],
    }


def _figures(name: str, seconds: list[float], most: float) -> dict[str, Any]:
    return {"name": name, "median_s": round(median(seconds), 3), "most_s": round(max(seconds), 3), "target_s": most}


def _child(folder: Path, path: Path, modules: list[str] | None = None) -> list[float]:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": python_path(),
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.db",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(folder / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }
    words = [sys.executable, "-c", CHILD, str(path), *(modules or [])]
    done = subprocess.run(words, env=environment, check=True, capture_output=True, text=True)  # noqa: S603 - our own words
    return [float(one) for one in json.loads(done.stdout.splitlines()[-1])]
