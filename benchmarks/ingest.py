"""Stored webhooks taken in: beside the same bodies parsed, encrypted and copied, and beside what goes one by one."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from statistics import median
from typing import Any
from uuid import UUID

from benchmarks import ingester
from benchmarks.ingest_bare import Copier
from benchmarks.ingest_peer import insert_one_by_one
from benchmarks.shop import SHOP, TOPIC, do
from benchmarks.stage import Cluster
from benchmarks.turns import Filled, side
from otn.crypto import Keyring, new_key, read_keyring
from otn.database import Engine, transaction
from otn.local.progress import Progress, Silence
from otn.web.spool import PURPOSE

EVENTS = 1_000_000
ROUNDS = 3
SMALL = 100  # the small pile has so many times fewer webhooks
PEER = 50  # and whoever goes one by one gets so many times fewer
AT_ONCE = 10_000  # webhooks stored by one COPY
BOUND, MEMORY_BOUND_MB = 2.0, 100.0
PAGE = "1000000001"
PAYLOAD = "restock"
COUNTS = """
SELECT ARRAY[(SELECT count(*) FROM otn.subscriber), (SELECT count(*) FROM otn.token), (SELECT count(*) FROM otn.event)]
"""

Side = Callable[[Engine], float]


def run(progress: Progress | None = None, rounds: int = ROUNDS, events: int = EVENTS) -> dict[str, Any]:
    """Measure all sides in turns, and a pile of webhooks a hundred times smaller.

    Args:
        progress: told what happens.
        rounds: turns of each.
        events: one a webhook; each person writes, taps Notify Me, has a message delivered and sees it.
    """
    progress = progress or Silence()
    keys = {"OTN_ENCRYPTION_KEYS": new_key(), "OTN_HASH_KEY": new_key()}
    keyring = read_keyring(keys)
    few = max(4, events // PEER)
    took: dict[str, list[float]] = {"ours": [], "limit": [], "one by one": []}
    more_mb: dict[str, float] = {}
    with Cluster() as cluster:
        progress.stage(f"storing {events:,} webhooks")
        large = Filled.by(cluster, partial(_fill, keyring=keyring, events=events))
        small = Filled.by(cluster, partial(_fill, keyring=keyring, events=max(4, events // SMALL)), name="small")
        url = cluster.server.url("turn")
        for number in range(rounds):
            for name, work, amount in (
                ("limit", partial(_limit, keyring=keyring), events),
                ("ours", partial(_ours, url=url, keys=keys, most=more_mb, size="large"), events),
                ("one by one", partial(_peer, keyring=keyring, webhooks=few), few),
            ):
                progress.stage(f"round {number + 1} of {rounds}, {name}")
                took[name].append(_turn(large, work, amount))
            _turn(small, partial(_ours, url=url, keys=keys, most=more_mb, size="small"), max(4, events // SMALL))
    return _figures(events, few, took, more_mb)


def _figures(events: int, few: int, took: dict[str, list[float]], more_mb: dict[str, float]) -> dict[str, Any]:
    ratios = [one / other for one, other in zip(took["ours"], took["limit"], strict=True)]
    sides = [side(name, few if name == "one by one" else events, some) for name, some in took.items()]
    return {
        "rows": events,
        "rounds": len(ratios),
        "sides": sides,
        "to_limit": round(median(ratios), 2),
        "to_limit_least": round(min(ratios), 2),
        "to_limit_most": round(max(ratios), 2),
        "bound": BOUND,
        "to_peer": round(sides[2]["us_each"] / sides[0]["us_each"], 1),
        "small_more_mb": round(more_mb["small"], 1),
        "large_more_mb": round(more_mb["large"], 1),
        "memory_bound_mb": MEMORY_BOUND_MB,
    }


def _turn(filled: Filled, work: Side, events: int) -> float:
    """Seconds of one side on a copy of its own."""
    with filled.turn() as engine:
        seconds = work(engine)
        _check(engine, events)
    return seconds


def _check(engine: Engine, events: int) -> None:
    found, people = do(engine, COUNTS), -(-events // 4)
    if found != [people, people, events]:
        raise RuntimeError(f"{events} webhooks became {found} people, tokens and events. The sides cannot be compared.")


def _fill(engine: Engine, keyring: Keyring, events: int) -> None:
    do(engine, TOPIC, page=do(engine, SHOP, page=PAGE), key=PAYLOAD)
    now = datetime.now(UTC)
    for first in range(0, events, AT_ONCE):
        lines = [_line(keyring, now, number) for number in range(first, min(first + AT_ONCE, events))]
        with transaction(engine) as connection, connection.cursor() as cursor:
            cursor.copy_expert(
                "COPY otn.webhook_event (received_day, id, body) FROM STDIN", io.StringIO("\n".join(lines))
            )


def _line(keyring: Keyring, now: datetime, number: int) -> str:
    sealed = keyring.encrypt(body_of(now, number), PURPOSE).hex()
    return f"{now.date()}\t{UUID(int=number + 1)}\t\\\\x{sealed}"


def body_of(now: datetime, number: int) -> bytes:
    """One webhook; four after each other are of one person.

    Args:
        now: the last of them is of about then.
        number: from 0.
    """
    person, kind = divmod(number, 4)
    psid, mid = str(7_000_000_000_000_000 + person), f"m_{number:032x}"
    at = round((now - timedelta(hours=1) + timedelta(seconds=kind)).timestamp() * 1000)
    what = (
        {"message": {"mid": mid, "text": "Is the red one back?"}},
        {"optin": {"type": "one_time_notif_req", "payload": PAYLOAD, "one_time_notif_token": f"{number:0180d}"}},
        {"delivery": {"mids": [mid], "watermark": at}},
        {"read": {"watermark": at}},
    )[kind]
    item = {"sender": {"id": psid}, "recipient": {"id": PAGE}, "timestamp": at} | what
    return json.dumps({"object": "page", "entry": [{"id": PAGE, "time": at, "messaging": [item]}]}).encode()


def _ours(_engine: Engine, url: str, keys: dict[str, str], most: dict[str, float], size: str) -> float:
    made = ingester.ingest(ingester.Orders(url), keys)
    most[size] = max(most.get(size, 0.0), made.more_mb)
    return made.seconds


def _limit(engine: Engine, keyring: Keyring) -> float:
    began = time.monotonic()
    with transaction(engine) as connection:
        Copier(connection, keyring, PAGE).copy()
    return time.monotonic() - began


def _peer(engine: Engine, keyring: Keyring, webhooks: int) -> float:
    began = time.monotonic()
    insert_one_by_one(engine, keyring, PAGE, webhooks)
    return time.monotonic() - began
