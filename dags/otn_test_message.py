"""Send a campaign's message to a few people whose 24 h window is open, before anybody spends a consent on it."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk import DAG

from otn.orchestration.defaults import DEFAULT_ARGS
from otn.orchestration.forms import params_of_test
from otn.orchestration.testing import report, send, write

with DAG(
    dag_id="otn_test_message",
    schedule=None,
    allowed_run_types=["manual"],
    params=params_of_test(),
    default_args=DEFAULT_ARGS,
    tags=["otn", "sends messages"],
    description="Test a message on a few people",
    doc_md=str(Path(__file__).with_suffix(".md")),
):
    test = write()
    send(test) >> report(test)
