"""The programs that make up the system on one machine."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from otn.local import health, logins, postgres
from otn.local.environment import can_receive, can_send, environment_of
from otn.local.home import Home
from otn.local.ports import HOST
from otn.local.postgres import Server
from otn.local.processes import POSTGRES
from otn.local.supervision import Program, python_path

API_SERVER, DAG_PROCESSOR, SCHEDULER = "api-server", "dag-processor", "scheduler"
RECEIVER, RESPONDER = "receiver", "responder"
SANDBOX = "sandbox"
SANDBOX_HEALTH = "/_sandbox/health"
ANSWERING_S = 40  # a call that is under way is finished before the responder ends


def airflow_command(*words: str) -> tuple[str, ...]:
    """The ``airflow`` command of this very installation, found without an activated environment."""
    return (sys.executable, "-m", "airflow", *words)


def postgres_program(home: Home, server: Server) -> Program:
    """The embedded Postgres, ended by a fast shutdown: its clients are cut off, its data are safe."""
    return Program(
        POSTGRES,
        server.command(),
        postgres.environment(),
        account=server.account,
        folder=home.postgres,
        stop_signal="INT",
        stop_group=False,
        stop_s=90,
    )


def system_programs(environment: Mapping[str, str], ports: Mapping[str, int]) -> list[Program]:
    """Airflow's programs, the receiver where a page has the secrets that it needs, the responder where one can send.

    No triggerer: nothing here defers. The order is that of starting.

    Args:
        environment: for all of them.
        ports: ``api`` and ``receiver``.
    """
    programs = [
        Program(API_SERVER, airflow_command("api-server"), environment),
        Program(DAG_PROCESSOR, airflow_command("dag-processor"), environment),
        Program(SCHEDULER, airflow_command("scheduler", "--skip-serve-logs"), environment),
    ]
    if can_receive(environment):
        command = (sys.executable, "-m", "otn", "receiver")
        check = (ports["receiver"], health.RECEIVER_HEALTH)
        programs.append(Program(RECEIVER, command, environment_of(logins.RECEIVER, environment), health=check))
    if can_send(environment):
        command = (sys.executable, "-m", "otn", "responder")
        programs.append(Program(RESPONDER, command, environment_of(logins.SENDER, environment), stop_s=ANSWERING_S))
    return programs


def sandbox_program(home: Home) -> Program | None:
    """The stand-in for the platform, in a home that shows the demo; None in any other."""
    port = home.state().get("sandbox_port")
    if not port:
        return None
    words = ("-m", "sandbox", "--host", HOST, "--port", str(port), "--journal", str(home.path / "sandbox.jsonl"))
    environment = {"PYTHONPATH": python_path(), "PYTHONUNBUFFERED": "1"}
    return Program(SANDBOX, (sys.executable, *words), environment, health=(port, SANDBOX_HEALTH))
