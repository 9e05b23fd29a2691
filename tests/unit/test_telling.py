"""Lines about requests are bounded, and strangers cannot use up those about our own faults."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from otn.web.receiver.telling import LINES, Telling


def test_a_flood_of_strangers_leaves_room_for_our_own_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    telling = Telling()
    with capture_logs() as told:
        for _ in range(LINES + 5):
            telling.say("webhook", status=403, bytes=1)
        for _ in range(LINES + 5):
            telling.say("webhook", status=503, bytes=1)
        monkeypatch.setattr("otn.web.receiver.telling.SECONDS", 0.0)
        telling.say("webhook", status=200, bytes=1)
    assert [one["status"] for one in told if "status" in one] == [403] * LINES + [503] * LINES + [200]
    assert [(one["count"], one["log_level"]) for one in told if "count" in one] == [(10, "warning")]
