"""A page's pace: how much of it several senders use over a minute, and whether the platform ever sees more."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from benchmarks.market import opened
from benchmarks.shop import Shop
from benchmarks.team import send
from otn.local.progress import Progress, Silence
from otn.pace import Pace

SENDERS = 4
RATES = (30.0, 300.0)  # the default, and the most that Meta documents for text
SECONDS = 60.0
WARM_S = 3.0  # until all senders are at work
LONGEST_S = 3_600.0
USE_BOUND = 0.97


def run(
    progress: Progress | None = None, rates: tuple[float, ...] = RATES, seconds: float = SECONDS, senders: int = SENDERS
) -> dict[str, Any]:
    """Send at each rate, with nothing kept for answers, and ask the platform what it saw.

    Args:
        progress: told what happens.
        rates: messages a second.
        seconds: over which it is looked at.
        senders: processes.
    """
    progress = progress or Silence()
    found = []
    with opened() as (_, one, environment, _):
        for rate in rates:
            progress.stage(f"{rate:.0f} messages a second by {senders} senders")
            one.settings = replace(one.settings, messages_per_second=rate, answers_share=0.0)
            found.append({"rate": rate, **_measure(one, rate, seconds, senders, environment)})
    return {"senders": senders, "seconds": seconds, "use_bound": USE_BOUND, "rates": found}


def _measure(one: Shop, rate: float, seconds: float, senders: int, environment: dict[str, str]) -> dict[str, Any]:
    people = int(rate * (WARM_S + seconds + 2))
    campaign = one.planned(people, senders)
    one.sandbox.clear_pace()
    with ThreadPoolExecutor(1) as threads:
        sending = threads.submit(send, "ours", one, campaign, senders, environment)
        _wait_for(one, int(rate * WARM_S))
        before, began = _accepted(one), time.monotonic()
        time.sleep(seconds)
        after, ended = _accepted(one), time.monotonic()
        sent = sum(each.people for each in sending.result())
    if sent != people:
        raise RuntimeError(f"Not everybody was reached: {sent} of {people}.")
    seen = one.sandbox.pace()[one.settings.page_id]
    bound = rate + Pace.of(one.engine, one.row, one.settings).batch_size()
    return {
        "people": people,
        "used": round((after - before) / (ended - began) / rate, 3),
        "most_in_1s": seen["most_accepted_in_1s"],
        "bound_in_1s": bound,
        "within": seen["most_accepted_in_1s"] <= bound,
    }


def _wait_for(one: Shop, people: int) -> None:
    deadline = time.monotonic() + LONGEST_S
    while _accepted(one) < people:
        if time.monotonic() > deadline:
            raise RuntimeError("The senders did not begin.")
        time.sleep(0.05)


def _accepted(one: Shop) -> int:
    return int(one.sandbox.pace().get(one.settings.page_id, {}).get("accepted", 0))
