"""From a run of Airflow to its campaign: the tab that Airflow shows on a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from otn.console.access import BROADCAST, VisitorDep
from otn.console.database import EngineDep
from otn.console.decisions import RETRY
from otn.console.showing import show
from otn.console.standing import run_path
from otn.database import queries, transaction
from otn.orchestration.campaign_files import DAG_PREFIX

router = APIRouter(default_response_class=HTMLResponse)

LOOK_AGAIN_S = 3
ENDED = frozenset({"success", "failed"})

RunState = Callable[[str, str], str | None]


def run_state() -> RunState:
    """Answers how a run stands in Airflow; None: there is none of that name."""

    def ask(dag_id: str, run_id: str) -> str | None:
        from airflow.models import DagRun
        from airflow.utils.session import create_session
        from sqlalchemy import select

        with create_session() as session:
            state = session.scalar(select(DagRun.state).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
        return str(state) if state else None

    return ask


RunStateDep = Annotated[RunState, Depends(run_state)]


@router.get("/runs")
def runs(
    request: Request, visitor: VisitorDep, engine: EngineDep, state_of: RunStateDep, dag_id: str = "", run_id: str = ""
) -> Response:
    """Lead to the campaign of a run; until its first task has opened one, wait for it."""
    base = request.scope.get("root_path", "")
    dag_id, run_id = dag_id.replace("\0", ""), run_id.replace("\0", "")
    with transaction(engine) as connection:
        campaign_id = queries("console").campaign_of_run(connection, dag_id=dag_id, run_id=run_id)
    if campaign_id is not None:
        return RedirectResponse(f"{base}/campaigns/{campaign_id}", 303)
    sends = dag_id in (BROADCAST, RETRY) or dag_id.startswith(DAG_PREFIX)
    state = state_of(dag_id, run_id) if sends and run_id else None
    waits = state is not None and state not in ENDED
    answer = show(
        request,
        "run.html",
        visitor=visitor,
        dag_id=dag_id,
        run_id=run_id,
        sends=sends,
        state=state,
        waits=waits,
        airflows_page=run_path(base, dag_id, run_id),
        again=f"{base}/runs?{urlencode({'dag_id': dag_id, 'run_id': run_id})}",
    )
    if waits:
        answer.headers["Refresh"] = str(LOOK_AGAIN_S)  # leads on by itself, also without a script
    return answer
