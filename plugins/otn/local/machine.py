"""The whole system on one machine: start it, stop it, tell how it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass

from otn.errors import UsageError
from otn.local import health
from otn.local.environment import caller_environment
from otn.local.home import ADMIN, Home
from otn.local.ports import HOST, PortClaims, PortTakenError, free_port, is_free
from otn.local.processes import POSTGRES, SUPERVISOR, end_home, of_home, of_program, wait_gone
from otn.local.programs import RECEIVER, sandbox_program
from otn.local.progress import Progress, Silence
from otn.local.startup import Startup
from otn.local.supervision import RUNNING, Program, ProgramState, Supervisor, SupervisorError
from otn.local.users import read_users

_PREFERRED_PORTS = {"postgres": None, "api": 8080, "receiver": 8081}
_GRACE_S = 5


@dataclass(frozen=True)
class Status:
    """How the system of one home is.

    Args:
        home: its folder.
        healthy: everything that was started runs and answers.
        api_url: Airflow's UI and API; None when down.
        receiver_url: where webhooks arrive; None when down or without a receiver.
        username: for Airflow's login.
        password_file: JSON of user to password.
        processes: the programs as the supervisor sees them; empty when down.
    """

    home: str
    healthy: bool
    api_url: str | None
    receiver_url: str | None
    username: str
    password_file: str
    processes: tuple[ProgramState, ...]

    @property
    def running(self) -> bool:
        """Whether anything runs at all."""
        return bool(self.processes)

    def to_json(self) -> str:
        """All of it as one JSON object."""
        return json.dumps(asdict(self), indent=2)


def up(
    home: Home,
    *,
    api_port: int | None = None,
    receiver_port: int | None = None,
    extra_programs: Iterable[Program] = (),
    environ: Mapping[str, str] | None = None,
    prepare: Callable[[Mapping[str, str]], None] | None = None,
    progress: Progress | None = None,
    timeout_s: float = 300,
) -> Status:
    """Start the system and return when it is healthy; a system that is up already is left as it is.

    What a crash has left behind is ended first. A start that fails leaves nothing running.

    Args:
        home: where it keeps everything; made if need be.
        api_port: of Airflow's UI and API; None: the last one, 8080, or a free one.
        receiver_port: of the receiver; None: the last one, 8081, or a free one.
        extra_programs: started before Airflow; one without an environment gets that of the system.
        environ: connections and settings; the process's own by default. ``.env`` stands behind it.
        prepare: called with the programs' environment once both databases are migrated, before Airflow starts.
        progress: told what happens.
        timeout_s: patience for the whole start, in seconds.

    Raises:
        StartError: a part did not come up; names the log to read and shows its last lines.
        PortTakenError: a wanted port is in use.
        UsageError: the system is up on other ports than those wanted.
        ConfigurationError: ``.env``, ``OTN_USERS`` or a connection cannot be read, or the keys of the data are gone.
    """
    told = progress or Silence()
    with home.lock(lambda: told.stage("waiting for another up or down of this home")):
        supervisor = Supervisor(home)
        wanted = {"api": api_port, "receiver": receiver_port}
        if supervisor.running():
            return _again(home, supervisor, wanted, told, timeout_s)
        caller = caller_environment(environ)
        if end_home(home.identity, home.pgdata):
            told.note("What an earlier start had left behind was ended.")
        supervisor.clear()
        users = read_users(caller | home.settings())
        first_time = not home.exists
        home.create()
        home.admit(users)
        if first_time:
            told.note(f"Keys were made in {home.secrets_file}. Back this file up: the data are unreadable without it.")
        with PortClaims() as claims:
            home.save_state(ports=_choose_ports(home, wanted, told, claims))
            try:
                sandbox = sandbox_program(home)
                extra = (*extra_programs, *((sandbox,) if sandbox else ()))
                Startup(home, supervisor, caller, told, timeout_s).run(extra, prepare)
            except BaseException:
                _stop(home)
                raise
        return status(home)


def down(home: Home, *, progress: Progress | None = None) -> bool:
    """Stop the system; leaves no process, no port and no socket, whatever state it was in.

    Args:
        home: whose.
        progress: told what happens.

    Returns:
        Whether anything ran.
    """
    told = progress or Silence()
    if not home.path.exists():  # never made, or removed while it ran
        found = end_home(home.identity, home.pgdata) > 0
        Supervisor(home).clear()
        return found
    with home.lock(lambda: told.stage("waiting for another up or down of this home")):
        found = bool(of_home(home.identity, home.pgdata))
        if found:
            told.stage("stopping")
        _stop(home)
        return found


def status(home: Home) -> Status:
    """How the system is now; changes nothing."""
    states = Supervisor(home).programs()
    state = home.state()
    ports: dict[str, int] = state.get("ports", {})
    healthy = bool(states) and all(program.state == RUNNING for program in states.values())
    if healthy:
        checks = state.get("health", {}).values()
        healthy = all(health.answers(port, path) for port, path in checks)
        healthy = healthy and not health.missing_airflow_parts(ports["api"])
    return Status(
        home=str(home.path),
        healthy=healthy,
        api_url=_url(ports["api"]) if states else None,
        receiver_url=_url(ports["receiver"]) if RECEIVER in states else None,
        username=ADMIN,
        password_file=str(home.password_file),
        processes=tuple(states.values()),
    )


def _again(
    home: Home, supervisor: Supervisor, wanted: Mapping[str, int | None], told: Progress, timeout_s: float
) -> Status:
    ports: dict[str, int] = home.state().get("ports", {})
    for name, port in wanted.items():
        if port and port != ports.get(name):
            raise UsageError(
                f"This home is up, with its {name} on port {ports.get(name)}. Run ./otn down before another port."
            )
    told.note("The system of this home is up already. Changed settings and code are taken up after ./otn down.")
    Startup(home, supervisor, {}, told, timeout_s).wait_healthy()
    return status(home)


def _choose_ports(home: Home, wanted: Mapping[str, int | None], told: Progress, claims: PortClaims) -> dict[str, int]:
    kept: dict[str, int] = home.state().get("ports", {})
    chosen = {name: port for name, port in wanted.items() if port}
    if len(set(chosen.values())) < len(chosen):
        raise UsageError("The API and the receiver cannot share one port. Give two.")
    for name, port in chosen.items():
        if not (claims.take(port) and is_free(port)):
            raise PortTakenError(f"The port {port} for the {name} is in use. Give another one, or end what uses it.")
    for name, preferred in _PREFERRED_PORTS.items():
        if name not in chosen:
            chosen[name] = free_port(kept.get(name), preferred, taken=set(chosen.values()), claims=claims)
            if kept.get(name) and chosen[name] != kept[name] and name != "postgres":
                told.note(
                    f"The port {kept[name]} of the {name} is in use by another program, so {chosen[name]} is taken. "
                    f"Change what points to it, or free the port and start again."
                )
    return chosen


def _stop(home: Home) -> None:
    supervisor = Supervisor(home)
    grace_s = _GRACE_S
    try:
        names = set(supervisor.programs())
        supervisor.stop_programs(names - {POSTGRES})  # while the database still takes their last words
        supervisor.stop_programs(names)
        supervisor.shut_down()
    except SupervisorError:  # not there, or no longer: the rest is ended one by one
        pass
    else:
        wait_gone(of_program(home.identity, SUPERVISOR), _GRACE_S)
        grace_s = 1  # what is left was asked before
    end_home(home.identity, home.pgdata, grace_s)
    supervisor.clear()


def _url(port: int) -> str:
    return f"http://{HOST}:{port}"
