"""The whole system on this machine: up, twice at once, killed, up again, down."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from otn.errors import UsageError
from otn.local import health, machine, startup
from otn.local.environment import home_environment
from otn.local.home import Home
from otn.local.ports import HOST, PortTakenError, free_port, is_free
from otn.local.postgres import database_url
from otn.local.processes import of_home, program_of
from otn.local.supervision import Program, Supervisor, python_path

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

UP = """
import sys
from otn.local.home import Home
from otn.local.machine import up
from otn.local.supervision import Program

class Told:
    def stage(self, name): print("stage", name, file=sys.stderr, flush=True)
    def note(self, text): print("note", text, file=sys.stderr, flush=True)

home, api, extra = sys.argv[1:]
command = (sys.executable, "-m", "http.server", "-b", "127.0.0.1", "-d", sys.prefix, extra)
check = Program("extra", command, health=(int(extra), "/"))
print(up(Home.at(home), api_port=int(api), extra_programs=[check], progress=Told()).to_json())
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    home = Home.at(tmp_path_factory.mktemp("system") / "a home; 100% #1")
    yield home
    machine.down(home)


@pytest.fixture(scope="module")
def ports() -> tuple[int, int]:
    api = free_port()
    return api, free_port(taken={api})


def _begin(home: Home, ports: tuple[int, int]) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", UP, str(home.path), *map(str, ports)]
    environment = dict(os.environ) | {"PYTHONPATH": python_path()}
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def _finish(process: subprocess.Popen[str]) -> dict[str, object]:
    # communicate() ends only when nobody holds the pipes any more: the same as ./otn up | cat.
    with process:
        output, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    return json.loads(output) | {"told": errors}


def _request(port: int, method: str, path: str, body: object = None, **headers: str) -> tuple[int, dict[str, object]]:
    with closing(http.client.HTTPConnection(HOST, port, timeout=30)) as connection:
        text = json.dumps(body) if body is not None else None
        connection.request(method, path, text, {"Content-Type": "application/json"} | headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def _kill_everything(home: Home, eventually: Callable[[Callable[[], object]], object]) -> None:
    for process in of_home(home.identity, home.pgdata):
        process.kill()
    eventually(lambda: not of_home(home.identity, home.pgdata))


def test_the_whole_life_of_a_system(
    home: Home, ports: tuple[int, int], eventually: Callable[[Callable[[], object]], object]
) -> None:
    api, extra = ports
    both = [_begin(home, ports), _begin(home, ports)]
    first, second = sorted((_finish(one) for one in both), key=lambda found: "up already" in found["told"])
    assert "up already" in second["told"]
    for found in (first, second):
        assert found["healthy"] is True
        assert found["api_url"] == f"http://127.0.0.1:{api}"
        assert found["receiver_url"] is None
        assert "No receiver" in first["told"]
    assert first["processes"] == second["processes"]
    heads = [program_of(one) for one in of_home(home.identity, home.pgdata)]
    assert heads.count("supervisord") == 1

    password = json.loads(Path(first["password_file"]).read_text())[first["username"]]
    assert _request(api, "GET", "/api/v2/pools")[0] == 401
    status, answer = _request(api, "POST", "/auth/token", {"username": first["username"], "password": password})
    assert status == 201
    bearer = {"Authorization": f"Bearer {answer['access_token']}"}
    pools = _request(api, "GET", "/api/v2/pools", **bearer)[1]["pools"]
    assert {"otn_send": 4}.items() <= {pool["name"]: pool["slots"] for pool in pools}.items()
    resized = {"pool": "otn_send", "slots": 3, "include_deferred": False}
    assert _request(api, "PATCH", "/api/v2/pools/otn_send", resized, **bearer)[0] == 200

    with pytest.raises(UsageError, match="down"):
        machine.up(home, api_port=free_port(), environ={})
    _kill_everything(home, eventually)
    assert not machine.status(home).healthy
    again = _finish(_begin(home, ports))
    assert again["healthy"] is True
    assert health.answers(extra, "/")
    kept = _request(api, "GET", "/api/v2/pools/otn_send", **bearer)[1]
    assert kept["slots"] == 3, "an operator's change outlives a crash and a start, and so does a login"

    log = "".join(file.read_text(errors="replace") for file in home.path.rglob("*.log*"))
    assert len(log) > 1000
    assert [name for name, secret in (home.secrets() | home.passwords()).items() if secret in log] == []

    connection = psycopg2.connect(_otn_url(home).replace("+psycopg2", ""))
    with closing(connection), connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'otn'")
        assert cursor.fetchone() > (0,)
    held = [api, extra, home.state()["ports"]["postgres"]]
    assert machine.down(home)
    assert of_home(home.identity, home.pgdata) == []
    assert all(is_free(port) for port in held)
    assert not home.run.exists()
    found = machine.status(home)
    assert (found.healthy, found.running, found.api_url) == (False, False, None)


def _otn_url(home: Home) -> str:
    assert home_environment(home, {})
    password = home.secrets()["OTN_POSTGRES_OTN_PASSWORD"]
    return database_url(home.state()["ports"]["postgres"], "otn", "otn", password)


def test_a_start_that_fails_names_the_log_and_leaves_nothing(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "home")
    script = "import os, sys; print('because of', os.environ['OTN_HASH_KEY']); sys.exit(3)"
    broken = Program("broken", (sys.executable, "-c", script))
    try:
        with pytest.raises(startup.StartError) as caught:
            machine.up(home, extra_programs=[broken], environ={"PATH": os.environ["PATH"]})
        assert str(home.logs / "broken.log") in str(caught.value)
        assert "because of ***" in str(caught.value)
        assert home.secrets()["OTN_HASH_KEY"] not in str(caught.value)
        assert of_home(home.identity, home.pgdata) == []
        assert Supervisor(home).programs() == {}
    finally:
        machine.down(home)


def test_a_wanted_port_that_is_taken_is_told_before_anything_starts(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "home")
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(PortTakenError, match=str(port)):
            machine.up(home, api_port=port, environ={})
        with pytest.raises(UsageError, match="share"):
            machine.up(home, api_port=port + 1, receiver_port=port + 1, environ={})
    assert of_home(home.identity, home.pgdata) == []
