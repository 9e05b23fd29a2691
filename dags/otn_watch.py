"""Look at everything that must be right, each quarter of an hour, and tell people what changed."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk import DAG

from otn.orchestration.defaults import DEFAULT_ARGS
from otn.orchestration.metrics import count, is_on
from otn.orchestration.watching import deletions, look, tell

with DAG(
    dag_id="otn_watch",
    schedule="*/15 * * * *",
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    tags=["otn", "housekeeping"],
    description="Watch pages and installation",
    doc_md=str(Path(__file__).with_suffix(".md")),
):
    deletions()
    look() >> tell()
    if is_on():
        count()
