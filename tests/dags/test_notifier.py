"""OtnNotifier in the places where Airflow calls a notifier."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from tests.dags.test_watch import Post, post

__all__ = ["post"]
NAME = "otn.orchestration.notifier.OtnNotifier"
RUN = {"dag_id": "etl", "run_id": "manual__1", "state": "running"}


@pytest.fixture(autouse=True)
def _told(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTN_NOTIFY", post.url)


def test_a_callback_of_a_task_names_run_and_task(post: Post) -> None:
    from otn.orchestration.notifier import OtnNotifier

    context: Any = {"dag_run": SimpleNamespace(**RUN), "ti": SimpleNamespace(task_id="load", state="failed")}
    OtnNotifier()(context)
    ((told),) = post.got
    assert told["title"] == "OTN: etl"
    assert told["message"] == "The run manual__1 of etl, task load is failed."


def test_a_text_that_looks_like_a_template_is_told_as_it_is(post: Post) -> None:
    from otn.orchestration.notifier import OtnNotifier

    context: Any = {"dag_run": SimpleNamespace(**RUN)}
    OtnNotifier(title="{{ conn.otn_db.password }}", text="{{ 7 * 7 }}")(context)
    assert (post.got[0]["title"], post.got[0]["message"]) == ("{{ conn.otn_db.password }}", "{{ 7 * 7 }}")


def test_a_missed_deadline_calls_it_as_the_executor_does(post: Post) -> None:
    from airflow.sdk import SyncCallback
    from airflow.sdk.execution_time.callback_supervisor import execute_callback

    from otn.orchestration.notifier import OtnNotifier

    callback = SyncCallback(OtnNotifier, kwargs={"title": "The report is late"})
    assert callback.path == NAME
    run = {"dag_id": "etl", "dag_run_id": "manual__1", "state": "running"}  # as Airflow 3.3.2 gives it
    context = {"dag_run": run, "deadline": {"deadline_time": "2026-01-01T00:00:00Z"}}
    done, error = execute_callback(
        callback.path, {**callback.kwargs, "context": context}, "", None, structlog.get_logger()
    )
    assert (done, error) == (True, None)
    assert post.got[0]["title"] == "The report is late"
    assert post.got[0]["message"] == "The run manual__1 of etl has missed its deadline."


def test_a_deadline_can_be_written_into_a_dag_and_read_back() -> None:
    from datetime import timedelta

    from airflow.sdk import DAG, DeadlineAlert, DeadlineReference, SyncCallback
    from airflow.serialization.serialized_objects import DagSerialization

    from otn.orchestration.notifier import OtnNotifier

    alert = DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, timedelta(hours=1), SyncCallback(OtnNotifier))
    dag = DAG("late", schedule=None, deadline=alert)
    assert NAME in str(DagSerialization.to_dict(dag))


def test_where_airflow_gives_no_connection_the_variable_counts(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    from otn.orchestration import notifying
    from otn.orchestration.notifier import OtnNotifier

    def refused(_: str) -> None:
        raise PermissionError("Access denied for connection")  # as seen in the callback of a deadline

    monkeypatch.setattr(notifying, "read_connection", refused)
    context: Any = {"dag_run": SimpleNamespace(**RUN)}
    OtnNotifier()(context)
    assert len(post.got) == 1
    monkeypatch.delenv("OTN_NOTIFY")
    from otn.errors import ConfigurationError

    with pytest.raises(ConfigurationError, match="for that one set OTN_NOTIFY"):
        OtnNotifier().notify(context)
