"""One DAG ``otn_campaign_<key>`` for each file of ``campaigns/``; ``otn_campaigns_check.py`` tells what is broken."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk import get_parsing_context

from otn.orchestration.campaign_dags import campaign_dags
from otn.settings import campaigns_folder

doc = Path(__file__).with_suffix(".md").read_text(encoding="utf-8")
for dag in campaign_dags(campaigns_folder(), doc, only=get_parsing_context().dag_id):
    globals()[dag.dag_id] = dag
