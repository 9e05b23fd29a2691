"""Whether what was started does its work: asked over HTTP, on the loopback interface, never by a proxy."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

from otn.local.ports import HOST

AIRFLOW_HEALTH = "/api/v2/monitor/health"
RECEIVER_HEALTH = "/healthz"
AIRFLOW_PARTS = ("scheduler", "dag_processor")

_ANSWER_S = 10


def get(port: int, path: str) -> tuple[int, bytes] | None:
    """Status and body of a GET on the loopback interface; None where nobody answers."""
    try:
        with closing(http.client.HTTPConnection(HOST, port, timeout=_ANSWER_S)) as connection:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
    except (OSError, http.client.HTTPException):
        return None


def answers(port: int, path: str) -> bool:
    """Whether a GET is answered with 200."""
    answer = get(port, path)
    return answer is not None and answer[0] == http.client.OK


def missing_airflow_parts(port: int, since: Mapping[str, float] | None = None) -> list[str]:
    """Airflow's parts that are not at work, by name; empty when all are.

    Args:
        port: of the API server.
        since: seconds since the epoch by part: a heartbeat from before is an earlier life's and does not count.
    """
    answer = get(port, AIRFLOW_HEALTH)
    try:
        report: dict[str, Any] = json.loads(answer[1]) if answer and answer[0] == http.client.OK else {}
    except ValueError:
        report = {}
    if not isinstance(report.get("metadatabase"), dict):
        return ["api-server", *AIRFLOW_PARTS]
    return [part for part in AIRFLOW_PARTS if not _at_work(report.get(part), part, (since or {}).get(part, 0))]


def _at_work(said: object, part: str, since: float) -> bool:
    if not isinstance(said, dict) or said.get("status") != "healthy":
        return False
    try:
        beat = datetime.fromisoformat(str(said.get(f"latest_{part}_heartbeat")))
    except ValueError:
        return False
    return (beat if beat.tzinfo else beat.replace(tzinfo=UTC)).timestamp() >= since
