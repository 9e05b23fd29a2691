from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import psycopg2
import pytest
from sqlalchemy import create_engine, make_url, text

from otn.local import logins, postgres
from otn.local.account import postgres_account
from otn.local.home import Home
from otn.local.postgres import PostgresError, Server
from otn.local.processes import serving
from otn.local.supervision import python_path


def _ask(url: str, statement: str) -> str:
    engine = create_engine(url)
    with engine.connect() as connection:
        result = connection.execute(text(statement)).scalar()
    engine.dispose()
    return str(result)


def test_a_temporary_server_works_is_durable_and_leaves_nothing() -> None:
    with postgres.temporary_server({"log_min_messages": "info"}) as url:
        data = Path(_ask(url, "SHOW data_directory"))
        for name, value in {
            "fsync": "on",
            "synchronous_commit": "on",
            "full_page_writes": "on",
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "log_min_messages": "info",
            "TimeZone": "UTC",
        }.items():
            assert _ask(url, f"SHOW {name}") == value
        head = int((data / "postmaster.pid").read_text().splitlines()[0])
        servers = serving(data)
        assert head in {process.pid for process in servers}
    assert not psutil.pid_exists(head)
    assert not serving(data)
    assert not data.parents[1].exists()


def test_it_ends_too_when_the_block_fails() -> None:
    seen = []

    def fail() -> None:
        with postgres.temporary_server() as url:
            seen.append(Path(_ask(url, "SHOW data_directory")))
            raise PostgresError("mine")

    with pytest.raises(PostgresError, match="mine"):
        fail()
    assert not serving(seen[0])
    assert not seen[0].exists()


def test_it_ends_too_when_the_tests_are_killed(eventually: Callable[[Callable[[], object]], object]) -> None:
    script = (
        "import time\nfrom otn.local.postgres import temporary_server\n"
        "with temporary_server() as url:\n    print(url, flush=True)\n    time.sleep(600)\n"
    )
    environment = dict(os.environ) | {"PYTHONPATH": python_path()}
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment) as tests:
        assert tests.stdout
        data = Path(_ask(tests.stdout.readline().strip(), "SHOW data_directory"))
        tests.kill()
    assert data.exists()
    eventually(lambda: not data.parents[1].exists())
    assert not serving(data)


def test_nobody_connects_without_the_password() -> None:
    with postgres.temporary_server() as url:
        for password in ("", "wrong"):
            wrong = make_url(url).set(password=password)
            with pytest.raises(psycopg2.OperationalError, match="password"):
                psycopg2.connect(
                    host=wrong.host, port=wrong.port, user=wrong.username, password=password, dbname="postgres"
                )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's Postgres has an account of its own")
def test_under_root_it_runs_as_another_account_that_sees_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTN_ENCRYPTION_KEYS", "TOPSECRET")
    with postgres.temporary_server() as url:
        head = min(serving(Path(_ask(url, "SHOW data_directory"))), key=lambda process: process.pid)
        assert 0 not in head.uids()
        assert 0 not in head.gids()
        assert "TOPSECRET" not in head.environ().values()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Server:
    account = postgres_account()
    data = tmp_path_factory.mktemp("server") / "postgres" / "data"
    postgres.prepare(data, account)
    postgres.initialise(data, "secret", account, sync=False)
    return Server(data, 0, "secret", account)


@pytest.fixture
def running(server: Server, tmp_path: Path) -> Server:
    """A server on a copy of the data directory, and its end."""
    data = tmp_path / "postgres" / "data"
    postgres.prepare(data, server.account)
    shutil.copytree(server.data, data)
    for path in (data, *data.rglob("*")):
        postgres.own(path, server.account)
    return Server(data, 0, "secret", server.account)


def test_roles_are_no_superusers_and_own_their_database(running: Server) -> None:
    process, port = postgres._start(running, [])
    try:
        here = Server(running.data, port, "secret", running.account)
        for password in ("first", "second"):  # twice, with another password: the newest holds
            logins.ensure_database(here, "otn", "otn", password)
        assert _ask(here.url("otn", "otn", "second"), "SELECT rolsuper FROM pg_roles WHERE rolname = 'otn'") == "False"
        assert _ask(here.url("otn", "otn", "second"), "SHOW server_encoding") == "UTF8"
        with pytest.raises(psycopg2.OperationalError):
            psycopg2.connect(here.url("otn", "otn", "first").replace("+psycopg2", ""))
        assert "'secret'" not in repr(here)
        for password in ("first", "second"):
            logins.ensure_login(here, "otn_login_receiver", password, "otn_receiver")
        login = here.url("otn", "otn_login_receiver", "second")
        assert _ask(login, "SELECT pg_has_role('otn_receiver', 'USAGE') AND NOT pg_has_role('otn', 'MEMBER')") == "True"
        assert _ask(login, "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'otn_receiver'") == "False"
    finally:
        postgres._stop(process)


def test_it_comes_up_after_a_hard_kill_although_the_old_number_lives_again(
    running: Server, eventually: Callable[[Callable[[], object]], object]
) -> None:
    process, port = postgres._start(running, [])
    here = Server(running.data, port, "secret", running.account)
    logins.ensure_database(here, "otn", "otn", "pw")
    servers = serving(running.data)
    process.send_signal(signal.SIGKILL)
    process.wait()
    eventually(lambda: not serving(running.data))
    assert len(servers) > 1
    lock = running.data / "postmaster.pid"
    lock.write_text(lock.read_text().replace(str(process.pid), str(os.getpid()), 1))
    postgres.remove_stale_lock(running.data)
    process, port = postgres._start(running, [])
    try:
        assert _ask(Server(running.data, port, "secret").url("otn"), "SELECT 1") == "1"
        postgres.remove_stale_lock(running.data)
        assert lock.exists(), "a living server keeps its lock"
    finally:
        postgres._stop(process)


def test_a_wrong_password_is_told_at_once(running: Server) -> None:
    process, port = postgres._start(running, [])
    try:
        with pytest.raises(PostgresError, match=r"secrets\.env"):
            postgres.wait_ready(Server(running.data, port, "wrong"), gone=lambda: False)
        with pytest.raises(PostgresError, match="has ended"):
            postgres.wait_ready(Server(running.data, 1, "secret"), gone=lambda: True)
        with pytest.raises(PostgresError, match="does not answer"):
            postgres.wait_ready(Server(running.data, 1, "secret"), gone=lambda: False, timeout_s=0)
    finally:
        postgres._stop(process)


def test_an_interrupted_initdb_is_done_again(home: Home) -> None:
    account = postgres_account()
    postgres.prepare(home.pgdata, account)
    half = home.postgres / "data.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18")
    postgres.own(half, account)
    postgres.initialise(home.pgdata, "pw", account, sync=False)
    assert (home.pgdata / "global" / "pg_control").exists()
    assert not half.exists()
    assert sorted(path.name for path in home.postgres.iterdir()) == ["data"], "no password file stays behind"


def test_a_refusal_of_initdb_is_told_and_leaves_no_data(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(postgres.SETTINGS, "shared_buffers", "lots")
    postgres.prepare(home.pgdata, postgres_account())
    with pytest.raises(PostgresError, match=r"initdb cannot .*shared_buffers"):
        postgres.initialise(home.pgdata, "pw", postgres_account())
    assert list(home.postgres.iterdir()) == []
