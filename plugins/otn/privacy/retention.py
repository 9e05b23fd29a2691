"""Retention: for how long things are kept, and how that is said in the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from otn.errors import ConfigurationError

KEEP_RAW_DAYS = 30
KEEP_EVENT_DAYS = 90
KEEP_TEXT_DAYS = 7
KEEP_PROOF_DAYS = 1095  # three years, in which a complaint about a message may come
KEEP_QUARANTINE_DAYS = 366  # a token lives a year at most (Meta docs, One-Time Notification)
MOST_DAYS = 36_500


@dataclass(frozen=True)
class Retention:
    """For how long things are kept.

    Args:
        raw_days: raw webhooks, and quarantined items after their replay.
        event_days: normalised events; at least as long as raw webhooks, or a second ingest would bring them back.
        text_days: what people wrote, inside raw webhooks, and what they were answered.
        proof_days: an opt-in after its token has expired, a deletion request after it was done, people without either.

    Raises:
        ConfigurationError: events would go before their raw webhooks.
    """

    raw_days: int = KEEP_RAW_DAYS
    event_days: int = KEEP_EVENT_DAYS
    text_days: int = KEEP_TEXT_DAYS
    proof_days: int = KEEP_PROOF_DAYS

    def __post_init__(self) -> None:
        if self.event_days < self.raw_days:
            raise ConfigurationError(
                f"Events would be kept for {self.event_days} days, raw webhooks for {self.raw_days}. Keep events at"
                " least as long, or a second ingest of a day would count them as new."
            )


def read_retention(environ: Mapping[str, str] | None = None) -> Retention:
    """Read ``OTN_KEEP_RAW_DAYS``, ``OTN_KEEP_EVENT_DAYS``, ``OTN_KEEP_TEXT_DAYS`` and ``OTN_KEEP_PROOF_DAYS``.

    Args:
        environ: the environment; the process's own by default.

    Raises:
        ConfigurationError: one is no number of days, or events would go before their raw webhooks.
    """
    values = os.environ if environ is None else environ
    raw = _days(values, "OTN_KEEP_RAW_DAYS", KEEP_RAW_DAYS)
    return Retention(
        raw_days=raw,
        event_days=_days(values, "OTN_KEEP_EVENT_DAYS", max(KEEP_EVENT_DAYS, raw)),
        text_days=_days(values, "OTN_KEEP_TEXT_DAYS", KEEP_TEXT_DAYS),
        proof_days=_days(values, "OTN_KEEP_PROOF_DAYS", KEEP_PROOF_DAYS),
    )


def _days(values: Mapping[str, str], name: str, default: int) -> int:
    text = values.get(name, "").strip() or str(default)
    if not text.isdecimal() or not 1 <= int(text) <= MOST_DAYS:
        raise ConfigurationError(f"{name} is {text!r}. Give a number of days, 1 or more.")
    return int(text)
