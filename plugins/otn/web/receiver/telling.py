"""Lines of the log about single requests: so many a minute, as strangers cause them as often as they like.

Our own faults have a budget of their own: no flood of strangers keeps them out of the log.
"""

from __future__ import annotations

import time
from collections import Counter

import structlog

LINES = 60
SECONDS = 60.0
PASSED = 200
OUR_FAULT = 500  # and above
_log = structlog.get_logger("otn.receiver")


class Telling:
    """Writes what became of requests, and how many went without a line. For one event loop."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._lines: Counter[bool] = Counter()
        self._left_out = 0

    def say(self, what: str, *, status: int, **figures: int) -> None:
        """Tell of a request.

        Args:
            what: route, in one word.
            status: of the answer; 200: it got what it wanted.
            figures: of the request.
        """
        if time.monotonic() - self._since >= SECONDS:
            if self._left_out:
                _log.warning("requests without a line", count=self._left_out)
            self._since, self._left_out = time.monotonic(), 0
            self._lines.clear()
        ours = status >= OUR_FAULT
        if self._lines[ours] >= LINES:
            self._left_out += 1
            return
        self._lines[ours] += 1
        (_log.info if status == PASSED else _log.warning)(what, status=status, **figures)
