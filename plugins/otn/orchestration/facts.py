"""What Airflow knows of itself, for `./otn doctor`: a program of its own that changes nothing.

It prints a JSON object a line, as soon as it knows one: what a database that hangs keeps from being told does not take
the rest along. Connections are told with their secrets, to the pipe of whoever started it; never run it on a terminal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from typing import Any

# Whatever else speaks on standard output is no answer. Likewise in otn.cli.examination.facts, which imports no Airflow.
MARK = "otn-facts "

SETTINGS = (
    ("core", "executor"),
    ("core", "parallelism"),
    ("core", "dags_folder"),
    ("core", "plugins_folder"),
    ("core", "auth_manager"),
    ("core", "simple_auth_manager_all_admins"),
    ("core", "dag_run_conf_overrides_params"),
    ("core", "execution_api_server_url"),
    ("api", "base_url"),
    ("scheduler", "task_instance_heartbeat_sec"),
    ("scheduler", "task_instance_heartbeat_timeout"),
    ("scheduler", "task_instance_heartbeat_timeout_detection_interval"),
    ("scheduler", "scheduler_health_check_threshold"),
)
SECRETS = (
    ("core", "fernet_key"),
    ("api_auth", "jwt_secret"),
    ("api_auth", "jwt_private_key_path"),
    ("api", "secret_key"),
)


def settings() -> dict[str, Any]:
    """Settings by ``section.key``; of secrets only where they come from, or an empty text."""
    from airflow import __version__
    from airflow.configuration import conf

    sources = conf.as_dict(display_source=True)
    told: dict[str, Any] = {f"{section}.{key}": conf.get(section, key, fallback=None) for section, key in SETTINGS}
    for section, key in SECRETS:
        source = sources.get(section, {}).get(key)
        told[f"{section}.{key}"] = source[1] if source and conf.get(section, key, fallback="") else ""
    url = conf.get("database", "sql_alchemy_conn", fallback="")
    return told | {"version": __version__, "database": url.partition(":")[0]}


def connections(asked: Iterable[str]) -> dict[str, str]:
    """Connections as JSON, by id; those that are not defined are left out."""
    told: dict[str, str] = {}
    for connection_id in asked:
        _connection(connection_id, told)
    return told


def pages() -> dict[str, str]:
    """Likewise those of registered pages."""
    from otn.errors import OtnError

    try:
        return connections(_registered_pages())
    except OtnError:  # no database, or not ours yet: somebody else tells that
        return {}


def _connection(connection_id: str, told: dict[str, str]) -> None:
    from airflow.models.connection import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        # Of the core, not of the SDK: outside of a task that one does not ask Airflow's database.
        told[connection_id] = Connection.get_connection_from_secrets(connection_id).as_json()
    except AirflowNotFoundException:
        pass
    except Exception:  # noqa: BLE001, S110 - a damaged one is told as missing; its text holds secrets
        pass


def _registered_pages() -> list[str]:
    from otn.consent import pages as registered
    from otn.database import make_engine, transaction
    from otn.settings import DATABASE_CONNECTION, database_url, read_connection

    told = connections([DATABASE_CONNECTION])
    environment = {f"AIRFLOW_CONN_{name.upper()}": text for name, text in told.items()}
    engine = make_engine(database_url(read_connection(DATABASE_CONNECTION, environment)), application_name="otn doctor")
    try:
        with transaction(engine) as connection:
            return [page.connection_id for page in registered.listing(connection)]
    finally:
        engine.dispose()


def metadata() -> dict[str, Any]:
    """What stands in Airflow's own database: pools, our DAGs and their last runs, import errors, who is at work."""
    from airflow._shared.timezones.timezone import utcnow
    from airflow.jobs.job import Job
    from airflow.models import DagModel, DagRun, Pool
    from airflow.models.errors import ParseImportError
    from airflow.utils.session import create_session
    from sqlalchemy import func, select

    ours = DagModel.dag_id.startswith("otn_", autoescape=True)
    ended = ("success", "failed")
    with create_session() as session:
        dags = session.execute(
            select(DagModel.dag_id, DagModel.is_paused, DagModel.is_stale, DagModel.timetable_summary).where(ours)
        )
        latest = (
            select(DagRun.dag_id, func.max(DagRun.id).label("id"))
            .where(DagRun.dag_id.startswith("otn_", autoescape=True), DagRun.state.in_(ended))
            .group_by(DagRun.dag_id)
            .subquery()
        )
        runs = session.execute(select(DagRun.dag_id, DagRun.state).join(latest, DagRun.id == latest.c.id))
        errors = session.scalars(select(ParseImportError.filename))
        beats = session.execute(
            select(Job.job_type, func.max(Job.latest_heartbeat)).where(Job.state == "running").group_by(Job.job_type)
        )
        now = utcnow()
        return {
            "pools": {pool.pool: pool.slots for pool in session.scalars(select(Pool))},
            "dags": {
                row.dag_id: {
                    "paused": bool(row.is_paused),
                    "stale": bool(row.is_stale),
                    "schedule": row.timetable_summary,
                }
                for row in dags
            },
            "runs": {row.dag_id: str(row.state) for row in runs},
            "import_errors": [str(name) for name in errors],
            "beats": {name: (now - at).total_seconds() for name, at in beats if at is not None},
        }


def main() -> None:
    """Standard input: ``{"connections": [ids]}``."""
    if sys.stdout.isatty():
        sys.exit("This prints secrets, for `./otn doctor` alone.")
    asked = json.load(sys.stdin)
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "settings": settings,
        "connections": lambda: connections(asked["connections"]),
        "metadata": metadata,
        "pages": pages,  # the last: it asks another database, which may hang
    }
    for name, part in parts.items():
        try:
            told = {name: part()}
        except Exception as error:  # noqa: BLE001 - the name is told; the text of a driver holds addresses and names
            told = {name: {"error": type(error).__name__}}
        print(MARK + json.dumps(told), flush=True)  # noqa: T201 - that is how it answers


if __name__ == "__main__":
    main()
