"""``python -m sandbox``: serve the stand-in."""

from __future__ import annotations

import argparse
from pathlib import Path

from sandbox.server import run


def main() -> None:
    """Read the arguments and serve until told to end."""
    parser = argparse.ArgumentParser(prog="python -m sandbox", description="A stand-in for the Messenger Platform.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 takes a free one")
    parser.add_argument("--port-file", type=Path, help="file that gets the port once it is listened on")
    parser.add_argument("--journal", type=Path, help="file that keeps the state over restarts")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random")
    given = parser.parse_args()
    run(given.host, given.port, given.port_file, given.journal, given.seed)


if __name__ == "__main__":
    main()
