"""Take in everything that the receiver stored, and what others landed, each minute."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk import DAG

from otn.orchestration.defaults import DEFAULT_ARGS
from otn.orchestration.ingesting import ingest
from otn.orchestration.landing import is_set, land
from otn.orchestration.metrics import is_on, measure

with DAG(
    dag_id="otn_ingest",
    schedule="* * * * *",
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    tags=["otn", "consent"],
    description="Ingest stored webhooks and landed files",
    doc_md=str(Path(__file__).with_suffix(".md")),
):
    ingest()
    if is_set():  # beside it, not behind: neither waits for the other, and each turns the run red
        land()
    if is_on():
        measure()
