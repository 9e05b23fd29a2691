"""What tasks need of the run that they belong to."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import DownstreamTasksSkipped

if TYPE_CHECKING:
    from otn.database import Engine

log = logging.getLogger(__name__)


def current() -> Mapping[str, Any]:
    """The context of the task that runs."""
    context: Any = get_current_context()
    return context  # type: ignore[no-any-return]


def actor(context: Mapping[str, Any]) -> str:
    """Who is to be named as the author of what this run does."""
    run = context["dag_run"]
    return f"{run.triggering_user_name or 'airflow'} ({run.dag_id} {run.run_id})"


def note(engine: Engine, campaign_id: int, context: Mapping[str, Any]) -> None:
    """Write down that this run works on a campaign, so that one leads to the other."""
    from otn.watch.abandoned import Run, note_run

    run = context["dag_run"]
    note_run(engine, campaign_id, Run(run.dag_id, run.run_id))


def stop_run(context: Mapping[str, Any], why: str) -> NoReturn:
    """End the run well: this task succeeds and everything after it is skipped, whatever its trigger rule."""
    log.info("%s", why)
    after = context["task"].get_flat_relatives(upstream=False)
    raise DownstreamTasksSkipped(tasks=[task.task_id for task in after])  # type: ignore[no-untyped-call]
