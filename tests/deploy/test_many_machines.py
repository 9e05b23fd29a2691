"""Two schedulers, two workers, one campaign: a worker is killed, the other one cut off from Postgres, Postgres stopped.

The large play is asked for by ``OTN_LONG=1`` (docs/chaos.md, Many machines).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psutil
import pytest

from benchmarks.stage import Cluster
from otn.database import DatabaseError, Engine, make_engine, transaction
from otn.local.demo.airflow_api import AirflowApi, AirflowApiError
from otn.local.dotenv import read_dotenv
from otn.settings import DEFAULT_ANSWERS_SHARE, database_url, read_connection
from sandbox.control_client import Sandbox
from tests.chaos.checker import History, check
from tests.chaos.record import history
from tests.deploy.machine import Machine
from tests.deploy.passage import Passage
from tests.deploy.plays import PLAYS, Play

WORKERS = {"worker-1": (), "worker-2": ("--celery-hostname", "worker-2@%h")}
KILL_AT, CUT_AT, AWAY_AT = 0.1, 0.15, 0.4  # of the people are answered
# The first call of a slice begins when it is claimed, and all its answers are written at once.
IN_CALLS = """
    SELECT i.sender FROM otn.attempt i JOIN otn.campaign c ON c.id = i.campaign_id
    WHERE c.key = %s AND i.step = 'intent'
      AND i.at BETWEEN clock_timestamp() - interval '1 s' AND clock_timestamp() - interval '0.3 s'
      AND NOT EXISTS (SELECT FROM otn.attempt a WHERE a.attempt_id = i.attempt_id AND a.step = 'answer')
    LIMIT 1
"""

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(1800),
]


@dataclass
class Story:
    """A play that is over.

    Args:
        play: which.
        run_state: of the run of ``otn_broadcast``.
        caught: connections of the worker that was cut off.
        senders: the worker of each process that made calls.
        restarts: services that ended and were started again.
        seconds: from the trigger to the end of the run.
    """

    play: Play
    run_state: str = ""
    caught: int = 0
    senders: dict[str, str] = field(default_factory=dict)
    restarts: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


class Stage:
    """One page of the deployment.

    Args:
        machine: the deployment.
        platform: the sandbox.
        play: which campaign.
    """

    def __init__(self, machine: Machine, platform: Sandbox, play: Play) -> None:
        self.machine = machine
        self.platform = platform
        self.play = play
        self.page_id = machine.pages[play.connection]
        connection = read_connection("otn_db", machine.environment("cli"))
        self.engine: Engine = make_engine(database_url(connection), application_name="otn checker")
        password = read_dotenv(machine.dotenv)["DEPLOY_ADMIN_PASSWORD"]
        self.airflow = AirflowApi(machine.api_url, "admin", password)
        self.senders: dict[str, str] = {}

    def populate(self) -> None:
        """Register the page and its topic, and bring in everybody who opted in."""
        page, topic = self.play.connection, self.play.name
        self.machine.run("cli", "pages", "add", page)
        self.machine.run("cli", "topics", "add", topic, "--title", "When it is back", "--page", page)
        self.platform.people(self.page_id, self.play.people)
        rows = self.platform.optins(self.page_id, topic, webhook=False, list_tokens=True, age_s=60, spread_s=86_400)[
            "rows"
        ]
        file = self.machine.folder / f"{topic}.jsonl"
        with file.open("w", encoding="utf-8") as lines:
            for row in rows:
                opted_in = {"psid": row["psid"], "token": row["token"], "opted_in_at": row["opted_in_at"]}
                lines.write(json.dumps(opted_in | {"payload": topic}) + "\n")
        self.machine.run("cli", "import", str(file), "--page", page)
        slow = {"kind": "delay", "delay_ms": self.play.slow_ms, "page_id": self.page_id, "count": self.play.people}
        self.platform.faults(next=[slow] if self.play.slow_ms else [])

    def trigger(self) -> str:
        """Start the campaign."""
        self.airflow.wait_for_dag("otn_broadcast")
        conf = {"campaign": self.play.name, "page": self.play.connection, "topic": self.play.name}
        return self.airflow.trigger("otn_broadcast", conf | {"text": "It is back.", "approval": False})

    def sql(self, statement: str, *values: Any) -> list[Any]:
        """Rows of any statement."""
        with transaction(self.engine) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall()

    def answered(self) -> int:
        """People whose call was answered; notes which worker each sender belongs to."""
        found = self.sql(
            "SELECT count(*) AS answers, array_agg(DISTINCT r.sender) AS senders FROM otn.attempt r"
            " JOIN otn.campaign c ON c.id = r.campaign_id WHERE c.key = %s AND r.step = 'answer'",
            self.play.name,
        )[0]
        for sender in set(found.senders or ()) - self.senders.keys():
            with suppress(psutil.NoSuchProcess):  # it gave its place to others
                self.senders[sender] = self._worker_of(sender) or "killed"
        return int(found.answers)

    def wait_answered(self, share: float) -> None:
        """Wait until so many are."""
        wanted = self.play.people * share
        self.machine.wait(f"{share:.0%} of the answers", lambda: self.answered() >= wanted, self.play.within_s)

    def calling(self) -> str:
        """Wait until people were called and nothing is written of their answers yet; the worker that calls them."""
        found: list[str | None] = []

        def called() -> bool:
            with suppress(psutil.NoSuchProcess):  # it gave its place to others
                found[:] = [self._worker_of(row.sender) for row in self.sql(IN_CALLS, self.play.name)]
            return bool(found)

        self.machine.wait("people in their calls", called, self.play.within_s)
        (name,) = found
        assert name
        return name

    def _worker_of(self, sender: str) -> str | None:
        return self.machine.name_of(int(sender.rpartition("/")[2]))

    def end_of(self, run: str) -> str:
        """Wait until the run is over, whatever does not answer meanwhile."""
        end = time.monotonic() + self.play.within_s
        while time.monotonic() < end:
            try:
                self.answered()
                if self.airflow.ended("otn_broadcast", run):
                    return self.airflow.state("otn_broadcast", run)
            except (AirflowApiError, DatabaseError):
                pass
            time.sleep(0.5)
        raise AssertionError(f"the run is not over within {self.play.within_s:.0f} s")

    def history(self) -> History:
        """Everything that is known, from both sides; the page has one campaign."""
        key = self.play.name
        return history(
            self.platform,
            self.page_id,
            self.sql,
            self.sql("SELECT page_id FROM otn.campaign WHERE key = %s", key)[0].page_id,
            people={person["psid"] for person in self.platform.persons(self.page_id)},
            key_of=lambda _: key,
            campaigns=[key],
        )

    def close(self) -> None:
        self.engine.dispose()


@pytest.fixture(scope="module")
def two_schedulers(machine: Machine) -> Iterator[Machine]:
    """A second scheduler beside the first, for these tests alone."""
    machine.start("scheduler", "scheduler-2")
    machine.wait(
        "the second scheduler", lambda: machine.healthy(f"http://127.0.0.1:{machine.ports['health-2']}/health")
    )
    yield machine
    machine.kill("scheduler-2")


@pytest.fixture(scope="module", params=PLAYS, ids=lambda play: play.name)
def stage(request: pytest.FixtureRequest, two_schedulers: Machine, platform: Sandbox) -> Iterator[Stage]:
    stage = Stage(two_schedulers, platform, request.param)
    yield stage
    stage.close()


@pytest.fixture(scope="module")
def story(stage: Stage, cluster: Cluster, passage: Passage) -> Iterator[Story]:
    """The campaign runs; one worker goes, the other one hears nothing of Postgres for a while."""
    machine, play = stage.machine, stage.play
    stage.populate()
    began, run = time.monotonic(), stage.trigger()
    with machine.restarting():
        stage.wait_answered(KILL_AT)
        gone = stage.calling()
        machine.kill(gone)
        print(f"{play.name}: {gone} killed after {time.monotonic() - began:.0f} s")
        story = _go_on(stage, cluster, passage, run, began)
    yield story
    ready = machine.log(gone).count(" ready.")
    machine.start("worker", gone, *WORKERS[gone])
    machine.wait(gone, lambda: machine.log(gone).count(" ready.") > ready)


def _go_on(stage: Stage, cluster: Cluster, way: Passage, run: str, began: float) -> Story:
    play, story = stage.play, Story(stage.play)
    stage.wait_answered(CUT_AT)
    story.caught = way.cut()
    time.sleep(play.cut_s)  # the length of the outage itself
    way.mend()
    print(f"{play.name}: cut off for {play.cut_s:.0f} s, {story.caught} connections caught")
    if play.away_s:
        stage.wait_answered(AWAY_AT)
        cluster.stop()
        print(f"{play.name}: Postgres stopped after {time.monotonic() - began:.0f} s, for {play.away_s:.0f} s")
        time.sleep(play.away_s)
        cluster.start()
    story.run_state = stage.end_of(run)
    story.seconds = time.monotonic() - began
    story.senders, story.restarts = stage.senders, dict(stage.machine.restarts)
    return story


def test_the_campaign_ends_without_a_person(story: Story) -> None:
    print(f"{story.play.name}: {story.seconds:.0f} s, senders {story.senders}, started again {story.restarts}")
    assert story.run_state == "success"
    assert story.caught > 0
    assert len(story.senders) > 1


def test_nobody_saw_it_twice_nobody_is_lost_and_every_row_is_true(story: Story, stage: Stage) -> None:
    found = check(stage.history())
    print(f"{story.play.name}: {dict(found.figures)} undecidable {dict(found.undecidable)}")
    assert [str(one) for one in found.violations] == []
    assert (
        found.figures["visible"] == story.play.people < found.figures["calls"]
    )  # whoever was in doubt, was asked about
    assert not found.undecidable


def test_the_pace_holds_across_machines(story: Story, stage: Stage) -> None:
    measured = stage.platform.pace()[stage.page_id]
    print(f"{story.play.name}: {measured}")
    one_call = max(1, int(story.play.rate * (1 - DEFAULT_ANSWERS_SHARE) / 10))
    assert measured["most_calls_in_1s"] <= story.play.rate + one_call
