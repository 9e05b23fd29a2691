"""Runs of our DAGs, started by people of the console: Airflow's own code does it, so that Airflow shows and keeps them.

In the API server Airflow's database is at hand, and asking its REST interface would need the visitor's token.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Protocol

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import get_user
from fastapi import Depends, HTTPException

from otn.console.access import VisitorDep
from otn.console.airflow_run import Run
from otn.errors import OtnError

NOTE_LIMIT = 1_000  # characters, of Airflow's column


class NotTriggeredError(OtnError):
    """Airflow started no run. The sentence says what to do; nothing was sent."""


class Trigger(Protocol):
    """Starts runs in the visitor's name."""

    def __call__(self, dag_id: str, conf: Mapping[str, Any], note: str, *, run_id: str | None = None) -> Run:
        """As ``start_run`` does.

        Raises:
            HTTPException: the visitor may not trigger that DAG (403).
            NotTriggeredError: no run was started.
        """


def trigger(visitor: VisitorDep, user: Annotated[Any, Depends(get_user)]) -> Trigger:
    """Answers what starts runs in the visitor's name: called with DAG, conf and a note for people.

    It raises ``HTTPException`` (403) for somebody who may not trigger that DAG, and ``NotTriggeredError``.
    """

    def start(dag_id: str, conf: Mapping[str, Any], note: str, *, run_id: str | None = None) -> Run:
        if not _may_trigger(user, dag_id):
            raise HTTPException(403, f"You may not start the DAG {dag_id}. Ask for leave to trigger it.")
        return start_run(dag_id, conf, user_name=visitor.name, note=note, run_id=run_id)

    return start


TriggerDep = Annotated[Trigger, Depends(trigger)]


def start_run(dag_id: str, conf: Mapping[str, Any], *, user_name: str, note: str, run_id: str | None = None) -> Run:
    """Start a run as Airflow's own button does.

    Args:
        dag_id: of the DAG.
        conf: its params; no secret and no PSID in it, Airflow shows them to everybody.
        user_name: who does it.
        note: shown beside the run.
        run_id: a name of its own: where a run bears it already, that is the run. None: Airflow names it.

    Raises:
        NotTriggeredError: the DAG is paused, missing or broken, or refuses the conf.
    """
    from airflow.api.common.trigger_dag import trigger_dag
    from airflow.exceptions import DagRunAlreadyExists
    from airflow.sdk.exceptions import AirflowException
    from airflow.utils.types import DagRunTriggeredByType
    from sqlalchemy.exc import IntegrityError

    _refuse_unready(dag_id)
    try:
        run = trigger_dag(
            dag_id,
            triggered_by=DagRunTriggeredByType.UI,
            triggering_user_name=user_name,
            conf=dict(conf),
            note=note[:NOTE_LIMIT],
            run_id=run_id,
        )
    except (DagRunAlreadyExists, IntegrityError):  # the latter: somebody else was faster by less than a look
        if run_id is not None:
            return Run(dag_id, run_id)
        raise NotTriggeredError(f"Another run of {dag_id} was started in the same moment. Start it again.") from None
    except (AirflowException, ValueError) as error:
        raise NotTriggeredError(f"Airflow did not start {dag_id}: {str(error).rstrip('.')}. Nothing is sent.") from None
    if run is None:
        raise NotTriggeredError(f"Airflow did not start {dag_id} and does not say why. Look at its log.")
    return Run(str(run.dag_id), str(run.run_id))


def _refuse_unready(dag_id: str) -> None:
    """Airflow would take a run of a paused or vanished DAG, and never begin with it."""
    from airflow.models.dag import DagModel

    dag = DagModel.get_current(dag_id)
    if dag is None or dag.is_stale:
        raise NotTriggeredError(
            f"Airflow does not know the DAG {dag_id}. Look at Import errors in Airflow, and whether its DAG processor"
            " runs; a new installation needs a minute to read its DAGs."
        )
    if dag.has_import_errors:
        raise NotTriggeredError(f"The DAG {dag_id} cannot be read. Look at Import errors in Airflow.")
    if dag.is_paused:
        raise NotTriggeredError(
            f"The DAG {dag_id} is paused: a run of it would not begin. Switch it on in Airflow (Dags, {dag_id}), "
            "then start again."
        )


def _may_trigger(user: Any, dag_id: str) -> bool:
    return get_auth_manager().is_authorized_dag(
        method="POST", access_entity=DagAccessEntity.RUN, details=DagDetails(id=dag_id), user=user
    )
