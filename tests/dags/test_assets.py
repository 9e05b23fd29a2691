"""Assets that other DAGs follow, and the button to the report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from otn.messenger.client import SendRequest
from otn.orchestration.assets import OPTINS_FOUND, tell_of_optins
from sandbox.control_client import Sandbox
from sandbox.tokens import ANSWERS
from tests.campaign.stage import Stage
from tests.dags.airflow_runs import Airflow, Run
from tests.dags.test_ingest import inbox, raw


def events(asset: str) -> list[dict[str, Any]]:
    """What an asset was told of, oldest first, with where it came from."""
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        found = session.scalars(select(AssetEvent).order_by(AssetEvent.id)).all()
        return [{**one.extra, "from": one.source_dag_id} for one in found if one.asset.name == asset]


@pytest.fixture
def _nothing_told_yet(airflow: Airflow) -> None:
    from airflow.models.asset import AssetEvent, asset_alias_asset_event_association_table
    from airflow.utils.session import create_session
    from sqlalchemy import delete

    with create_session() as session:
        session.execute(delete(asset_alias_asset_event_association_table))
        session.execute(delete(AssetEvent))


@pytest.fixture
def follower(airflow: Airflow) -> Iterator[str]:
    """Somebody else's DAG that starts whenever there are results."""
    from airflow.dag_processing.collection import update_dag_parsing_results_in_db
    from airflow.models.dag import DagModel
    from airflow.models.dagbundle import DagBundleModel
    from airflow.sdk import DAG, Asset
    from airflow.serialization.serialized_objects import LazyDeserializedDAG
    from airflow.utils.session import create_session

    dag = DAG("follows", schedule=[Asset("otn_results")], is_paused_upon_creation=False)
    with create_session() as session:
        session.merge(DagBundleModel(name="foreign"))
        session.flush()
        parsed = [LazyDeserializedDAG.from_dag(dag)]
        update_dag_parsing_results_in_db("foreign", None, parsed, {}, None, set(), session)
    yield dag.dag_id
    with create_session() as session:
        session.get(DagModel, dag.dag_id).is_paused = True


@pytest.fixture
def _answers_as_they_were(sandbox: Sandbox) -> Iterator[None]:
    yield
    sandbox.token_answers(used=ANSWERS["used"])


def good(run: Run) -> Run:
    assert run.state == "success", run
    return run


@pytest.mark.usefixtures("_nothing_told_yet")
def test_opt_ins_are_told_of_once_whoever_took_them_in(airflow: Airflow, stage: Stage) -> None:
    inbox(stage).put(raw(stage, "token-1", "token-2"))
    good(airflow.run("otn_ingest"))
    (first,) = events("otn_optins")
    assert (first["optins"], first["behind"], first["from"]) == (2, 2, "otn_ingest")
    good(airflow.run("otn_ingest"))
    assert len(events("otn_optins")) == 1

    inbox(stage).put(raw(stage, "token-3"))
    inbox(stage).ingest()  # the responder was there first
    good(airflow.run("otn_ingest"))
    assert [one["optins"] for one in events("otn_optins")] == [2, 1]


@pytest.mark.usefixtures("_nothing_told_yet", "_answers_as_they_were")
def test_results_are_told_of_when_a_report_is_green_and_others_follow(
    airflow: Airflow, stage: Stage, follower: str
) -> None:
    from airflow.models.asset import AssetDagRunQueue
    from airflow.utils.session import create_session
    from sqlalchemy import select

    people = stage.opt_in(2)
    good(airflow.run("otn_broadcast", campaign="spring", topic="restock", text="Back!", approval=False))
    (told,) = events("otn_results")
    assert (told["campaign"], told["topic"], told["sent"], told["from"]) == ("spring", "restock", 2, "otn_broadcast")
    assert not [psid for psid in people if psid in str(told)]
    with create_session() as session:
        assert [one.target_dag_id for one in session.scalars(select(AssetDagRunQueue))] == [follower]

    _spend_elsewhere(stage)
    red = airflow.run("otn_broadcast", campaign="summer", topic="restock", text="x", approval=False)
    assert (red.state, red.xcom("report")["spent_elsewhere"]) == ("failed", 1)  # known by what a calibration learnt
    assert len(events("otn_results")) == 1


def _spend_elsewhere(stage: Stage) -> None:
    """A person whose token was used already, which this platform says in words that only a calibration knows."""
    (psid,) = stage.opt_in(1)
    (token,) = (row["token"] for row in stage.sandbox.tokens(stage.settings.page_id) if row["psid"] == psid)
    stage.client.send(SendRequest({"one_time_notif_token": token}, {"text": "elsewhere"}))
    stage.sandbox.token_answers(used={"message": "(#100) Nope"})
    stage.sql(
        "INSERT INTO otn.calibration (page_id, api_version, fate, code, pattern, campaign_id)"
        " SELECT page_id, %s, 'used', 100, 'Nope', id FROM otn.campaign",
        stage.settings.api_version,
    )


# ── what is new, judged against Postgres; Airflow's part is a list


class Told(list[dict[str, Any]]):
    """The alias as a task sees it: its last event as an inlet, the next one as an outlet."""

    def add(self, _asset: Any, extra: dict[str, Any]) -> None:
        self.append(extra)

    def ascending(self, *, ascending: bool) -> Told:
        return Told(self if ascending else reversed(self))

    def limit(self, most: int) -> list[Any]:
        return [type("Event", (), {"extra": extra}) for extra in self[:most]]


def look(stage: Stage, told: Told) -> int:
    return tell_of_optins({"inlet_events": {OPTINS_FOUND: told}, "outlet_events": {OPTINS_FOUND: told}}, stage.engine)


def test_an_opt_in_that_was_committed_late_is_told_of(stage: Stage) -> None:
    told = Told()
    assert look(stage, told) == 0
    stage.opt_in(3)
    stage.sql("CREATE TABLE late AS SELECT * FROM otn.token ORDER BY id OFFSET 1 LIMIT 1")
    stage.sql("DELETE FROM otn.token WHERE id IN (SELECT id FROM late)")  # not committed yet, so not there for us
    assert (look(stage, told), look(stage, told)) == (2, 0)
    columns = "id, subscriber_id, topic_id, token_hash, token_encrypted, opted_in_at, expires_at, source"
    stage.sql(f"INSERT INTO otn.token ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM late")
    assert (look(stage, told), look(stage, told)) == (1, 0)
    stage.opt_in(2)
    assert (look(stage, told), look(stage, told)) == (2, 0)


def test_what_was_not_told_because_the_task_died_is_told_by_the_next(stage: Stage) -> None:
    told = Told()
    stage.opt_in(2)
    assert look(stage, Told(told)) == 2  # its event went with it
    assert look(stage, told) == 2


def test_a_database_that_was_restored_begins_anew(stage: Stage) -> None:
    told = Told()
    stage.opt_in(3)
    assert look(stage, told) == 3
    stage.sql("DELETE FROM otn.token WHERE id = (SELECT max(id) FROM otn.token)")
    assert (look(stage, told), look(stage, told)) == (2, 0)


# ── the button


@pytest.mark.parametrize("dag_id", ["otn_broadcast", "otn_retry"])
def test_sending_tasks_lead_to_the_report_and_others_do_not(airflow: Airflow, dag_id: str) -> None:
    from airflow.models.taskinstancekey import TaskInstanceKey
    from airflow.serialization.serialized_objects import DagSerialization

    stored = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(airflow.dag(dag_id)))
    linked = {name: task for name in stored.task_ids if (task := stored.get_task(name)).extra_links}
    assert sorted(linked) == ["reconcile", "send"]
    for name, task in linked.items():
        assert task.extra_links == ["Report"]
        key = TaskInstanceKey(dag_id, name, "manual__2027-03-01T09:00:00+00:00_a/b", 1, 0)
        link = task.operator_extra_link_dict["Report"].get_link(task, ti_key=key)
        run = "manual__2027-03-01T09%3A00%3A00%2B00%3A00_a%2Fb"
        assert link.endswith(f"/dags/{dag_id}/runs/{run}/tasks/report")


def test_a_foreign_task_has_no_button_of_ours() -> None:
    from airflow.sdk import DAG, task
    from airflow.serialization.serialized_objects import DagSerialization

    with DAG("foreign", schedule=None) as dag:

        @task
        def foreign(number: int) -> None: ...

        foreign.expand(number=[1])
        foreign(2)
    stored = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
    assert {name: stored.get_task(name).extra_links for name in stored.task_ids} == {"foreign": [], "foreign__1": []}
