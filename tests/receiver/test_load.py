"""The benchmark of the receiver, short: what was acknowledged is there, once, in time."""

from __future__ import annotations

import pytest

from benchmarks.receiver import Bench
from otn.local.progress import Silence

pytestmark = pytest.mark.system

PATIENCE_MS = 5_000.0  # what the platform waits (Meta docs, Messenger webhooks)


def test_every_acknowledged_event_is_stored_once_whatever_is_killed_and_answers_come_in_time() -> None:
    with Bench(Silence()) as bench:
        outage = bench.outage(9.0)
    print(outage)
    assert outage["lost"] == 0
    assert outage["twice"] == 0
    assert outage["acknowledged"] > 0.7 * outage["requests"]  # the rest met a receiver that was being started
    assert set(outage["answers"]) == {"200"}  # the disk was there all the time
    assert outage["p999_ms"] < PATIENCE_MS
