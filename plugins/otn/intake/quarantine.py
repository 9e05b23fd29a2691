"""Quarantine: what could not be used, why, and how it is used after all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from otn.consent.silence import silence_journal, write_down
from otn.consent.suppression import read_words
from otn.crypto import DecryptionError, Keyring
from otn.database import Engine, PsycopgConnection, queries, transaction
from otn.intake.balance import Balance, IncompleteError
from otn.intake.merging import Merger, OnEvents
from otn.intake.reading import Outcome, Source
from otn.intake.webhooks import Figures, keep_refusals, mark

SLICE = 200  # items in one transaction


@dataclass(frozen=True)
class QuarantinedItem:
    """An item that waits, without what is in it.

    Args:
        id: its number.
        webhook_day: day of the webhook it came with.
        webhook_id: that webhook.
        position: entry and index in its body.
        reason: why it could not be used.
        created_at: since when it waits.
        bytes: its encrypted size.
    """

    id: int
    webhook_day: date
    webhook_id: str
    position: str
    reason: str
    created_at: datetime
    bytes: int


@dataclass(frozen=True)
class QuarantineReason:
    """How many items wait for one reason.

    Args:
        reason: why they could not be used.
        items: how many.
        oldest: since when the first of them waits.
    """

    reason: str
    items: int
    oldest: datetime


def listing(conn: PsycopgConnection, limit: int = 100) -> list[QuarantinedItem]:
    """The items that wait, newest first."""
    return [QuarantinedItem(**row._asdict()) for row in queries("quarantine").list_waiting(conn, most=limit)]


def reasons(conn: PsycopgConnection) -> list[QuarantineReason]:
    """What waits, by reason, most frequent first."""
    return [QuarantineReason(**row._asdict()) for row in queries("quarantine").count_reasons(conn)]


def replay(
    engine: Engine, keyring: Keyring, *, ids: Sequence[int] | None = None, on_events: OnEvents | None = None
) -> Balance:
    """Read quarantined items once more, such as after their page was registered.

    What is usable now leaves the quarantine, and the figures of its webhook follow. Safe twice and at once.

    Args:
        engine: the database.
        keyring: keys of items, tokens and hashes.
        ids: these items only; None: all that wait.
        on_events: is told the ids of new events inside the transaction that stored them.

    Raises:
        IncompleteError: some items cannot be decrypted; everything else was replayed.
    """
    merger = Merger(keyring, read_words(), on_events, silences=silence_journal(keyring=keyring))
    balance, after_id, locked = Balance(), 0, 0
    wanted = None if ids is None else list(ids)
    while True:
        with transaction(engine) as conn:
            found = list(queries("quarantine").next_waiting(conn, after_id=after_id, ids=wanted, most=SLICE))
            if found:
                done, closed = _replay(conn, merger, found)
        if not found:
            break
        balance, locked, after_id = balance + done, locked + closed, found[-1].id
    if locked:
        raise IncompleteError(
            f"{locked} quarantined items cannot be decrypted; everything else was replayed. Put the key that they were"
            " written with back into OTN_ENCRYPTION_KEYS and run this again.",
            balance,
        )
    return balance


def _replay(conn: PsycopgConnection, merger: Merger, found: Sequence[Any]) -> tuple[Balance, int]:
    """One slice; answers its balance, and how many items could not be decrypted."""
    days, webhook_ids = [row.webhook_day for row in found], [row.webhook_id for row in found]
    origins = {
        (row.received_day, row.id): row for row in queries("webhook").lock_webhooks(conn, days=days, ids=webhook_ids)
    }
    items, sources = [], []
    rows = list(queries("quarantine").lock_items(conn, ids=[row.id for row in found]))
    for row in rows:
        try:
            body = merger.keyring.decrypt(row.item, "quarantine")
        except DecryptionError:
            continue
        items.append(row)
        sources.append(Source(row.webhook_day, row.webhook_id, body, prefix=f"{row.position}+"))
    if not items:
        return Balance(), len(rows)
    outcomes, changes = merger.merge(conn, sources)
    _move_items(conn, merger.keyring, items, outcomes)
    _move_figures(conn, origins, items, outcomes)
    write_down(conn, merger.silences, changes)
    balance = sum(map(_balance, outcomes), Balance())
    return balance, len(rows) - len(items)


def _move_items(conn: PsycopgConnection, keyring: Keyring, items: Sequence[Any], outcomes: Sequence[Outcome]) -> None:
    usable = [(item, outcome) for item, outcome in zip(items, outcomes, strict=True) if not _is_unusable(outcome)]
    for item, outcome in zip(items, outcomes, strict=True):
        if _is_unusable(outcome):
            queries("quarantine").correct_reason(conn, id=item.id, reason=outcome.refusals[0].reason)
    # A whole body or entry may be usable in part: what is not becomes an item of its own.
    keep_refusals(
        conn, keyring, [(item.webhook_day, item.webhook_id) for item, _ in usable], [part for _, part in usable]
    )
    queries("quarantine").mark_replayed(conn, ids=[item.id for item, _ in usable])


def _is_unusable(outcome: Outcome) -> bool:
    return outcome.received == len(outcome.refusals) == 1


def _move_figures(
    conn: PsycopgConnection,
    origins: dict[tuple[date, str], Any],
    items: Sequence[Any],
    outcomes: Sequence[Outcome],
) -> None:
    """The webhook had each item as one in quarantine; now it has what became of it."""
    changed: dict[tuple[date, str], Figures] = {}
    for item, outcome in zip(items, outcomes, strict=True):
        key = (item.webhook_day, item.webhook_id)
        if key not in origins:  # past its retention
            continue
        row = changed.get(key, origins[key])
        parts = _balance(outcome)
        changed[key] = Figures(
            row.received_day,
            row.id,
            row.events + parts.received - 1,
            row.ingested + parts.ingested,
            row.duplicate + parts.duplicate,
            row.quarantined + parts.quarantined - 1,
        )
    mark(conn, list(changed.values()))


def _balance(outcome: Outcome) -> Balance:
    ingested, waiting = outcome.new + outcome.erased, len(outcome.refusals)
    return Balance(
        webhooks=1,
        received=outcome.received,
        ingested=ingested,
        duplicate=outcome.received - ingested - waiting,
        quarantined=waiting,
        optins_new=outcome.optins_new,
    )
