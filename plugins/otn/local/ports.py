"""Free ports of the loopback interface."""

from __future__ import annotations

import random
import socket
import sys
from collections.abc import Collection
from typing import Self

from otn.errors import OtnError

HOST = "127.0.0.1"
# Below the range from which systems take ports for outgoing connections: one of those could sit on a port while its
# program restarts.
_RANGE = range(20_000, 32_000)


class PortTakenError(OtnError):
    """The port is in use. Give another one."""


def is_free(port: int) -> bool:
    """Whether a server could listen on a port of the loopback interface now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


class PortClaims:
    """Ports that this process is about to use: between choosing one and listening on it, another start could take it.

    A claim is a name that Linux gives to one process at a time and takes back when that process ends.
    """

    def __init__(self) -> None:
        self._held: list[socket.socket] = []

    def take(self, port: int) -> bool:
        """Claim a port; False when another start has claimed it."""
        if sys.platform != "linux":
            return True  # there are no such names elsewhere
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f"\0otn-port-{port}")
        except OSError:
            claim.close()
            return False
        self._held.append(claim)
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Whoever was to listen does so by now, or never will.
        while self._held:
            self._held.pop().close()


def free_port(*preferred: int | None, taken: Collection[int] = (), claims: PortClaims | None = None) -> int:
    """A port that nobody listens on.

    Args:
        preferred: ports to try first; None is passed over.
        taken: ports promised to somebody else.
        claims: where the port is claimed until it is listened on.
    """
    candidates = [port for port in preferred if port]
    for port in (*candidates, *random.sample(_RANGE, 200)):
        # Claimed before it is looked at: what is free to us then stays so.
        if port not in taken and (claims is None or claims.take(port)) and is_free(port):
            return port
    raise PortTakenError(f"No free port on {HOST}. End some servers and try again.")
