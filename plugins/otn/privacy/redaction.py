"""Redaction: what people wrote leaves the stored webhooks before the webhooks themselves go."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from datetime import date

from otn.crypto import DecryptionError, Keyring
from otn.database import Engine, PsycopgConnection, queries, transaction
from otn.privacy.bodies import without_words
from otn.privacy.erasure import save_bodies
from otn.privacy.retention import Retention

SLICE = 500  # bodies in one transaction at most ...
SLICE_BYTES = 8 * 1024 * 1024  # ... and their encrypted size
_FIRST_ID = str(uuid.UUID(int=0))

log = logging.getLogger(__name__)


def redact(engine: Engine, keyring: Keyring, kept: Retention, progress: Callable[[str, int], None]) -> int:
    """Take texts and attachments out of ingested bodies older than ``kept.text_days``.

    Safe twice and at once: each body is written once, under its lock. One that cannot be opened stays until its day
    goes.

    Args:
        engine: the database.
        keyring: opens the bodies and seals them again.
        kept: for how long texts stay.
        progress: is told after each transaction.

    Returns:
        How many bodies were looked through.
    """
    with transaction(engine) as conn:
        days = [row.day for row in queries("purge").days_to_redact(conn, keep_days=kept.text_days)]
    return sum(_redact_day(engine, keyring, day, kept.text_days, progress) for day in days)


def _redact_day(
    engine: Engine, keyring: Keyring, day: date, keep_days: int, progress: Callable[[str, int], None]
) -> int:
    after_id, count, locked = _FIRST_ID, 0, 0
    while True:
        with transaction(engine) as conn:
            rows = list(
                queries("purge").take_unredacted(
                    conn, day=day, after_id=after_id, keep_days=keep_days, most=SLICE, most_bytes=SLICE_BYTES
                )
            )
            done = _redact_rows(conn, keyring, day, [(row.id, row.body) for row in rows])
        if not rows:
            break
        after_id, count, locked = rows[-1].id, count + done, locked + len(rows) - done
        progress("bodies without words", done)
    if locked:
        log.warning("%s raw webhooks of %s cannot be decrypted; what people wrote in them stays", locked, day)
    return count


def _redact_rows(conn: PsycopgConnection, keyring: Keyring, day: date, rows: list[tuple[str, bytes]]) -> int:
    opened: list[str] = []
    changed: list[tuple[str, bytes]] = []
    for webhook_id, sealed in rows:
        try:
            body = without_words(keyring.decrypt(sealed, "webhook"))
        except DecryptionError:
            continue
        opened.append(webhook_id)
        if body is not None:
            changed.append((webhook_id, body))
    save_bodies(conn, keyring, day, changed)
    if opened:
        queries("purge").mark_redacted(conn, day=day, ids=opened)
    return len(opened)
