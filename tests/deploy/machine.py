"""The processes of ``docker-compose.yaml`` on this machine, without Docker: the same commands, the same environment.

A container has its own file system, ports and name resolution; here folders, ports and addresses take their place.
Nothing else is changed.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import requests
from sqlalchemy import make_url

from otn.local.home import Home
from otn.local.ports import HOST, PortClaims, free_port
from otn.local.processes import HOME_MARK, end_home
from tests.deploy import compose_file
from tests.deploy.compose_file import ROOT

PATIENCE_S = 120.0
POLL_S = 0.2
RESTART_S = 1.0
PORTS = ("api", "receiver", "redis", "health", "health-2", "triggerer", "worker-1", "worker-2", "worker-log")


class Machine:
    """One deployment.

    Args:
        folder: takes the place of the containers' file systems.
        postgres_url: of a superuser; its server takes the place of the service ``postgres``.
        dotenv: as `./otn deploy env` made it.
    """

    def __init__(self, folder: Path, postgres_url: str, dotenv: Path) -> None:
        self.folder = folder
        self.dotenv = dotenv
        self.home = Home.at(folder / "otn")
        self._claims = PortClaims()
        self.ports = {name: free_port(claims=self._claims) for name in PORTS}
        self.ports["postgres"] = make_url(postgres_url).port or 0
        self.file = compose_file.filled(dotenv)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.ways: dict[str, int] = {}  # to Postgres, of those who do not go straight
        self.restarts: Counter[str] = Counter()
        self.pages: dict[str, str] = {}  # of the sandbox, by connection
        self._begun: dict[str, tuple[str, tuple[str, ...]]] = {}

    @property
    def api_url(self) -> str:
        return f"http://{HOST}:{self.ports['api']}"

    @property
    def receiver_url(self) -> str:
        return f"http://{HOST}:{self.ports['receiver']}"

    def environment(self, service: str, name: str | None = None) -> dict[str, str]:
        """What a service's programs find here."""
        given = compose_file.environment(self.file["services"][service], self.dotenv)
        here = {
            "@postgres:5432": f"@{HOST}:{self.ways.get(name or service, self.ports['postgres'])}",
            "@redis:6379": f"@{HOST}:{self.ports['redis']}",
            "http://api-server:8080": self.api_url,
            "http://receiver:8081": self.receiver_url,
            "http://localhost:8080": self.api_url,
            "/opt/otn": str(ROOT),
            "/opt/airflow": str(self.folder / "airflow"),
            "/var/lib/otn": str(self.home.path),
            "0.0.0.0": HOST,  # noqa: S104 - taken away
        }
        for there, place in here.items():
            given = {key: value.replace(there, place) for key, value in given.items()}
        # What each container has for itself.
        alone = {
            "AIRFLOW_HOME": str(self.folder / "airflow"),
            "AIRFLOW__API__HOST": HOST,
            "AIRFLOW__API__PORT": str(self.ports["api"]),
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT": str(
                self.ports["health-2" if name == "scheduler-2" else "health"]
            ),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(self.ports["triggerer"]),
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(self.ports.get(name or service, self.ports["worker-log"])),
            "OTN_RECEIVER_PORT": str(self.ports["receiver"]),
            "C_FORCE_ROOT": "1",  # containers are not root
            "HOME": str(self.folder),
            "NO_PROXY": HOST,
            "no_proxy": HOST,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT}",
            "SPT_NOENV": "1",  # titles of processes would overwrite the mark
            HOME_MARK: self.home.identity,
        }
        return given | alone

    def command(self, service: str) -> list[str]:
        """A service's command, without the container's own first process."""
        found = self.file["services"][service]
        entrypoint = compose_file.words(found.get("entrypoint"))
        if entrypoint[:2] == ["/usr/bin/dumb-init", "--"]:
            return [sys.executable, *entrypoint[3:], *compose_file.words(found.get("command"))]
        # The image's own entry point calls Airflow.
        return [sys.executable, "-m", "airflow", *compose_file.words(found["command"])]

    def start(self, service: str, name: str | None = None, *more: str) -> None:
        """Start a service in the background."""
        self._begun[name or service] = service, more
        log = (self.folder / f"{name or service}.log").open("ab")
        with log:
            self.processes[name or service] = subprocess.Popen(
                [*self.command(service), *more],
                env=self.environment(service, name),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self, name: str) -> None:
        """End a service and all that it started, as a machine that lost its power; nobody starts it again."""
        process = self.processes.pop(name)
        tree: list[psutil.Process] = []
        with suppress(psutil.NoSuchProcess):
            head = psutil.Process(process.pid)
            for _ in range(2):  # one may be born while the others are stopped
                tree = [head, *head.children(recursive=True)]
                for one in tree:
                    with suppress(psutil.NoSuchProcess):
                        one.suspend()
        for one in tree:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait(10)

    def name_of(self, pid: int) -> str | None:
        """The service that a process belongs to."""
        above = {pid, *(one.pid for one in psutil.Process(pid).parents())}
        return next((name for name, process in self.processes.items() if process.pid in above), None)

    @contextmanager
    def restarting(self) -> Iterator[None]:
        """Meanwhile, start again what ends: ``restart: unless-stopped``."""
        over = threading.Event()

        def look() -> None:
            while not over.wait(RESTART_S):
                for name, process in list(self.processes.items()):
                    if name in self._begun and process.poll() is not None:
                        self.restarts[name] += 1
                        service, more = self._begun[name]
                        self.start(service, name, *more)

        looking = threading.Thread(target=look)
        looking.start()
        try:
            yield
        finally:
            over.set()
            looking.join()

    def start_redis(self) -> None:
        """Redis, from this machine, with the settings of its service."""
        found = self.file["services"]["redis"]
        alone = f"dir {self.folder}\nport {self.ports['redis']}\nbind {HOST}"
        script = compose_file.words(found["command"])[2].replace("dir /data", alone)
        with (self.folder / "redis.log").open("wb") as log:
            self.processes["redis"] = subprocess.Popen(
                ["sh", "-c", script],
                env={"PATH": os.environ["PATH"], HOME_MARK: self.home.identity, **found["environment"]},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def run(self, service: str, *command: str, code: int | None = 0) -> str:
        """Run a service to its end, with another command if one is given; answers what it said."""
        entry = self.command(service)
        words = [*entry[:3], *command] if command else entry
        ended = subprocess.run(
            words,
            env=self.environment(service),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert code is None or ended.returncode == code, f"{service} ended with {ended.returncode}:\n{ended.stdout}"
        return ended.stdout

    def check(self, service: str, name: str | None = None) -> subprocess.Popen[bytes]:
        """Start a service's own health check."""
        test = list(self.file["services"][service]["healthcheck"]["test"])
        here = {"localhost:8080": f"{HOST}:{self.ports['api']}", "localhost:8974": f"{HOST}:{self.ports['health']}"}
        here |= {"localhost:8081": f"{HOST}:{self.ports['receiver']}"}
        for there, place in here.items():
            test = [word.replace(there, place) for word in test]
        command = ["sh", "-c", test[1]] if test[0] == "CMD-SHELL" else test[1:]
        environment = self.environment(service, name) | {"HOSTNAME": socket.gethostname()}
        return subprocess.Popen(
            command, env=environment, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def healthy(self, url: str) -> bool:
        """Whether something answers."""
        try:
            return requests.get(url, timeout=5, proxies={"http": ""}).ok
        except requests.RequestException:
            return False

    def wait(self, what: str, ready: Callable[[], Any], patience_s: float = PATIENCE_S) -> None:
        """Wait until something is true; a service that has ended ends the waiting."""
        end = time.monotonic() + patience_s
        while not ready():
            gone = [name for name, process in self.processes.items() if process.poll() is not None]
            assert not gone, f"{gone} ended while waiting for {what}:\n{self.log(gone[0])}"
            assert time.monotonic() < end, f"{what}: not within {patience_s:.0f} s"
            time.sleep(POLL_S)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def close(self) -> None:
        """End whatever was started here."""
        self._claims.__exit__()
        redis = self.processes.pop("redis", None)  # writes its title over the mark
        end_home(self.home.identity, self.folder / "no-data", grace_s=3)
        if redis:
            redis.terminate()
        for process in (*self.processes.values(), *filter(None, [redis])):
            process.wait(10)
