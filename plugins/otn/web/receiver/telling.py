"""Lines of the log about single requests: so many a minute, as strangers cause them as often as they like."""

from __future__ import annotations

import time

import structlog

LINES = 60
SECONDS = 60.0
_log = structlog.get_logger("otn.receiver")


class Telling:
    """Writes what became of requests, and how many went without a line. For one event loop."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._lines = 0
        self._left_out = 0

    def say(self, what: str, *, passed: bool, **figures: int) -> None:
        """Tell of a request.

        Args:
            what: route, in one word.
            passed: whether it got what it wanted.
            figures: of the request.
        """
        if time.monotonic() - self._since >= SECONDS:
            if self._left_out:
                _log.warning("requests without a line", count=self._left_out)
            self._since, self._lines, self._left_out = time.monotonic(), 0, 0
        if self._lines >= LINES:
            self._left_out += 1
            return
        self._lines += 1
        (_log.info if passed else _log.warning)(what, **figures)
