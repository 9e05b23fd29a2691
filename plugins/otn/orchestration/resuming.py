"""The tasks of ``otn_retry`` before the sending: rows made ready again, on a person's word."""

from __future__ import annotations

import logging

from airflow.sdk import task

from otn.orchestration.params import RetryRequest
from otn.orchestration.runs import actor, current, note, stop_run

log = logging.getLogger(__name__)


@task
def make_ready() -> int:
    """Move the rows of the scope back to where a sender takes them from.

    Returns:
        ``otn.campaign.id``. With nothing to retry the run ends here, well.
    """
    from otn.campaign import control
    from otn.orchestration.hook import make_engine

    context = current()
    request = RetryRequest.from_context(context)
    engine = make_engine()
    campaign_id = control.find(engine, request.page, request.campaign)
    note(engine, campaign_id, context)
    rows = control.retry(engine, campaign_id, scope=request.scope, actor=actor(context))
    log.info("%s people of scope %s are ready", rows, request.scope)
    if not rows:
        stop_run(context, f"Nobody is {request.scope} and worth a retry: nothing to send.")
    return campaign_id


@task
def chunks_to_send(campaign_id: int) -> list[int]:
    """Numbers of the chunks with somebody waiting, and the canary's: never an empty list, which would skip the rest."""
    from otn.campaign.plan import waiting_chunks
    from otn.orchestration.hook import make_engine

    return [0, *waiting_chunks(make_engine(), campaign_id)]
