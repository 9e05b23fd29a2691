"""One start of the system, stage by stage; every wait ends with success or with the log to read."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from otn import database, settings
from otn.errors import OtnError
from otn.local import health, logins, postgres
from otn.local.account import postgres_account
from otn.local.environment import program_environment, without_secrets
from otn.local.files import write_private
from otn.local.home import Home
from otn.local.pools import missing_pools
from otn.local.postgres import Server
from otn.local.processes import HOME_MARK, POSTGRES
from otn.local.programs import (
    DAG_PROCESSOR,
    RECEIVER,
    SCHEDULER,
    airflow_command,
    postgres_program,
    system_programs,
)
from otn.local.progress import Progress
from otn.local.supervision import RUNNING, Program, ProgramState, Supervisor

_POLL_S = 0.2
_TAIL_LINES = 15
_TAIL_BYTES = 16_384
_MAX_STARTS = 3  # a program that had to be started this often will not come up
_ENDED = {"BACKOFF", "FATAL", "EXITED", "STOPPED"}


class StartError(OtnError):
    """The system did not start. Read the logs in its home."""


class Startup:
    """One start.

    Args:
        home: what to start; its ports are chosen.
        supervisor: of that home.
        caller: connections and settings that the operator gave.
        progress: told what happens.
        timeout_s: patience for all of it, in seconds.
    """

    def __init__(
        self, home: Home, supervisor: Supervisor, caller: Mapping[str, str], progress: Progress, timeout_s: float
    ) -> None:
        self._home = home
        self._supervisor = supervisor
        self._progress = progress
        self._timeout_s = timeout_s
        self._deadline = time.monotonic() + timeout_s
        self._ports: dict[str, int] = home.state()["ports"]
        self._environment = program_environment(home, caller, self._ports)

    def run(self, extra: tuple[Program, ...], prepare: Callable[[Mapping[str, str]], None] | None) -> None:
        """Start everything and wait until it is healthy.

        Args:
            extra: further programs, started with the database.
            prepare: called with the environment once the databases are migrated.

        Raises:
            StartError: a part did not come up.
        """
        system = system_programs(self._environment, self._ports)
        extra = tuple(program if program.environment else self._with_environment(program) for program in extra)
        self._progress.stage("starting the database")
        server = self._prepare_postgres()
        self._supervisor.start([postgres_program(self._home, server), *extra, *system])
        for program in extra:
            self._supervisor.start_program(program.name)
        self._start_postgres(server)
        self._progress.stage("migrating the databases")
        self._migrate()
        if prepare:
            prepare(self._environment)
        checks = {program.name: program.health for program in (*extra, *system) if program.health}
        self._home.save_state(health=checks)
        if not any(program.name == RECEIVER for program in system):
            self._progress.note(
                "No receiver: no page has both an app_secret and a verify_token in its connection's extra. "
                "Add them to receive webhooks."
            )
        self._start_airflow(program.name for program in system)
        self.wait_healthy()

    def wait_healthy(self) -> None:
        """Start what does not run and wait until everything answers.

        Raises:
            StartError: a part did not come up.
        """
        self._progress.stage("waiting until all is healthy")
        states = self._supervisor.programs()
        for name in states:
            self._supervisor.start_program(name)
        self._wait("the system", self._all_healthy)

    def _with_environment(self, program: Program) -> Program:
        return replace(program, environment=self._environment)

    def _prepare_postgres(self) -> Server:
        server = self._server()
        postgres.prepare(server.data, server.account)
        if not server.data.exists():
            postgres.initialise(server.data, server.password, server.account)
        postgres.remove_stale_lock(server.data)
        return server

    def _server(self) -> Server:
        password = self._home.secrets()["OTN_POSTGRES_PASSWORD"]
        return Server(self._home.pgdata, self._ports["postgres"], password, postgres_account())

    def _start_postgres(self, server: Server) -> None:
        self._supervisor.start_program(POSTGRES)
        try:
            left = max(1.0, self._deadline - time.monotonic())
            postgres.wait_ready(server, gone=lambda: self._state(POSTGRES) in _ENDED, timeout_s=left)
        except postgres.PostgresError as error:
            raise self._failure(str(error), POSTGRES) from None
        secrets = self._home.secrets()
        for name, role, password in (
            (postgres.OTN_DATABASE, postgres.OTN_ROLE, "OTN_POSTGRES_OTN_PASSWORD"),
            (postgres.AIRFLOW_DATABASE, postgres.AIRFLOW_ROLE, "OTN_POSTGRES_AIRFLOW_PASSWORD"),
        ):
            logins.ensure_database(server, name, role, secrets[password])
        for kind in logins.KINDS:
            logins.ensure_login(server, kind.login, secrets[kind.secret], kind.role)

    def _migrate(self) -> None:
        connection = settings.read_connection(settings.DATABASE_CONNECTION, self._environment)
        with ThreadPoolExecutor(1) as pool:
            ours = pool.submit(database.migrate, settings.database_url(connection))
            self._airflow("airflow-migrate", "db", "migrate")
            ours.result()

    def _start_airflow(self, names: Iterable[str]) -> None:
        self._progress.stage("starting Airflow")
        for name in names:
            if name != SCHEDULER:
                self._supervisor.start_program(name)
        self._make_pools()
        # Tasks talk to the API server: a scheduler that is faster would see its first tasks fail.
        self._wait("the API server", lambda: health.answers(self._ports["api"], health.AIRFLOW_HEALTH))
        self._supervisor.start_program(SCHEDULER)

    def _make_pools(self) -> None:
        """Make the pools that are missing; those that an operator has resized stay as they are."""
        server = self._server()
        with closing(server.connect(postgres.AIRFLOW_DATABASE)) as connection:
            missing = missing_pools(connection)
        if missing:
            path = self._home.run / "pools.json"
            write_private(path, json.dumps(missing))
            self._airflow("airflow-pools", "pools", "import", str(path))

    def _airflow(self, log_name: str, *words: str) -> None:
        log = self._log(log_name)
        with log.open("wb") as output:
            try:
                code = subprocess.run(  # noqa: S603 - our own words
                    airflow_command(*words),
                    check=False,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd=self._home.path,
                    env=self._environment | {HOME_MARK: self._home.identity},
                    timeout=max(1.0, self._deadline - time.monotonic()),
                ).returncode
            except subprocess.TimeoutExpired:
                code = None
        if code != 0:
            ended = "took too long" if code is None else "failed"
            raise self._failure(f"airflow {words[0]} {words[1]} {ended}.", log_name)

    def _all_healthy(self) -> bool:
        states = self._supervisor.programs()
        if not states or any(program.state != RUNNING for program in states.values()):
            return False
        checks = self._home.state().get("health", {}).values()
        since = {part: states[name].started_at or 0 for part, name in _PARTS.items() if name in states}
        return not health.missing_airflow_parts(self._ports["api"], since) and all(
            health.answers(port, path) for port, path in checks
        )

    def _wait(self, what: str, ready: Callable[[], bool]) -> None:
        starts: dict[str, set[int]] = defaultdict(set)
        while not ready():
            states = self._supervisor.programs()
            if not states:
                raise self._failure("The supervisor has ended.", "supervisord")
            for state in states.values():
                if state.started_at:
                    starts[state.name].add(state.started_at)
                if state.state == "FATAL" or len(starts[state.name]) >= _MAX_STARTS:
                    raise self._failure(f"{state.name} ends again and again.", state.name)
            if time.monotonic() > self._deadline:
                patience = f"{self._timeout_s:.0f} s"
                raise self._failure(f"After {patience} {what} is not healthy.", self._suspect(states))
            time.sleep(_POLL_S)

    def _suspect(self, states: Mapping[str, ProgramState]) -> str:
        """The program whose log most likely tells why."""
        ended = [name for name, program in states.items() if program.state != RUNNING and program.started_at]
        checks: dict[str, tuple[int, str]] = self._home.state().get("health", {})
        silent = [name for name, (port, path) in checks.items() if not health.answers(port, path)]
        parts = health.missing_airflow_parts(self._ports["api"])
        return (*ended, *silent, *(_PARTS.get(part, part) for part in parts), *states)[0]

    def _state(self, name: str) -> str:
        states = self._supervisor.programs()
        return states[name].state if name in states else "STOPPED"

    def _log(self, name: str) -> Path:
        return self._home.logs / f"{name}.log"

    def _failure(self, sentence: str, log_name: str) -> StartError:
        log = self._log(log_name)
        secrets = [*self._home.secrets().values(), *self._home.passwords().values()]
        lines = without_secrets(_tail(log), self._environment, secrets)
        return StartError(f"{sentence} Read {log}; it ends with:\n{lines}")


_PARTS = {"scheduler": SCHEDULER, "dag_processor": DAG_PROCESSOR}


def _tail(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return "(nothing: it was never written)"
    return "\n".join(text.splitlines()[-_TAIL_LINES:]) or "(nothing)"
