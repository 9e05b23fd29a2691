"""Raw webhooks that are being ingested: their figures, and the items that cannot be used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import groupby
from operator import attrgetter
from typing import Any

from otn.crypto import Keyring
from otn.database import PsycopgConnection, queries
from otn.intake.balance import Balance, BalanceError
from otn.intake.reading import Outcome


@dataclass(frozen=True)
class Webhook:
    """A stored webhook, locked by its transaction.

    Args:
        received_day: the day of its receipt.
        id: the receipt's id.
        body: encrypted.
        seen: it was ingested before; the figures are those of then.
        events: items in the body, that is ingested + duplicate + quarantined.
        ingested: stored for the first time.
        duplicate: known already.
        quarantined: could not be used.
    """

    received_day: date
    id: str
    body: bytes = field(repr=False)
    seen: bool
    events: int
    ingested: int
    duplicate: int
    quarantined: int

    @property
    def key(self) -> tuple[date, str]:
        """Day and id."""
        return self.received_day, self.id


@dataclass(frozen=True)
class Figures:
    """What became of the events of one webhook.

    Args:
        received_day: its day.
        id: its id.
        events: ingested + duplicate + quarantined.
        ingested: stored for the first time.
        duplicate: known already.
        quarantined: could not be used.
    """

    received_day: date
    id: str
    events: int
    ingested: int
    duplicate: int
    quarantined: int


def webhook_of(row: Any) -> Webhook:
    """A row of ``take_pending``, ``take_day`` or ``take_one``."""
    return Webhook(**row._asdict())


def figures(webhook: Webhook, outcome: Outcome) -> Figures:
    """The figures of a webhook after it was read.

    The first ones stand: read again, everything is a duplicate, and that says nothing. They change only where
    something new came in, or where more or fewer items are in quarantine.
    """
    total, waiting = outcome.received, len(outcome.refusals)
    if not webhook.seen:
        ingested = outcome.new + outcome.erased
    elif (outcome.new, waiting, total) == (0, webhook.quarantined, webhook.events):
        ingested = webhook.ingested
    else:
        ingested = min(webhook.ingested + outcome.new, total - waiting)
    return Figures(webhook.received_day, webhook.id, total, ingested, total - ingested - waiting, waiting)


def mark(conn: PsycopgConnection, changed: Sequence[Figures]) -> None:
    """Write the figures down; webhooks that had none are ingested with that."""
    queries("webhook").walk_by_index(conn)
    for day, group in groupby(sorted(changed, key=attrgetter("received_day", "id")), attrgetter("received_day")):
        rows = list(group)
        queries("webhook").mark_ingested(
            conn,
            day=day,
            ids=[row.id for row in rows],
            events=[row.events for row in rows],
            ingested=[row.ingested for row in rows],
            duplicate=[row.duplicate for row in rows],
            quarantined=[row.quarantined for row in rows],
        )


def keep_refusals(
    conn: PsycopgConnection, keyring: Keyring, keys: Sequence[tuple[date, str]], outcomes: Sequence[Outcome]
) -> None:
    """Put what cannot be used into quarantine.

    Args:
        conn: a connection in a transaction.
        keyring: encrypts the items.
        keys: day and id of each webhook.
        outcomes: what became of each.
    """
    refused = sorted(
        (key, refusal.position, refusal.reason, refusal.item)
        for key, outcome in zip(keys, outcomes, strict=True)
        for refusal in outcome.refusals
    )
    if refused:
        queries("quarantine").put(
            conn,
            days=[key[0] for key, *_ in refused],
            ids=[key[1] for key, *_ in refused],
            positions=[position for _, position, *_ in refused],
            reasons=[reason for _, _, reason, _ in refused],
            items=[keyring.encrypt(item, "quarantine") for *_, item in refused],
        )


def settle_quarantine(
    conn: PsycopgConnection, webhooks: Sequence[Webhook], outcomes: Sequence[Outcome], after: Sequence[Figures]
) -> None:
    """Release the items of webhooks read again that are usable now; what waits then must be what the figures say.

    Raises:
        BalanceError: it is not.
    """
    refused = [
        (webhook.key, refusal.position)
        for webhook, outcome in zip(webhooks, outcomes, strict=True)
        for refusal in outcome.refusals
    ]
    keys: dict[str, Any] = {
        "days": [webhook.received_day for webhook in webhooks],
        "ids": [webhook.id for webhook in webhooks],
    }
    queries("quarantine").settle(
        conn,
        **keys,
        bad_days=[key[0] for key, _ in refused],
        bad_ids=[key[1] for key, _ in refused],
        bad_positions=[position for _, position in refused],
    )
    if queries("quarantine").count_waiting(conn, **keys) != sum(row.quarantined for row in after):
        raise BalanceError


def balance_of(outcomes: Sequence[Outcome], after: Sequence[Figures]) -> Balance:
    """What was found in bodies, against what stands in their figures."""
    return Balance(
        webhooks=len(outcomes),
        received=sum(outcome.received for outcome in outcomes),
        ingested=sum(row.ingested for row in after),
        duplicate=sum(row.duplicate for row in after),
        quarantined=sum(row.quarantined for row in after),
        optins_new=sum(outcome.optins_new for outcome in outcomes),
    )
