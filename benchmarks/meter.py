"""Who computes: time of the processor that platform and Postgres took beside the sender."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import psutil

from benchmarks.stage import Cluster


@dataclass(frozen=True)
class Meter:
    """Reads both.

    Args:
        postgres: number of the server's first process.
        sandbox: number of the platform's process.
    """

    postgres: int
    sandbox: int

    @classmethod
    def of(cls, cluster: Cluster, sandbox: int) -> Meter:
        """Of a server that runs, and a platform's process."""
        first = (cluster.server.data / "postmaster.pid").read_text(encoding="ascii").splitlines()[0]
        return cls(int(first), sandbox)

    def read(self) -> tuple[float, float]:
        """Seconds that Postgres, and that the platform, have computed so far."""
        server = psutil.Process(self.postgres)
        times = server.cpu_times()
        ended = times.children_user + times.children_system
        return ended + sum(map(_seconds, [server, *server.children()])), _seconds(psutil.Process(self.sandbox))


def _seconds(process: psutil.Process) -> float:
    with suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0
