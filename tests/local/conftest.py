"""Homes of this area's tests; whatever a test leaves running is ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from otn.local.home import Home
from otn.local.processes import end_home


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A home that was made but not started; ends all its processes afterwards."""
    home = Home.at(tmp_path / "home")
    home.create()
    yield home
    end_home(home.identity, home.pgdata, grace_s=0)


@pytest.fixture
def eventually() -> Callable[[Callable[[], object]], object]:
    """Wait for something to become true; the bound is no measure, only an end to waiting."""

    def wait(happened: Callable[[], object], patience_s: float = 60) -> object:
        deadline = time.monotonic() + patience_s
        while not (result := happened()):
            if time.monotonic() > deadline:
                pytest.fail("it never happened")
            time.sleep(0.05)
        return result

    return wait
