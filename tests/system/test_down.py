"""``./otn down``, whatever was killed before: nothing of the home runs, nothing of it is held."""

from __future__ import annotations

import psutil
import pytest

from otn.local import machine
from otn.local.ports import is_free
from otn.local.processes import of_home
from tests.system.machinery import System

pytestmark = [pytest.mark.system, pytest.mark.timeout(1200)]


def _listening(system: System) -> set[int]:
    found = set()
    for process in of_home(system.home.identity, system.home.pgdata):
        try:
            held = process.net_connections(kind="tcp")
        except psutil.Error:
            continue
        found |= {one.laddr.port for one in held if one.status == psutil.CONN_LISTEN}
    return found


def test_down_leaves_no_process_and_no_port(system: System) -> None:
    home = system.home
    held = _listening(system)
    assert {*home.state()["ports"].values(), home.state()["sandbox_port"]} <= held
    assert machine.down(home)
    assert of_home(home.identity, home.pgdata) == []
    assert [port for port in held if not is_free(port)] == []
    assert not home.run.exists()
    assert machine.status(home).api_url is None
    assert not machine.down(home), "the second time there is nothing"
