"""Campaigns that are sending and that no run works on any more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from otn.campaign.control import end_run
from otn.campaign.model import CampaignState
from otn.database import Engine, queries, transaction

IDLE_SECONDS = 900  # longer than a sender works before it comes back


@dataclass(frozen=True)
class Run:
    """An Airflow run that was seen at work on a campaign.

    Args:
        dag_id: of its DAG.
        run_id: its id.
    """

    dag_id: str
    run_id: str


def note_run(engine: Engine, campaign_id: int, run: Run) -> None:
    """A task of the run works on the campaign now.

    Args:
        engine: the project's database.
        campaign_id: ``otn.campaign.id``.
        run: the run.
    """
    with transaction(engine) as connection:
        queries("watch").note_run(connection, campaign_id=campaign_id, dag_id=run.dag_id, run_id=run.run_id)


def interrupt(engine: Engine, alive: Callable[[Sequence[Run]], bool], *, idle_s: float = IDLE_SECONDS) -> list[str]:
    """Write the end of campaigns whose runs are gone: interrupted, or finished when nobody waits; answers their keys.

    A mistake would cost little: a sender that comes back takes an interrupted campaign up again.

    Args:
        engine: the project's database.
        alive: whether any of these runs is queued or running; of no runs at all: whether any run might be.
        idle_s: seconds without any sign of life.
    """
    with transaction(engine) as connection:
        idle = list(queries("watch").idle_campaigns(connection, idle_s=idle_s))
        runs = {row.id: [Run(*run) for run in queries("watch").runs_of(connection, campaign_id=row.id)] for row in idle}
    return [row.key for row in idle if not alive(runs[row.id]) and end_run(engine, row.id) != CampaignState.SENDING]
