"""Campaign files as an operator drops them, and what they have brought: by Airflow, our tables, and the ledger."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from otn.campaign.report import report
from tests.system.machinery import System, eventually
from tests.system.scenes import Scene

DAY = timedelta(days=1)
ENDED = {"success", "failed"}


def drop(system: System, scene: Scene, **values: Any) -> Path:
    """Put the scene's file into the home's folder, whole or not at all."""
    content = {
        "page": scene.connection,
        "topic": scene.name,
        "text": f"{scene.mark}It is back.",
        "approval": False,
        "audience": {"opted_in": "interval"},
    }
    path = folder(system) / f"{scene.name}.yaml"
    hidden = path.with_name(f".{path.name}")
    hidden.write_text(yaml.safe_dump(content | values), encoding="utf-8")
    return hidden.rename(path)


def folder(system: System) -> Path:
    return Path(system.home.settings()["OTN_CAMPAIGNS_DIR"])


def dag_id(scene: Scene) -> str:
    return f"otn_campaign_{scene.name}"


def key_of(scene: Scene, start: datetime) -> str:
    return f"{scene.name}/{start:%Y-%m-%dT%H:%M:%SZ}"


def opt_in(system: System, scene: Scene, people: list[str], at: datetime) -> None:
    """Let people tap Notify Me, at a moment that may be past."""
    age_s = (datetime.now(UTC) - at).total_seconds()
    system.sandbox.optins(scene.page_id, scene.name, psids=people, age_s=max(0, age_s))


def runs(system: System, scene: Scene, kind: str) -> dict[str, str]:
    """State of each run of a kind, by the day or minute that its interval begins."""
    query = {"run_type": kind, "order_by": "logical_date", "limit": 100}
    found = system.call("GET", f"dags/{dag_id(scene)}/dagRuns", params=query)["dag_runs"]
    return {str(one["logical_date"]): str(one["state"]) for one in found}


def states(system: System, scene: Scene) -> dict[str, str]:
    """State of each campaign of the file, by its key."""
    found = system.rows(
        "SELECT c.key, c.state::text FROM otn.campaign c JOIN otn.page p ON p.id = c.page_id"
        " WHERE p.connection_id = %s ORDER BY c.key",
        scene.connection,
    )
    return {row.key: row.state for row in found}


def told(system: System, scene: Scene) -> Counter[str]:
    """How often each person of the page saw anything: by the platform's ledger alone."""
    return Counter(row["psid"] for row in system.sandbox.ledger(scene.page_id))


def figures(system: System, scene: Scene) -> dict[str, dict[str, Any]]:
    """Report of each campaign of the file."""
    found = system.rows(
        "SELECT c.id, c.key FROM otn.campaign c JOIN otn.page p ON p.id = c.page_id WHERE p.connection_id = %s",
        scene.connection,
    )
    return {row.key: report(system.engine, row.id) for row in found}


def audit(system: System, scene: Scene, action: str) -> list[dict[str, Any]]:
    """What was written about the file."""
    return [
        dict(row.detail)
        for row in system.rows(
            "SELECT detail FROM otn.audit WHERE action = %s AND detail ->> 'file' = %s ORDER BY at, id",
            action,
            f"{scene.name}.yaml",
        )
    ]


def all_ended(system: System, scene: Scene, kind: str, count: int) -> dict[str, str]:
    """Wait until so many runs of a kind are over; answers their states."""

    def over() -> dict[str, str] | None:
        found = runs(system, scene, kind)
        return found if len(found) >= count and set(found.values()) <= ENDED else None

    return eventually(over, f"{count} {kind} runs of {dag_id(scene)}")
