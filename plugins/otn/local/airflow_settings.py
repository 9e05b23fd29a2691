"""Airflow 3.3.2 as this project runs it on one machine, said in environment variables."""

from __future__ import annotations

from collections.abc import Mapping

from otn.local.home import Home
from otn.local.ports import HOST
from otn.settings import ROOT

DAGS = ROOT / "dags"
PLUGINS = ROOT / "plugins"

# As `airflow pools import` reads them: pools have no environment variable. The senders' pool is smaller than the
# parallelism, so that they never starve the ingest.
POOLS: dict[str, dict[str, object]] = {
    "otn_send": {"slots": 4, "description": "Tasks that send messages", "include_deferred": False},
    "otn_housekeeping": {"slots": 2, "description": "Purge and reingest", "include_deferred": False},
}

# An operator may set these otherwise, in the environment or in .env.
TUNABLE = {
    "AIRFLOW__CORE__PARALLELISM": "8",
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    "AIRFLOW__CORE__HOSTNAME_CALLABLE": "socket.gethostname",  # the default asks DNS, which may take seconds
    "AIRFLOW__CORE__KILLED_TASK_CLEANUP_TIME": "20",
    "AIRFLOW__API__INSTANCE_NAME": "OTN",
    "AIRFLOW__API__WORKERS": "1",
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "15",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "30",
    "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
    # A killed sender is to be taken up within two minutes: 60 s until it is missed, 10 s until someone looks.
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "10",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "30",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "30",
    "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "15",  # two cores under load answer late
}


def airflow_settings(home: Home, *, api_port: int, database_url: str, users: Mapping[str, str]) -> dict[str, str]:
    """What is never left to the caller's environment, which may hold another Airflow's settings.

    Args:
        home: whose.
        api_port: of the API server, on the loopback interface.
        database_url: SQLAlchemy URL of Airflow's own database.
        users: role of each user by name.
    """
    url = f"http://{HOST}:{api_port}"
    return {
        "AIRFLOW_HOME": str(home.airflow),
        "AIRFLOW_CONFIG": str(home.airflow / "airflow.cfg"),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__HOST": HOST,
        "AIRFLOW__API__PORT": str(api_port),
        "AIRFLOW__CORE__AUTH_MANAGER": (
            "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"
        ),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PLUGINS),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home.password_file),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{role}" for name, role in users.items()),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database_url,
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home.airflow / "logs"),
        "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(home.airflow / "logs" / "dag_processor"),
        "AIRFLOW__LOGGING__FILE_TASK_HANDLER_NEW_FILE_PERMISSIONS": "0o600",
        "AIRFLOW__LOGGING__FILE_TASK_HANDLER_NEW_FOLDER_PERMISSIONS": "0o700",
        # The API server reads the logs from the disk; nobody serves them, and this port refuses at once.
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": "1",
    }
