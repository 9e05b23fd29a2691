"""Take up people of a campaign again: who still waits, refusals worth a try, and those of whom nobody knows."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk import DAG

from otn.orchestration.defaults import DEFAULT_ARGS
from otn.orchestration.forms import retry_params
from otn.orchestration.resuming import chunks_to_send, make_ready
from otn.orchestration.sending import send_and_report

with DAG(
    dag_id="otn_retry",
    schedule=None,
    allowed_run_types=["manual"],
    params=retry_params(),
    default_args=DEFAULT_ARGS,
    tags=["otn", "sends messages"],
    description="Retry a campaign",
    doc_md=str(Path(__file__).with_suffix(".md")),
):
    campaign = make_ready()
    send_and_report(campaign, chunks_to_send(campaign))
