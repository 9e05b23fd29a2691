"""One running system for all tests of this folder: a real Airflow, Postgres, receiver, and the sandbox as the platform.

A blow takes a minute and more to heal, as leases and heartbeats must run out. So it falls in a fixture, other tests use
the wait, and the test that looks at the outcome comes last; ``ORDER`` says how.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from otn.local.home import Home
from otn.local.processes import serving

pytest.register_assert_rewrite("tests.system.accounts", "tests.system.machinery")

from tests.system.hits import Hit, frozen_in_mid_chunk, hit, hit_each  # noqa: E402 - after the line above
from tests.system.machinery import System, eventually, running  # noqa: E402

ORDER = (
    "test_ingest.py",
    "test_input.py",  # while killed senders are missed
    "test_halt.py",  # likewise
    "test_permission.py",  # likewise
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
    with running(System(Home.at(tmp_path_factory.mktemp("system") / "home"))) as system:
        yield system


@pytest.fixture(scope="session")
def opted_in(system: System) -> System:
    """Everyone's opt-ins were delivered and, by no one's doing, ingested."""
    system.sandbox.flush(timeout_s=300)
    eventually(lambda: not system.pending(), "the scheduled ingest")
    return system


@pytest.fixture(scope="session")
def killed_senders(opted_in: System) -> dict[str, Hit]:
    """Campaigns at once, each with its own blow: killed in three ways, cleared, marked failed and triggered again."""
    system = opted_in
    stopped: dict[str, psutil.Process] = {}

    def while_stopped(name: str, blow: Callable[[], object]) -> None:
        """A click takes its time: the sender does not go on meanwhile, perhaps to its end."""
        stopped[name] = frozen_in_mid_chunk(system, system.scenes[name])
        blow()

    blows: dict[str, Callable[[], object]] = {
        "task_killed": lambda: _kill_sender(system, "task_killed", parent=False),
        "worker_killed": lambda: _kill_sender(system, "worker_killed"),
        "orphaned": lambda: stopped.update(orphaned=_kill_sender(system, "orphaned", itself=False)),
        "cleared": lambda: while_stopped("cleared", lambda: system.clear(runs["cleared"])),
        "marked": lambda: while_stopped("marked", lambda: _mark_and_trigger(system, "marked", runs)),
    }
    runs = {name: system.trigger(system.scenes[name]) for name in blows}
    hits = hit_each(system, blows, {"orphaned"}, stopped)
    return {name: replace(found, run=runs[name]) for name, found in hits.items()}


def _kill_sender(system: System, name: str, *, itself: bool = True, parent: bool = True) -> psutil.Process:
    """End the process that makes the calls, or Airflow's own one that watches it, or both; an orphan stays stopped."""
    process = frozen_in_mid_chunk(system, system.scenes[name])
    watcher = process.parent()
    assert watcher
    if parent:
        watcher.kill()
    if itself:
        process.kill()
    return process


def _mark_and_trigger(system: System, name: str, runs: dict[str, str]) -> None:
    system.call("PATCH", f"dags/otn_broadcast/dagRuns/{runs[name]}", json={"state": "failed"})
    runs[name] = system.trigger(system.scenes[name])


@pytest.fixture(scope="session")
def killed_scheduler(opted_in: System) -> Hit:
    """The scheduler dies; what it had started lives on until the next one is started."""
    scene = opted_in.scenes["scheduler_killed"]
    run = opted_in.trigger(scene)
    return replace(hit(opted_in, scene, opted_in.program("scheduler").kill), run=run)


@pytest.fixture(scope="session")
def killed_system(opted_in: System) -> Hit:
    """Everything dies, the platform's stand-in too; then ``up`` again."""
    scene = opted_in.scenes["all_killed"]
    run = opted_in.trigger(scene)

    def kill_and_start() -> None:
        opted_in.kill_everything()
        opted_in.up()

    return replace(hit(opted_in, scene, kill_and_start), run=run)


@pytest.fixture(scope="session")
def killed_database(opted_in: System) -> Hit:
    """The head of Postgres dies; the supervisor starts another one."""
    scene = opted_in.scenes["database_killed"]
    run = opted_in.trigger(scene)
    return replace(hit(opted_in, scene, opted_in.program("postgres").kill, senders_die=False), run=run)


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

    return replace(hit(opted_in, scene, stop_for_a_while, senders_die=False), run=run)
