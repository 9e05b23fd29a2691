"""Holds the assets that other DAGs may follow; triggered by a person only, to let those DAGs run."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk import DAG

from otn.orchestration.assets import wake_followers
from otn.orchestration.defaults import DEFAULT_ARGS

with DAG(
    dag_id="otn_assets",
    schedule=None,
    allowed_run_types=["manual"],
    default_args=DEFAULT_ARGS,
    tags=["otn", "housekeeping"],
    description="Hold the assets that other DAGs follow",
    doc_md=str(Path(__file__).with_suffix(".md")),
):
    wake_followers()
