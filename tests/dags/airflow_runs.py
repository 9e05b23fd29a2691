"""Runs of our DAGs in this process, with a real metadata database and Airflow's own scheduling of tasks."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

PATIENCE_S = 90.0


@dataclass
class Run:
    """How a run ended.

    Args:
        dag_id: of the DAG.
        run_id: its id.
        state: of the run.
        tasks: state of every task instance, mapped ones as ``send[0]``.
        xcoms: return values and what else was pushed, by task and key.
    """

    dag_id: str
    run_id: str
    state: str
    tasks: dict[str, str | None]
    xcoms: dict[tuple[str, str], Any] = field(repr=False)

    def xcom(self, task: str, key: str = "return_value") -> Any:
        return self.xcoms[task, key]


class Airflow:
    """Our DAGs, run one task after the other as ``dag.test()`` does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def dag(self, dag_id: str) -> Any:
        """A DAG as a task process finds it: read anew. In one process Airflow keeps the params of the last run."""
        from airflow.dag_processing.dagbag import DagBag

        return DagBag(dag_folder=self.folder / f"{dag_id}.py").dags[dag_id]

    def run(
        self, dag_id: str, person: Callable[[], None] | None = None, *, by_hand: str | None = None, **conf: Any
    ) -> Run:
        """Trigger a DAG and stay until the run has ended.

        Args:
            dag_id: of the DAG.
            person: acts meanwhile, in a thread.
            by_hand: a task that somebody marks as success.
            conf: of the run.
        """
        with _their_warnings(), _meanwhile(person):
            run = self.dag(dag_id).test(run_conf=conf, logical_date=datetime.now(UTC), mark_success_pattern=by_hand)
        return read_run(dag_id, run.run_id)

    def clear(self, run: Run, *, only_failed: bool = False, tasks: list[str] | None = None) -> Run:
        """Clear a run as the button does, and stay until it has ended again."""
        from airflow.models.dagrun import DagRun
        from airflow.sdk.definitions.dag import _run_task
        from airflow.serialization.serialized_objects import DagSerialization
        from airflow.utils.session import create_session
        from sqlalchemy import select

        dag = self.dag(run.dag_id)
        stored = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
        with _their_warnings():
            stored.clear(run_id=run.run_id, only_failed=only_failed, task_ids=tasks)
            with create_session() as session:
                row = session.scalars(
                    select(DagRun).where(DagRun.dag_id == run.dag_id, DagRun.run_id == run.run_id)
                ).one()
                row.state = "running"
                row.dag = stored
                session.commit()
                deadline = time.monotonic() + PATIENCE_S
                while row.state == "running":
                    assert time.monotonic() < deadline, read_run(run.dag_id, run.run_id)
                    session.expire_all()
                    ready, _ = row.update_state(session=session)
                    for ti in ready:
                        ti.try_number += ti.state != "up_for_reschedule"
                        ti.state = "scheduled"
                    session.commit()
                    for ti in ready:
                        _run_task(ti=ti, task=dag.task_dict[ti.task_id])
                    if not ready and row.state == "running":
                        time.sleep(0.2)
        return read_run(run.dag_id, run.run_id)


def read_run(dag_id: str, run_id: str) -> Run:
    from airflow.models.dagrun import DagRun
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        row = session.scalars(select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)).one()
        tasks = {
            ti.task_id if ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]": str(ti.state) if ti.state else None
            for ti in row.get_task_instances(session=session)
        }
        found = session.scalars(select(XComModel).where(XComModel.dag_id == dag_id, XComModel.run_id == run_id)).all()
        xcoms = {(one.task_id, one.key): XComModel.deserialize_value(one) for one in found}
        return Run(dag_id, run_id, str(row.state), tasks, xcoms)


@dataclass
class Question:
    """What a person was asked."""

    task: str
    subject: str
    body: str
    waits: timedelta


def answer(choice: str, name: str = "Ada", *, meanwhile: Callable[[], object] = lambda: None) -> Question:
    """Wait for a question, let something happen, and answer it as the UI's route does."""
    from airflow.models.trigger import handle_event_submit
    from airflow.triggers.base import TriggerEvent

    with _question() as (ti, detail, session):
        question = Question(ti.task_id, detail.subject, detail.body, ti.trigger_timeout - datetime.now(UTC))
        meanwhile()
        detail.chosen_options = [choice]
        detail.params_input = {}
        detail.responded_by = {"id": name.lower(), "name": name}
        detail.responded_at = datetime.now(UTC)
        handle_event_submit(
            TriggerEvent(detail.as_resume_event_payload(timedout=False)), task_instance=ti, session=session
        )
    return question


def let_time_pass() -> None:
    """Wait for a question, then let the scheduler find that its time is up."""
    from airflow.jobs.job import Job
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner

    with _question() as (ti, _, _session):
        ti.trigger_timeout = datetime.now(UTC) - timedelta(seconds=1)
    SchedulerJobRunner(job=Job()).check_awaiting_input_timeouts()


@contextmanager
def _question() -> Iterator[tuple[Any, Any, Any]]:
    from airflow.models.hitl import HITLDetail
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    deadline = time.monotonic() + PATIENCE_S
    while True:
        with create_session() as session:
            ti = session.scalars(select(TaskInstance).where(TaskInstance.state == "awaiting_input")).first()
            if ti is not None:
                yield ti, session.scalars(select(HITLDetail).where(HITLDetail.ti_id == ti.id)).one(), session
                return
        assert time.monotonic() < deadline, "nobody asked anything"
        time.sleep(0.2)


@contextmanager
def _meanwhile(person: Callable[[], None] | None) -> Iterator[None]:
    failures: list[BaseException] = []

    def act() -> None:
        try:
            if person is not None:
                person()
        except BaseException as error:  # noqa: BLE001 - handed to the test
            failures.append(error)
            _give_up()

    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    yield
    thread.join(PATIENCE_S)
    if failures:
        raise failures[0]


def _give_up() -> None:
    """End the runs that wait for somebody who does not come."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import update

    with create_session() as session:
        session.execute(update(TaskInstance).where(TaskInstance.state == "awaiting_input").values(state="failed"))


@contextmanager
def _their_warnings() -> Iterator[None]:
    """What Airflow's own parts warn of is theirs; what ours do is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.filterwarnings("error", module=r"otn(\..*)?$")
        yield
