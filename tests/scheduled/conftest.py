"""A running system of its own for campaign files: they are dropped into it while it runs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from otn.local.home import Home

pytest.register_assert_rewrite("tests.scheduled.files", "tests.system.machinery")

from tests.scheduled.files import DAY, dag_id, drop, opt_in  # noqa: E402 - after the line above
from tests.system.machinery import System, eventually, running  # noqa: E402
from tests.system.scenes import Scene  # noqa: E402

PEOPLE_A_DAY = 2
DAYS = 5
LATE = ("send", "ask", "cancel")


@pytest.fixture(scope="package")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    scenes = [Scene(f"late_{what}", PEOPLE_A_DAY * DAYS, opt_in=False) for what in LATE]
    system = System(
        Home.at(tmp_path_factory.mktemp("scheduled") / "home"),
        [*scenes, Scene("minutely", 6, opt_in=False), Scene("moment", 2)],
        reading_s=30,  # as everybody has it
    )
    with running(system):
        yield system


@pytest.fixture(scope="package")
def days() -> list[datetime]:
    """Starts of five days that are over and that no run was made for."""
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return [midnight - (7 - number) * DAY for number in range(DAYS)]


@pytest.fixture(scope="package")
def missed(system: System, days: list[datetime]) -> System:
    """Three daily campaigns that missed five days, each with its own answer to being late."""
    for what in LATE:
        scene = system.scenes[f"late_{what}"]
        for number, day in enumerate(days):
            people = scene.people[number * PEOPLE_A_DAY :][:PEOPLE_A_DAY]
            opt_in(system, scene, people, day + DAY / 2)
        drop(
            system,
            scene,
            if_late=what,
            approval=what == "ask",
            schedule={"cron": "0 0 * * *", "timezone": "UTC"},
            start=days[0].isoformat(),
            stop=(days[-1] + DAY).isoformat(),
        )
    system.sandbox.flush()
    return system


@pytest.fixture(scope="package")
def held(missed: System) -> System:
    """The file of a campaign that waits for its moment is taken away; Airflow needs a minute or two to see it."""
    system = missed
    scene = system.scenes["moment"]
    moment = datetime.now(UTC) + timedelta(hours=1)
    schedule = {"at": moment.isoformat(), "timezone": "UTC"}
    path = drop(system, scene, audience={}, approval=True, schedule=schedule)

    def agreed_and_waiting() -> bool:
        for question in system.airflow.open_questions(dag_id(scene), "~"):
            system.airflow.answer(question, "Approve")
        found = system.call("GET", f"dags/{dag_id(scene)}/dagRuns/~/taskInstances", accepted=(404,))
        tasks = {one["task_id"]: one["state"] for one in found.get("task_instances", ())}
        return tasks.get("wait_for_send_at") == "up_for_reschedule"

    eventually(agreed_and_waiting, "a campaign that waits for its moment")
    path.unlink()
    return system
