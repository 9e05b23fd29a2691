"""Send one message to everyone who opted in to a topic: checked, approved, scheduled, sent once, reported."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk import DAG

from otn.orchestration.approval import CampaignApproval
from otn.orchestration.broadcasting import canary, plan, validate, wait_for_send_at
from otn.orchestration.defaults import DEFAULT_ARGS
from otn.orchestration.forms import broadcast_params
from otn.orchestration.sending import send_and_report

with DAG(
    dag_id="otn_broadcast",
    schedule=None,
    allowed_run_types=["manual"],
    params=broadcast_params(),
    default_args=DEFAULT_ARGS,
    max_active_runs=200,  # one that waits for its moment is active too
    tags=["otn", "sends messages"],
    description="Send a campaign",
    doc_md=str(Path(__file__).with_suffix(".md")),
):
    campaign = validate()
    approval = CampaignApproval(task_id="approval", campaign_id=campaign, questions=["approval"])
    wait = wait_for_send_at(campaign)
    start_check = CampaignApproval(task_id="start_check", campaign_id=campaign)
    planned = plan(campaign)
    approval >> wait >> start_check >> planned
    send_and_report(planned, canary(planned))
