"""The tasks of ``otn_purge``: our own tables, Airflow's tables, Airflow's logs."""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import conf, task
from airflow.sdk.exceptions import AirflowSkipException

from otn.errors import ConfigurationError, OtnError
from otn.orchestration.hook import read_connection
from otn.orchestration.ingesting import HOUSEKEEPING_POOL
from otn.settings import ConnectionMissingError, database_url

log = logging.getLogger(__name__)

# Runs that a machine makes, half a million a year. Those that a person triggered are the history of what was sent, and
# other people's DAGs are not ours to clean.
MACHINE_DAGS = ("otn_ingest", "otn_reingest", "otn_purge", "otn_ask", "otn_watch", "otn_deliver")
TABLES = ("dag_run", "log", "dag_version")  # a run takes its tasks, XComs and rendered fields with it
KEEP_VARIABLE = "OTN_KEEP_AIRFLOW_DAYS"
KEEP_DAYS = 30
BATCH_ROWS = 10_000
LIMIT = timedelta(hours=1)
# Airflow 3.3.2 looks for a dag_id in this table, which has none; its rows go with their runs all the same.
NOT_CLEANABLE = frozenset({"deadline"})
_UNCLEANED = re.compile(r"error when attempting to clean table '(\w+)'")
# The connection to Airflow's own database. Task processes are not given its address, and rightly so.
AIRFLOW_CONNECTION = "airflow_db"


class CleaningError(OtnError):
    """Airflow's own tables could not be cleaned. Look at the output above."""


@task(pool=HOUSEKEEPING_POOL, execution_timeout=LIMIT)
def purge() -> dict[str, Any]:
    """Let go of tokens, texts, raw webhooks, events, proofs and people past retention; make partitions ahead."""
    from otn.orchestration.hook import make_engine, read_keyring
    from otn.privacy.purge import purge as purge_tables
    from otn.privacy.retention import read_retention

    result = purge_tables(
        make_engine(owner=True),
        read_retention(),
        keyring=read_keyring(),
        progress=lambda what, count: log.info("%s: %s", what, count),
    )
    figures = {name: _plain(value) for name, value in asdict(result).items()}
    log.info("%s", figures)
    return figures


@task(pool=HOUSEKEEPING_POOL, execution_timeout=LIMIT + timedelta(minutes=10))
def clean_metadata() -> None:
    """Let Airflow delete old runs of the DAGs that run by themselves."""
    try:
        connection = read_connection(AIRFLOW_CONNECTION)
    except ConnectionMissingError:
        raise AirflowSkipException(
            f"The connection {AIRFLOW_CONNECTION!r} is not defined, so Airflow's own tables are not cleaned here. "
            "Define it, or clean them with `airflow db clean` elsewhere."
        ) from None
    _run_clean(database_url(connection), datetime.now(UTC) - timedelta(days=keep_days()))


def _run_clean(url: str, before: datetime) -> None:
    command = [
        sys.executable, "-m", "airflow", "db", "clean", "--yes", "--skip-archive",
        "--clean-before-timestamp", before.isoformat(timespec="seconds"),
        "--tables", ",".join(TABLES),
        "--dag-ids", ",".join(MACHINE_DAGS),
        "--batch-size", str(BATCH_ROWS),
    ]  # fmt: skip
    # The address goes by the environment, never by the arguments, which everybody on the machine can read.
    done = subprocess.run(  # noqa: S603 - our own interpreter, constant words
        command,
        env={**os.environ, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=LIMIT.total_seconds(),
        check=False,
    )
    for line in done.stdout.splitlines():
        log.info("%s", line)
    uncleaned = set(_UNCLEANED.findall(done.stdout)) - NOT_CLEANABLE
    if done.returncode or uncleaned:
        raise CleaningError


@task(pool=HOUSEKEEPING_POOL, execution_timeout=LIMIT)
def clean_logs() -> int:
    """Delete logs of old runs of the DAGs that run by themselves, and of the parsing of DAG files.

    Returns:
        Folders that went.
    """
    folder = Path(conf.get("logging", "base_log_folder"))
    gone = delete_old_logs(folder, keep_days())
    log.info("%s folders of logs deleted", gone)
    return gone


def delete_old_logs(folder: Path, days: int, now: float | None = None) -> int:
    """Delete folders of logs that nothing was written to for so long.

    Args:
        folder: Airflow's base log folder.
        days: for how long logs are kept.
        now: seconds since the epoch; the present by default.
    """
    before = (time.time() if now is None else now) - days * 86_400
    gone = 0
    for place in [*(folder / f"dag_id={dag_id}" for dag_id in MACHINE_DAGS), folder / "dag_processor"]:
        for found in place.iterdir() if place.is_dir() else ():
            # A link ("latest") is no folder of ours to empty.
            if found.is_dir() and not found.is_symlink() and found.stat().st_mtime < before:
                shutil.rmtree(found, ignore_errors=True)
                gone += 1
    return gone


def keep_days(environ: Mapping[str, str] | None = None) -> int:
    """Days for which Airflow's runs and logs are kept.

    Args:
        environ: the environment; the process's own by default.

    Raises:
        ConfigurationError: ``OTN_KEEP_AIRFLOW_DAYS`` is no number of days.
    """
    text = (os.environ if environ is None else environ).get(KEEP_VARIABLE, "").strip() or str(KEEP_DAYS)
    if not text.isdecimal() or not 1 <= int(text) <= 36_500:
        raise ConfigurationError(f"{KEEP_VARIABLE} is {text!r}. Give a number of days, 1 or more.")
    return int(text)


def _plain(value: Any) -> Any:
    """A value that JSON has."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, int) else str(value)
