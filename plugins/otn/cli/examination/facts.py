"""Asks Airflow, in a process of its own: `otn.orchestration.facts`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from otn.local.supervision import python_path
from otn.settings import DATABASE_CONNECTION, RECEIVER_CONNECTION, SENDER_CONNECTION

MARK = "otn-facts "  # likewise in otn.orchestration.facts, which may import Airflow, so that nothing here may import it
CONNECTIONS = (DATABASE_CONNECTION, SENDER_CONNECTION, RECEIVER_CONNECTION)
LIMIT_S = 30
HARMLESS = "AIRFLOW__LOGGING__BASE_LOG_FOLDER"


@dataclass(frozen=True)
class Facts:
    """What Airflow told. What it could not tell in time is None.

    Args:
        settings: by ``section.key``, as text; of secrets where they come from.
        connections: as JSON, by id; with secrets.
        metadata: pools, DAGs, runs, import errors and heartbeats.
        failure: why something is missing; empty when nothing is.
    """

    settings: dict[str, Any] | None = None
    connections: dict[str, str] = field(default_factory=dict, repr=False)
    metadata: dict[str, Any] | None = None
    failure: str = ""


def is_known(environment: Mapping[str, str]) -> bool:
    """Whether the environment speaks of an Airflow."""
    return bool(environment.get("AIRFLOW_HOME")) or any(name.startswith("AIRFLOW__") for name in environment)


def ask(environment: Mapping[str, str], *, limit_s: float = LIMIT_S) -> Facts:
    """Ask Airflow; it changes nothing.

    Args:
        environment: in which Airflow would run.
        limit_s: seconds; what it told until then counts.
    """
    # Reading its settings makes its folder of logs: another place, where nobody minds.
    with tempfile.TemporaryDirectory(prefix="otn-doctor-") as folder:
        process = subprocess.Popen(
            [sys.executable, "-m", "otn.orchestration.facts"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**environment, HARMLESS: folder, "PYTHONPATH": _paths(environment), "PYTHONWARNINGS": "ignore"},
            text=True,
        )
        try:
            said, _ = process.communicate(json.dumps({"connections": CONNECTIONS}), timeout=limit_s)
            failure = "" if process.returncode == 0 else f"it ended with {process.returncode}"
        except subprocess.TimeoutExpired:
            process.kill()
            said, _ = process.communicate()
            failure = f"it took longer than {limit_s:.0f} s"
    return _read(said, failure)


def _paths(environment: Mapping[str, str]) -> str:
    given = environment.get("PYTHONPATH", "")
    return os.pathsep.join([python_path(), *([given] if given else [])])


def _read(said: str, failure: str) -> Facts:
    told: dict[str, Any] = {}
    for line in said.splitlines():
        if line.startswith(MARK):
            with suppress(ValueError):  # the last one may have been cut off
                told |= json.loads(line.removeprefix(MARK))
    errors = {part: found["error"] for part, found in told.items() if set(found) == {"error"}}
    good = {part: found for part, found in told.items() if part not in errors}
    reasons = [f"{part}: {error}" for part, error in errors.items()]
    return Facts(
        settings=good.get("settings"),
        connections=good.get("connections", {}) | good.get("pages", {}),
        metadata=good.get("metadata"),
        failure="; ".join([*([failure] if failure else []), *reasons]),
    )
