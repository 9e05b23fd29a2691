"""Ask people whose 24 h window is open for one later message; every ten minutes, send what the responder has left."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk import DAG

from otn.orchestration.asking import ask, report, send
from otn.orchestration.defaults import DEFAULT_ARGS
from otn.orchestration.forms import ask_params

with DAG(
    dag_id="otn_ask",
    schedule="*/10 * * * *",
    catchup=False,
    allowed_run_types=["manual", "scheduled"],
    params=ask_params(),
    default_args=DEFAULT_ARGS,
    tags=["otn", "consent", "sends messages"],
    description="Ask for consent, and send what waits inside the 24 h window",
    doc_md=str(Path(__file__).with_suffix(".md")),
):
    asked = ask()
    send(asked) >> report(asked)
