"""Campaign files dropped into a folder, and their runs: triggered, scheduled as Airflow would, backfilled."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import yaml

from otn.settings import ROOT
from tests.dags.airflow_runs import PATIENCE_S, Run, _meanwhile, _their_warnings, read_run

FILE = ROOT / "dags" / "otn_campaigns.py"
DAY = timedelta(days=1)


def _noon_zone(now: datetime) -> str:
    """Where it is past noon: no day begins while tests run, and today's began hours ago."""
    return f"Etc/GMT{now.hour - 12:+d}"  # the names of these zones have the sign the other way round


ZONE = _noon_zone(datetime.now(UTC))
MIDNIGHT = datetime.now(ZoneInfo(ZONE)).replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)


@dataclass
class Campaigns:
    """A folder of campaign files, and Airflow."""

    folder: Path

    def write(self, key: str, **values: Any) -> Path:
        """Drop a file that is sent each midnight (of ``ZONE``) since ten days ago, unless ``values`` say otherwise."""
        content: dict[str, Any] = {
            "topic": "restock",
            "text": "It is back!",
            "approval": False,
            "schedule": {"cron": "0 0 * * *", "timezone": ZONE},
            "start": (MIDNIGHT - 10 * DAY).isoformat(),
        }
        content |= values
        path = self.folder / f"{key}.yaml"
        path.write_text(yaml.safe_dump({name: value for name, value in content.items() if value is not None}))
        return path

    def bag(self) -> Any:
        from airflow.dag_processing.dagbag import DagBag

        return DagBag(dag_folder=FILE)

    def dag(self, key: str) -> Any:
        """The DAG as a task process finds it, known to the metadata database as the DAG processor makes it known."""
        from airflow.dag_processing.bundles.manager import DagBundlesManager
        from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db

        DagBundlesManager().sync_bundles_to_db()
        bag = BundleDagBag(dag_folder=FILE, bundle_path=FILE.parent, bundle_name="dags-folder")
        sync_bag_to_db(bag, "dags-folder", None)
        return bag.dags[f"otn_campaign_{key}"]

    def backfill(
        self,
        key: str,
        first: datetime,
        last: datetime,
        *,
        reprocess: str = "none",
        conf: dict[str, Any] | None = None,
        person: Callable[[], None] | None = None,
    ) -> list[Run]:
        """Backfill as the UI and the CLI do; answers the runs in order of their days, each brought to its end."""
        from airflow.models.backfill import Backfill, ReprocessBehavior, _create_backfill
        from airflow.models.dagrun import DagRun
        from airflow.utils.session import create_session
        from sqlalchemy import select, update

        dag = self.dag(key)
        made = _create_backfill(
            dag_id=dag.dag_id,
            from_date=first,
            to_date=last,
            max_active_runs=10,
            reverse=False,
            dag_run_conf=conf,
            triggering_user_name="Ada",
            reprocess_behavior=ReprocessBehavior(reprocess),
        )
        with create_session() as session:
            runs = session.scalars(
                select(DagRun.run_id)
                .where(DagRun.dag_id == dag.dag_id, DagRun.state == "queued")
                .order_by(DagRun.logical_date)
            ).all()
            session.execute(update(Backfill).where(Backfill.id == made.id).values(completed_at=datetime.now(UTC)))
        return [self._drive(dag, run, person) for run in runs]

    def trigger(self, key: str, person: Callable[[], None] | None = None, *, at: datetime | None = None) -> Run:
        """Trigger by hand, with a logical date or without."""
        with _their_warnings(), _meanwhile(person):
            dag = self.dag(key)
            run = dag.test(logical_date=at, run_after=datetime.now(UTC))
        return read_run(dag.dag_id, run.run_id)

    def _drive(self, dag: Any, run_id: str, person: Callable[[], None] | None) -> Run:
        """What the scheduler does with a run that is queued."""
        from airflow.models.dagrun import DagRun
        from airflow.sdk.definitions.dag import _run_task
        from airflow.serialization.serialized_objects import DagSerialization
        from airflow.utils.session import create_session
        from sqlalchemy import select

        stored = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
        with _their_warnings(), _meanwhile(person), create_session() as session:
            row = session.scalars(select(DagRun).where(DagRun.dag_id == dag.dag_id, DagRun.run_id == run_id)).one()
            row.state = "running"
            row.dag = stored
            session.commit()
            deadline = time.monotonic() + PATIENCE_S
            while row.state == "running":
                assert time.monotonic() < deadline, read_run(dag.dag_id, run_id)
                session.expire_all()
                ready, _ = row.update_state(session=session)
                for ti in ready:
                    ti.try_number += ti.state != "up_for_reschedule"
                    ti.state = "scheduled"
                session.commit()
                due = [ti for ti in row.get_task_instances(session=session) if ti.state == "scheduled"]
                for ti in due:
                    _run_task(ti=ti, task=dag.task_dict[ti.task_id])
                if not due and row.state == "running":
                    time.sleep(0.1)
        return read_run(dag.dag_id, run_id)
