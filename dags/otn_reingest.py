"""Take in a day's webhooks again and balance them; the DAG to backfill."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk import DAG, CronDataIntervalTimetable

from otn.orchestration.defaults import DEFAULT_ARGS
from otn.orchestration.ingesting import reingest

with DAG(
    dag_id="otn_reingest",
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    catchup=False,
    max_active_runs=2,
    default_args=DEFAULT_ARGS,
    tags=["otn", "consent"],
    description="Ingest a day again and balance it",
    doc_md=str(Path(__file__).with_suffix(".md")),
):
    reingest()
