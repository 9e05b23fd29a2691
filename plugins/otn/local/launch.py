"""Become one program of a home: ``python -m otn.local.launch FILE``.

The supervisor starts every program through this, so that each gets the environment meant for it and no other: Postgres
sees no key, no argument list shows a secret, and nothing of an earlier life is left when the next one begins.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from otn.local.processes import HOME_MARK, PROGRAM_MARK, end, of_program

_GRACE_S = 5  # idle workers of a killed scheduler do not heed the request


def main(path: Path) -> None:
    """Read what to become, end what an earlier life has left, and become it.

    Args:
        path: JSON with ``command`` (words), ``environment``, ``folder``, ``uid`` and ``gid`` (null: stay who we are).
    """
    what = json.loads(path.read_text(encoding="utf-8"))
    environment: dict[str, str] = what["environment"]
    end(of_program(environment[HOME_MARK], environment[PROGRAM_MARK]), _GRACE_S)
    os.chdir(what["folder"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # the supervisor leaves an open pipe there
    if what["uid"] is not None:
        os.setgroups([])
        os.setgid(what["gid"])
        os.setuid(what["uid"])
    command: list[str] = what["command"]
    os.execve(command[0], command, environment)  # noqa: S606 - our own file, readable by us alone


if __name__ == "__main__":
    main(Path(sys.argv[1]))
