"""A warmed process that forks a reader of the landing for each line it is given, and the reader kills itself there.

One JSON line first (database, keys, files); then one point a line. After each child's end its signal is told.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from otn.crypto import read_keyring
from otn.database import make_engine
from otn.intake import landing, landing_lines
from otn.intake.landed import Landed
from otn.intake.taking import Taking
from tests.consent.shelf import Shelf

PIECE_LINES = 3
CALLS = 2  # of the step at which it dies: not the first, so that something was done before


def dying(real: Callable[..., Any], *, before: bool) -> Callable[..., Any]:
    calls = 0

    def work(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if before and calls == CALLS:
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*arguments, **named)
        if calls == CALLS:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return work


POINTS: dict[str, Callable[[], None]] = {
    "between files": lambda: setattr(landing.Taking, "__init__", dying(Taking.__init__, before=True)),
    "begun": lambda: setattr(landing.Taking, "__init__", dying(Taking.__init__, before=False)),
    "held": lambda: setattr(Landed, "load", dying(Landed.load, before=True)),
    "opt-ins stored": lambda: setattr(Landed, "load", dying(Landed.load, before=False)),
    "webhooks stored": lambda: setattr(Landed, "_store", dying(Landed._store, before=False)),
    "place written": lambda: setattr(Taking, "advance", dying(Taking.advance, before=False)),
    "committed": lambda: setattr(landing._Pull, "_settle", dying(landing._Pull._settle, before=False)),
    "end written": lambda: setattr(Taking, "_finish", dying(Taking._finish, before=False)),
}


def main() -> None:
    landing_lines.PIECE_LINES = PIECE_LINES
    given = json.loads(sys.stdin.readline())
    keyring = read_keyring(given["keys"])
    shelf = Shelf({name: text.encode() for name, text in given["files"].items()})
    gc.freeze()
    for line in sys.stdin:
        child = os.fork()
        if not child:
            POINTS[line.strip()]()
            landing.pull(make_engine(given["url"]), keyring, shelf)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, flush=True)


if __name__ == "__main__":
    main()
