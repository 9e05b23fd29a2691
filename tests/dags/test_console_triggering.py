"""Runs that the console starts: by Airflow's own code, in Airflow's own database."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.dags.airflow_runs import Airflow

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of other people's imports
    from otn.console import triggering

CONF = {"campaign": "spring", "topic": "restock", "text": "Hi {{ first_name }}"}


@pytest.fixture(scope="module")
def switch(airflow: Airflow) -> Iterator[Callable[..., None]]:
    """Writes the DAG down as the DAG processor does; then sets columns of its row, paused or stale."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db
    from airflow.models import DagModel
    from airflow.utils.session import create_session
    from sqlalchemy import update

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other people's code
        DagBundlesManager().sync_bundles_to_db()
        path = airflow.folder / "otn_broadcast.py"
        bag = BundleDagBag(dag_folder=path, bundle_path=airflow.folder, bundle_name="dags-folder")
        sync_bag_to_db(bag, "dags-folder", None)

    def write(**columns: Any) -> None:
        with create_session() as session:
            session.execute(update(DagModel).where(DagModel.dag_id == "otn_broadcast").values(**columns))

    yield write
    write(is_paused=False, is_stale=False)


def test_a_run_starts_in_the_name_of_who_started_it(switch: Callable[..., None]) -> None:
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    switch(is_paused=False, is_stale=False)
    started = triggering.start_run("otn_broadcast", CONF, user_name="ann", note="Composed in the console.")
    with create_session() as session:
        run = session.scalars(select(DagRun).where(DagRun.run_id == started.run_id)).one()
        assert (run.dag_id, run.state, run.run_type) == ("otn_broadcast", "queued", "manual")
        assert (run.triggering_user_name, run.triggered_by.value) == ("ann", "ui")
        assert (run.conf, run.note) == (CONF, "Composed in the console.")
        session.delete(run)
    assert started.query == f"dag_id=otn_broadcast&run_id={started.run_id.replace(':', '%3A').replace('+', '%2B')}"


@pytest.mark.parametrize("at_once", [False, True])
def test_a_name_that_a_run_bears_already_is_that_run(
    switch: Callable[..., None], monkeypatch: pytest.MonkeyPatch, *, at_once: bool
) -> None:
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    switch(is_paused=False, is_stale=False)
    named: dict[str, Any] = {"user_name": "ann", "note": "", "run_id": "manual__test_1"}
    if at_once:  # neither of the two has seen the other's run
        monkeypatch.setattr(DagRun, "find_duplicate", lambda **_: None)
    assert triggering.start_run("otn_broadcast", CONF, **named) == triggering.start_run("otn_broadcast", CONF, **named)
    with create_session() as session:
        (run,) = session.scalars(select(DagRun).where(DagRun.run_id == "manual__test_1")).all()
        assert (run.state, run.run_type) == ("queued", "manual")
        session.delete(run)


@pytest.mark.parametrize(
    ("dag_id", "columns", "conf", "said"),
    [
        ("otn_broadcast", {"is_paused": True}, CONF, "is paused: a run of it would not begin"),
        ("otn_broadcast", {"is_stale": True}, CONF, "does not know the DAG otn_broadcast"),
        ("otn_broadcast", {"has_import_errors": True}, CONF, "cannot be read"),
        ("otn_nothing", {}, CONF, "does not know the DAG otn_nothing"),
        ("otn_broadcast", {}, CONF | {"canary": "many"}, "did not start otn_broadcast: .*canary"),
    ],
    ids=["paused", "stale", "broken", "missing", "conf"],
)
def test_what_airflow_would_not_start_is_said(
    switch: Callable[..., None], dag_id: str, columns: dict[str, Any], conf: dict[str, Any], said: str
) -> None:
    switch(**{"is_paused": False, "is_stale": False, "has_import_errors": False, **columns})
    with pytest.raises(triggering.NotTriggeredError, match=f"(?s){said}"):
        triggering.start_run(dag_id, conf, user_name="ann", note="")
