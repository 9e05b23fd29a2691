"""Take results to the systems that want them, and news of campaigns to people, each minute."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk import DAG

from otn.orchestration.defaults import DEFAULT_ARGS
from otn.orchestration.delivering import deliver, tell_campaigns

with DAG(
    dag_id="otn_deliver",
    schedule="* * * * *",
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    tags=["otn", "housekeeping"],
    description="Deliver results and news",
    doc_md=str(Path(__file__).with_suffix(".md")),
):
    deliver()
    tell_campaigns()
