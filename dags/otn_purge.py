"""Let go of what has served its purpose: expired tokens, raw webhooks, Airflow's own old runs and logs."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk import DAG

from otn.orchestration.defaults import DEFAULT_ARGS
from otn.orchestration.housekeeping import clean_logs, clean_metadata, purge

with DAG(
    dag_id="otn_purge",
    schedule="30 2 * * *",
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    tags=["otn", "housekeeping"],
    description="Purge what is past its retention",
    doc_md=str(Path(__file__).with_suffix(".md")),
):
    purge()
    clean_metadata()
    clean_logs()
