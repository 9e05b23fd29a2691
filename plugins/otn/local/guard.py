"""End a throw-away Postgres when the process that started it is gone: ``python -m otn.local.guard DATA FOLDER``.

Tests are killed now and then, and cannot clean up. The guard reads from a pipe whose other end they hold: it is closed
whatever becomes of them.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from otn.local.processes import end_servers


def main(data: Path, folder: Path) -> None:
    """Wait for the end of standard input, then end the server and remove its folder.

    Args:
        data: data directory of the server.
        folder: all that was made for it.
    """
    sys.stdin.buffer.read()
    end_servers(data)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
