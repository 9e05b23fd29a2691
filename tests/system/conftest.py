"""One running system for all tests of this folder: a real Airflow, Postgres, receiver, and the sandbox as the platform.

A blow takes a minute and more to heal, as leases and heartbeats must run out. So it falls in a fixture, other tests use
the wait, and the test that looks at the outcome comes last; ``ORDER`` says how.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from otn.local.home import Home
from otn.local.processes import end_home, serving

pytest.register_assert_rewrite("tests.system.accounts", "tests.system.machinery")

from tests.system.hits import Hit, hit, sender  # noqa: E402 - after the line above
from tests.system.machinery import System, eventually  # noqa: E402

ORDER = (
    "test_ingest.py",
    "test_input.py",  # while killed senders are missed
    "test_halt.py",  # likewise
    "test_killed_senders.py",
    "test_repeats.py",  # while the leases of a killed scheduler's senders run out
    "test_killed_scheduler.py",
    "test_killed_system.py",
    "test_database_away.py",
    "test_traces.py",
    "test_down.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bring this folder's files into the order above, wherever they stand among the others."""
    here = Path(__file__).parent
    places = [place for place, item in enumerate(items) if item.path.parent == here]
    ours = sorted((items[place] for place in places), key=lambda item: ORDER.index(item.path.name))
    for place, item in zip(places, ours, strict=True):
        items[place] = item


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    system = System(Home.at(tmp_path_factory.mktemp("system") / "home"))
    try:
        system.make()
        yield system
    finally:
        try:
            system.close()
        finally:
            end_home(system.home.identity, system.home.pgdata, grace_s=0)


@pytest.fixture(scope="session")
def opted_in(system: System) -> System:
    """Everyone's opt-ins were delivered and, by no one's doing, ingested."""
    system.sandbox.flush(timeout_s=300)
    eventually(lambda: not system.pending(), "the scheduled ingest")
    return system


@pytest.fixture(scope="session")
def killed_senders(opted_in: System) -> dict[str, Hit]:
    """Three campaigns at once: of one the sending process dies, of one its parent, of one both."""
    system = opted_in
    scenes = [system.scenes[name] for name in ("task_killed", "worker_killed", "orphaned")]
    runs = {scene.name: system.trigger(scene) for scene in scenes}

    def kill(name: str, *, process: bool, parent: bool) -> None:
        victim = sender(system, system.scenes[name])
        worker = victim.parent()
        assert worker
        if parent:
            worker.kill()
        if process:
            victim.kill()

    blows = {
        "task_killed": lambda: kill("task_killed", process=True, parent=False),
        "worker_killed": lambda: kill("worker_killed", process=True, parent=True),
        "orphaned": lambda: kill("orphaned", process=False, parent=True),
    }
    return {
        scene.name: hit(system, scene, runs[scene.name], blows[scene.name], senders_die=scene.name != "orphaned")
        for scene in scenes
    }


@pytest.fixture(scope="session")
def killed_scheduler(opted_in: System) -> Hit:
    """The scheduler dies; what it had started lives on until the next one is started."""
    scene = opted_in.scenes["scheduler_killed"]
    return hit(opted_in, scene, opted_in.trigger(scene), opted_in.program("scheduler").kill)


@pytest.fixture(scope="session")
def killed_system(opted_in: System) -> Hit:
    """Everything dies, the platform's stand-in too; then ``up`` again."""
    scene = opted_in.scenes["all_killed"]
    run = opted_in.trigger(scene)

    def kill_and_start() -> None:
        opted_in.kill_everything()
        opted_in.up()

    return hit(opted_in, scene, run, kill_and_start)


@pytest.fixture(scope="session")
def killed_database(opted_in: System) -> Hit:
    """The head of Postgres dies; the supervisor starts another one."""
    scene = opted_in.scenes["database_killed"]
    return hit(opted_in, scene, opted_in.trigger(scene), opted_in.program("postgres").kill, senders_die=False)


@pytest.fixture(scope="session")
def hanging_database(opted_in: System, killed_database: Hit) -> Hit:
    """Postgres answers nobody for 20 s, then goes on as if nothing had been."""
    scene = opted_in.scenes["database_hangs"]
    run = opted_in.trigger(scene)

    def stop_for_a_while() -> None:
        stopped = serving(opted_in.home.pgdata)
        for process in stopped:
            process.suspend()
        try:
            psutil.wait_procs(stopped, timeout=20)
        finally:
            for process in stopped:
                process.resume()

    return hit(opted_in, scene, run, stop_for_a_while, senders_die=False)
