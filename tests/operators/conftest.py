"""A running system whose operators do everything at the console: one story, told once and looked at by many tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from otn.local.home import Home
from otn.local.processes import end_home
from tests.programs import require

pytest.register_assert_rewrite("tests.operators.desk", "tests.system.machinery", "tests.system.accounts")

from tests.system.machinery import System  # noqa: E402 - after the line above
from tests.system.scenes import Scene  # noqa: E402

PEOPLE = 60
RATE = 1.25  # a second: slow enough to press a button in the middle
USERS = {"ann": "user", "bob": "user", "vera": "viewer"}


@pytest.fixture(scope="package")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    require("chromium", "chromium")
    scenes = [Scene("spring", PEOPLE, RATE, opt_in=False), Scene("summer", PEOPLE, RATE)]
    system = System(Home.at(tmp_path_factory.mktemp("operators") / "home"), scenes)
    system.environment |= {"OTN_USERS": ",".join(f"{name}:{role}" for name, role in USERS.items())}
    try:
        system.make()
        yield system
    finally:
        try:
            system.close()
        finally:
            end_home(system.home.identity, system.home.pgdata, grace_s=0)


@pytest.fixture(scope="module")
def browser(system: System, story: Any) -> Iterator[Any]:
    """No longer than needed: while it is open an event loop runs in this thread, and other tests have their own."""
    from tests.scheduled.browser import chromium

    with chromium() as found:
        yield found


@pytest.fixture(scope="package")
def story(system: System) -> Any:
    """What happened, once it has happened; each test reads a part of it."""
    from tests.operators.story import tell
    from tests.scheduled.browser import chromium

    with chromium() as browser:
        return tell(system, browser)
