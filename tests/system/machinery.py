"""The running system as its operators have it: Airflow's API, the database, the platform's ledger, the processes."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import psutil
import requests

from otn.campaign import control
from otn.consent import pages, topics
from otn.database import DatabaseError, Engine, make_engine, queries, transaction
from otn.local import machine
from otn.local.demo import stand_in
from otn.local.demo.airflow_api import AirflowApi, AirflowApiError
from otn.local.environment import home_environment
from otn.local.home import ADMIN, Home
from otn.local.processes import end_home, of_home, wait_gone
from otn.local.supervision import Supervisor
from otn.settings import DATABASE_CONNECTION, database_url, page_settings, read_connection
from sandbox.control_client import SandboxError
from tests.system.scenes import BLOCKED_SHARE, SCENES, TITLE, Scene

PATIENCE_S = 300.0
# More campaigns than usual rest at once until leases run out; that costs slots, and no processor.
ENVIRONMENT = {"PATH": os.environ["PATH"], "AIRFLOW__CORE__PARALLELISM": "14"}
SEND_POOL = {"pool": "otn_send", "slots": 10, "include_deferred": False}
POLL_S = 0.3
# What a part that is being started again answers to whoever asks meanwhile.
PASSING = (AirflowApiError, DatabaseError, SandboxError, requests.RequestException)

T = TypeVar("T")


def eventually(happened: Callable[[], T], what: str, patience_s: float = PATIENCE_S, poll_s: float = POLL_S) -> T:
    """Wait until something is true, through outages; the bound is no measure, only an end to waiting."""
    end = time.monotonic() + patience_s
    while True:
        trouble: Exception | None = None
        try:
            if found := happened():
                return found
        except PASSING as error:
            trouble = error
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {patience_s:.0f} s") from trouble
        time.sleep(poll_s)


@contextmanager
def running(system: System) -> Iterator[System]:
    """The system, made anew; all its processes are ended whatever becomes of it."""
    try:
        system.make()
        yield system
    finally:
        try:
            system.close()
        finally:
            end_home(system.home.identity, system.home.pgdata, grace_s=0)


class System:
    """One home with everything in it.

    Args:
        home: not made yet.
        scenes: its pages.
        reading_s: how often Airflow reads the DAG files anew.
    """

    def __init__(self, home: Home, scenes: Iterable[Scene] = SCENES, reading_s: int = 300) -> None:
        self.home = home
        # Where no file changes, reading them each half minute is a twentieth of a processor for nothing.
        self.environment = ENVIRONMENT | {"AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": str(reading_s)}
        self.scenes = {scene.name: scene for scene in scenes}
        self.up_s: list[float] = []

    # ── up and down

    def make(self) -> None:
        """Start it for the first time; its pages are registered, its people have opted in."""
        self.home.create()
        stand_in.settle_in(self.home, rate=0)
        self._give_connections()
        self.up(prepare=self._register)
        self.call("PATCH", "pools/otn_send", json=SEND_POOL)
        self.sandbox = stand_in.control(self.home)
        self.sandbox.delivery(**stand_in.DELIVERY)
        for scene in self.scenes.values():
            self._populate(scene)

    def up(self, prepare: Callable[[Mapping[str, str]], None] | None = None) -> None:
        """Start it, or start it again."""
        began = time.monotonic()
        self.status = machine.up(self.home, environ=self.environment, prepare=prepare, timeout_s=600)
        self.up_s.append(time.monotonic() - began)
        assert self.status.healthy
        assert self.status.api_url
        self.airflow = AirflowApi(self.status.api_url, ADMIN, self.home.passwords()[ADMIN])
        self.engine = self._engine("otn system test")

    def close(self) -> None:
        """Let go of connections, and end whatever runs."""
        machine.down(self.home)
        for part in ("sandbox", "engine"):
            if found := getattr(self, part, None):
                found.close() if part == "sandbox" else found.dispose()
        if found := getattr(self, "airflow", None):
            found._session.close()

    def _engine(self, name: str) -> Engine:
        environment = home_environment(self.home, {})
        url = database_url(read_connection(DATABASE_CONNECTION, environment))
        return make_engine(url, application_name=name)  # keeps no connection: outages are part of the play

    def _give_connections(self) -> None:
        settings = self.home.settings()
        demo = json.loads(settings["AIRFLOW_CONN_MESSENGER_DEFAULT"])
        for scene in self.scenes.values():
            scene.page_id = str(10**14 + secrets.randbelow(9 * 10**14))
            scene.secrets = {
                "access_token": f"EAAG{secrets.token_hex(24)}",
                "app_secret": secrets.token_hex(16),
                "verify_token": secrets.token_urlsafe(16),
            }
            extra = {"messages_per_second": scene.rate, **{k: scene.secrets[k] for k in ("app_secret", "verify_token")}}
            login = {"login": scene.page_id, "password": scene.secrets["access_token"], "extra": extra}
            settings[f"AIRFLOW_CONN_{scene.connection.upper()}"] = json.dumps(demo | login)
        self.home.save_state(settings=settings)

    def _register(self, environment: Mapping[str, str]) -> None:
        engine = make_engine(database_url(read_connection(DATABASE_CONNECTION, environment)))
        with transaction(engine) as connection:
            for scene in self.scenes.values():
                page = pages.register(connection, page_settings(read_connection(scene.connection, environment)))
                topics.add(connection, page, scene.name, TITLE)

    def _populate(self, scene: Scene) -> None:
        url = f"{self.status.receiver_url}/webhook"
        self.sandbox.page(scene.page_id, **scene.secrets, name=scene.name, webhook_url=url, handshake=True)
        scene.people = self.sandbox.people(scene.page_id, scene.count, profiles="plain")
        scene.blocked = set(scene.people[: int(scene.count * BLOCKED_SHARE)])
        self.sandbox.block(scene.page_id, sorted(scene.blocked))
        if scene.opt_in:
            self.sandbox.optins(scene.page_id, scene.name, tokens_per_person=[1, 2], age_s=60, spread_s=30 * 86_400)

    # ── Airflow

    def call(self, method: str, path: str, accepted: tuple[int, ...] = (), **values: Any) -> dict[str, Any]:
        """Any call of Airflow's REST API."""
        return self.airflow._call(method, path, accepted, **values)

    def trigger(self, scene: Scene, **changes: Any) -> str:
        """Trigger the scene's campaign."""
        return self.airflow.trigger("otn_broadcast", scene.conf(**changes))

    def end_of(self, run: str, dag_id: str = "otn_broadcast", patience_s: float = PATIENCE_S) -> str:
        """Wait until a run is over, whatever is started again meanwhile; answers its state."""
        eventually(lambda: self.airflow.ended(dag_id, run), f"the end of {run} of {dag_id}", patience_s)
        state = eventually(lambda: self.airflow.state(dag_id, run), f"the state of {run}")
        if state != "success":
            self._tell(run, dag_id)
        return state

    def _tell(self, run: str, dag_id: str) -> None:
        """For whoever wonders why a test is red."""
        for one in self.call("GET", f"dags/{dag_id}/dagRuns/{run}/taskInstances")["task_instances"]:
            print(run, one["task_id"], one["map_index"], one["state"], "try", one["try_number"])
            if one["state"] == "failed" and one["map_index"] < 0:
                print(self.log(run, one["task_id"], dag_id, one["try_number"])[-3000:])

    def clear(self, run: str, **what: Any) -> None:
        """Press Clear on a run of ``otn_broadcast``: on all of it, or on ``task_ids`` and what follows them."""
        if "task_ids" in what:
            body = {"dag_run_id": run, "only_failed": False, "include_downstream": True, "dry_run": False} | what
            self.call("POST", "dags/otn_broadcast/clearTaskInstances", json=body)
        else:
            self.call("POST", f"dags/otn_broadcast/dagRuns/{run}/clear", json={"dry_run": False} | what)

    def tries(self, run: str) -> dict[str, int]:
        """How often each task of a run of ``otn_broadcast`` was started; of mapped tasks the last one's."""
        found = self.call("GET", f"dags/otn_broadcast/dagRuns/{run}/taskInstances")["task_instances"]
        return {one["task_id"]: one["try_number"] for one in found}

    def log(self, run: str, task: str, dag_id: str = "otn_broadcast", attempt: int = 1) -> str:
        """What a task wrote into its log."""
        path = f"dags/{dag_id}/dagRuns/{run}/taskInstances/{task}/logs/{attempt}"
        return json.dumps(self.call("GET", path, params={"full_content": True}), ensure_ascii=False)

    # ── the database

    def rows(self, statement: str, *values: Any) -> list[Any]:
        """Rows of any statement."""
        with transaction(self.engine) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def one(self, statement: str, *values: Any) -> Any:
        """The one value that a statement gives."""
        return self.rows(statement, *values)[0][0]

    def campaign_id(self, scene: Scene) -> int:
        """``otn.campaign.id`` of the scene's campaign."""
        return control.find(self.engine, scene.connection, scene.name)

    def campaign_state(self, scene: Scene) -> str:
        """State of the scene's campaign."""
        return str(control.get(self.engine, self.campaign_id(scene)).state)

    def people(self, scene: Scene) -> dict[str, Any]:
        """Rows of the campaign by PSID, without the time of their last change."""
        found = self.rows(
            "SELECT s.psid, to_jsonb(r) - 'updated_at' AS row FROM otn.recipient r"
            " JOIN otn.subscriber s ON s.id = r.subscriber_id WHERE r.campaign_id = %s",
            self.campaign_id(scene),
        )
        return {row.psid: row.row for row in found}

    def written(self, scene: Scene) -> dict[str, Any]:
        """Everything that campaigns of the scene's page have written, to be compared with later."""
        page = "(SELECT id FROM otn.page WHERE connection_id = %s)"
        campaigns = f"(SELECT id FROM otn.campaign WHERE page_id = {page})"
        found = {}
        for table in ("campaign", "audit", "pace"):
            rows = f"SELECT to_jsonb(t)::text FROM otn.{table} t WHERE page_id = {page} ORDER BY 1"
            found[table] = [row[0] for row in self.rows(rows, scene.connection)]
        for table in ("recipient", "exclusion", "attempt"):
            rows = f"SELECT to_jsonb(t)::text FROM otn.{table} t WHERE campaign_id IN {campaigns} ORDER BY 1"
            found[table] = [row[0] for row in self.rows(rows, scene.connection)]
        return found

    def pending(self) -> int:
        """Webhooks that are stored and not yet ingested."""
        with transaction(self.engine) as connection:
            return int(queries("demo").pending_webhooks(connection))

    def settle(self) -> None:
        """Let every webhook on its way arrive and be ingested."""
        self.sandbox.flush(timeout_s=PATIENCE_S)
        while self.pending():
            run = self.airflow.trigger("otn_ingest")
            assert self.end_of(run, "otn_ingest") == "success"

    # ── processes

    def program(self, name: str) -> psutil.Process:
        """The head of a program."""
        pid = Supervisor(self.home).programs()[name].pid
        assert pid
        return psutil.Process(pid)

    def kill_everything(self) -> None:
        """End every process of the home by force, the supervisor and the sandbox too."""
        for _ in range(20):  # one may be born while the others die
            found = of_home(self.home.identity, self.home.pgdata)
            if not found:
                return
            for process in found:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            wait_gone(found, 10)
        raise AssertionError(f"still there: {found}")
