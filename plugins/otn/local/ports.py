"""Free ports of the loopback interface."""

from __future__ import annotations

import random
import socket
from collections.abc import Collection

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


def free_port(*preferred: int | None, taken: Collection[int] = ()) -> int:
    """A port that nobody listens on.

    Args:
        preferred: ports to try first; None is passed over.
        taken: ports promised to somebody else.
    """
    candidates = [port for port in preferred if port]
    for port in (*candidates, *random.sample(_RANGE, 200)):
        if port not in taken and is_free(port):
            return port
    raise PortTakenError(f"No free port on {HOST}. End some servers and try again.")
