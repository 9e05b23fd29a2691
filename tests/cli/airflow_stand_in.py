"""Makes Airflow's own tables with what a sound installation has in them. A program: it needs Airflow's models."""

from __future__ import annotations

from pathlib import Path


def main() -> None:
    """The database is the one that Airflow's settings name."""
    from airflow._shared.timezones.timezone import utcnow
    from airflow.jobs.job import Job
    from airflow.models import DagModel, Pool, import_all_models
    from airflow.models.base import Base
    from airflow.models.dagbundle import DagBundleModel
    from airflow.settings import engine
    from airflow.utils.session import create_session

    from otn.local.airflow_settings import DAGS, POOLS

    import_all_models()
    Base.metadata.create_all(engine)
    with create_session() as session:
        session.add(DagBundleModel(name="dags-folder"))
        session.flush()
        for name, pool in POOLS.items():
            session.add(Pool(pool=name, slots=pool["slots"], description="", include_deferred=False))
        for file in sorted(DAGS.glob("otn_*.py")):
            dag = DagModel(dag_id=file.stem, bundle_name="dags-folder", fileloc=str(file), is_paused=False)
            dag.is_stale, dag.relative_fileloc = False, Path(file).name
            dag.max_active_tasks, dag.max_consecutive_failed_dag_runs, dag.has_task_concurrency_limits = 16, 0, False
            session.add(dag)
        for kind in ("SchedulerJob", "DagProcessorJob"):
            job = Job()
            job.job_type, job.state, job.latest_heartbeat = kind, "running", utcnow()
            session.add(job)


if __name__ == "__main__":
    main()
