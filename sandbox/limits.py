"""How often a page calls: limits, the brake, the quota of a day, and the pace a checker asks for."""

from __future__ import annotations

import collections
import dataclasses
import time

from sandbox.model import Page
from sandbox.refusal import GraphRefusal
from sandbox.wire import graph_json

MINUTES_OF_DAY = 1440
THROTTLE_TEXTS = {
    4: "(#4) Application request limit reached",
    613: "(#613) Calls to this api have exceeded the rate limit.",
    80006: "(#80006) There have been too many messenger calls to this Page account. Wait a bit and try again. "
    "For more info, please refer to https://developers.facebook.com/docs/graph-api/overview/rate-limiting.",
}


class Window:
    """Counts what falls into any one second, exactly."""

    def __init__(self) -> None:
        self._times: collections.deque[float] = collections.deque()
        self.total = 0
        self.most = 0

    def add(self, at: float) -> int:
        """Count one, at `at` seconds of a clock that never goes back; return how many fell into the second before."""
        times = self._times
        times.append(at)
        while times[0] <= at - 1.0:
            times.popleft()
        self.total += 1
        self.most = max(self.most, len(times))
        return len(times)

    def forget(self) -> None:
        """Start anew."""
        self._times.clear()
        self.total = self.most = 0


@dataclasses.dataclass(slots=True)
class Throttle:
    """A page that is refused for a while.

    Args:
        until: seconds of the monotonic clock.
        code: what it is answered.
        minutes: what ``estimated_time_to_regain_access`` says.
    """

    until: float = 0.0
    code: int = 613
    minutes: int = 1


class Meter:
    """The calls of one page."""

    def __init__(self) -> None:
        self.calls = Window()
        self.accepted = Window()
        self.throttle = Throttle()
        self._minutes: collections.Counter[int] = collections.Counter()

    def call(self, page: Page, quota: int | None) -> None:
        """Count a call; calls made while refused count too (Meta docs, Graph rate limits).

        Raises:
            GraphRefusal: The page calls too often.
        """
        at = time.monotonic()
        in_second = self.calls.add(at)
        if at < self.throttle.until:
            raise self._refusal(page, quota, self.throttle.code, self.throttle.minutes)
        if page.per_second is not None and in_second > page.per_second:
            raise self._refusal(page, quota, page.throttle_code, 1)
        if page.brake_per_second is not None and in_second > page.brake_per_second:
            self.throttle = Throttle(at + 1.0, page.throttle_code)  # nothing passes until the volume fell
            raise self._refusal(page, quota, page.throttle_code, 1)
        if quota is not None:
            self._minutes[int(at // 60)] += 1
            if self.used() > quota:
                raise self._refusal(page, quota, 80006, self._minutes_to_regain(int(at // 60)))

    def accept(self) -> None:
        """Count a message that was created."""
        self.accepted.add(time.monotonic())

    def strike(self, seconds: float, code: int, minutes: int) -> None:
        """Refuse the page for some seconds, and tell it `minutes`."""
        self.throttle = Throttle(time.monotonic() + seconds, code, minutes)

    def used(self) -> int:
        """Return the calls of the last 24 h."""
        oldest = int(time.monotonic() // 60) - MINUTES_OF_DAY
        for minute in [minute for minute in self._minutes if minute <= oldest]:
            del self._minutes[minute]
        return self._minutes.total()

    def headers(self, page: Page, quota: int | None, minutes: int = 0) -> tuple[tuple[str, str], ...]:
        """Return the usage headers: whole percent of what is allowed (Meta docs, Graph rate limits)."""
        if quota is None and not page.usage_headers and not minutes:
            return ()
        percent = 100 if minutes else int(100 * self.used() / quota) if quota else 1
        figures = {"call_count": percent, "total_cputime": min(percent, 25), "total_time": min(percent, 25)}
        business = {"type": "messenger", **figures, "estimated_time_to_regain_access": minutes}
        return (
            ("X-App-Usage", graph_json(figures)),
            ("X-Business-Use-Case-Usage", graph_json({page.page_id: [business]})),
        )

    def _refusal(self, page: Page, quota: int | None, code: int, minutes: int) -> GraphRefusal:
        text = THROTTLE_TEXTS.get(code, f"(#{code}) Too many calls.")
        return GraphRefusal(code, text, headers=self.headers(page, quota, minutes))

    def _minutes_to_regain(self, minute: int) -> int:
        return max(1, min(self._minutes) + MINUTES_OF_DAY - minute)


class Meters(dict[str, Meter]):
    """One meter a page."""

    def __missing__(self, page_id: str) -> Meter:
        meter = self[page_id] = Meter()
        return meter
