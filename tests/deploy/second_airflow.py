"""Looks at an Airflow from inside, in a process of its own: plugins, DAGs, and runs of them. Prints JSON."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Any


def main() -> None:
    """Standard input: ``{"dags": folder, "run": {dag_id: conf}}``."""
    asked = json.load(sys.stdin)
    from airflow import plugins_manager
    from airflow.dag_processing.dagbag import DagBag
    from airflow.models.pool import Pool

    plugins, errors = plugins_manager._get_plugins()
    bag = DagBag(dag_folder=asked["dags"])
    states = {}
    for dag_id, conf in asked["run"].items():
        run = bag.dags[dag_id].test(run_conf=conf, logical_date=datetime.now(UTC))
        states[dag_id] = str(run.state.value)
    print(
        json.dumps(
            {
                "plugins": sorted(str(one.name) for one in plugins if str(one.source).startswith("$PLUGINS_FOLDER")),
                "plugin_errors": errors,
                "dags": {dag_id: sorted(dag.tags) for dag_id, dag in bag.dags.items()},
                "dag_errors": bag.import_errors,
                "states": states,
                "pools": {name: pool["total"] for name, pool in Pool.slots_stats().items()},
                "shadowed": _shadowed(),
            }
        )
    )


def _shadowed() -> list[str]:
    """Modules that were loaded from our folder under a name that is not ours."""
    found: list[str] = []
    for name, module in list(sys.modules.items()):
        file: Any = getattr(module, "__file__", None)
        if file and "/plugins/otn/" in str(file) and not name.startswith("otn"):
            found.append(name)
    return [name for name in found if name != "airflow_plugin"]


if __name__ == "__main__":
    main()
