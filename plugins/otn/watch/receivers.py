"""Checks of the receivers: whether they answer, and whether their spools empty."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from otn.watch.finding import Finding, Level
from otn.watch.patience import within

TIMEOUT_S = 5
BODY_LIMIT = 100_000  # bytes
SPOOL_SECONDS = 300
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def findings(urls: Sequence[str], *, limit_s: float = 240) -> list[Finding]:
    """How the receivers are, asked at the same time; each is one subject.

    Args:
        urls: base address of each, such as ``http://127.0.0.1:8081``; none: nobody knows where they are.
        limit_s: seconds for all of them; one that says nothing in this time does not answer.
    """
    answers = within(limit_s, _health, urls)
    healths = [answer.result() if answer.done() else None for answer in answers]
    return [finding for url, health in zip(urls, healths, strict=True) for finding in _receiver(url, health)]


def _receiver(url: str, health: dict[str, Any] | None) -> list[Finding]:
    place = urlsplit(url).netloc.rpartition("@")[2]
    if health is None:
        text = f"The receiver at {place} does not answer: webhooks are not taken."
        advice = "Start it: `./otn receiver`, or `./otn down` and `./otn up`. The platform gives up after an hour."
        return [Finding("receiver", "alarm", text, advice, place)]
    spool = health.get("spool")
    taking = Finding("receiver", "ok", f"The receiver at {place} answers.", subject=place)
    if health.get("status") not in {"ok", "spooling"}:
        text = f"The receiver at {place} cannot store webhooks (database: {_word(health.get('database'))})."
        advice = "Bring Postgres back and free disk for the spool; the platform gives up after an hour."
        taking = Finding("receiver", "alarm", text, advice, place)
    return [taking, _spool(place, spool if isinstance(spool, dict) else {})]


def _spool(place: str, spool: dict[str, Any]) -> Finding:
    events, age = _number(spool.get("events")), _number(spool.get("oldest_age_s"))
    if not events:
        return Finding("spool", "ok", f"The spool of {place} is empty.", subject=place)
    text = f"{events:,} webhooks wait on the disk of {place}, the oldest for {age // 60} minutes"
    if spool.get("draining") and age <= SPOOL_SECONDS:
        return Finding("spool", "ok", f"{text}; they are being stored.", subject=place)
    level: Level = "alarm" if age > SPOOL_SECONDS else "warn"
    return Finding("spool", level, f"{text}.", "Bring Postgres back: they are stored by themselves.", place)


def _health(url: str) -> dict[str, Any] | None:
    """What it says about itself, whatever its status; None: nobody answers there."""
    import requests

    with requests.Session() as session:
        session.trust_env = urlsplit(url).hostname not in _LOOPBACK  # our own machine, never by a proxy
        try:
            with session.get(
                f"{url.rstrip('/')}/healthz", timeout=TIMEOUT_S, stream=True, allow_redirects=False
            ) as answer:
                found = json.loads(answer.raw.read(BODY_LIMIT, decode_content=True))
        except (requests.RequestException, OSError, ValueError, RecursionError):
            return None
    return found if isinstance(found, dict) else None


def _number(value: object) -> int:
    return int(value) if isinstance(value, int | float) and value >= 0 else 0


def _word(value: object) -> str:
    return str(value)[:100] if value else "unknown"
