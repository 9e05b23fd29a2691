"""Webhooks as a handler takes them that knows of nothing else: parsed, written and committed one by one."""

from __future__ import annotations

from typing import Any

from otn.crypto import Keyring
from otn.database import Engine, transaction
from otn.messenger.events import Event, parse_webhook
from otn.web.spool import PURPOSE

BODIES = "SELECT received_day, id, body FROM otn.webhook_event ORDER BY received_day, id LIMIT %s"
KNOWN = "SELECT page_id, id FROM otn.topic"
PERSON = """
INSERT INTO otn.subscriber (page_id, psid, last_interaction_at) VALUES (%s, %s, %s)
ON CONFLICT (page_id, psid) DO UPDATE
SET last_interaction_at = greatest(subscriber.last_interaction_at, excluded.last_interaction_at) RETURNING id
"""
CONSENT = """
INSERT INTO otn.token (subscriber_id, topic_id, token_hash, token_encrypted, opted_in_at, expires_at)
VALUES (%s, %s, %s, %s, %s, %s + interval '1 year') ON CONFLICT DO NOTHING
"""
EVENT = """
INSERT INTO otn.event (fingerprint, page_id, subscriber_id, kind, occurred_at, mid, mids, watermark, webhook_day,
                       webhook_id)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
DONE = """
UPDATE otn.webhook_event SET ingested_at = clock_timestamp(), events = 1, ingested = 1, duplicate = 0, quarantined = 0
WHERE received_day = %s AND id = %s
"""


def insert_one_by_one(engine: Engine, keyring: Keyring, page: str, webhooks: int) -> None:
    """Write the first webhooks over one connection, a transaction each.

    Args:
        engine: the database.
        keyring: opens bodies, seals tokens.
        page: Facebook's number of the only page.
        webhooks: how many.
    """
    with transaction(engine) as connection, connection.cursor() as cursor:
        cursor.execute(KNOWN)
        known = cursor.fetchone()
        cursor.execute(BODIES, [webhooks])
        for day, webhook, body in cursor.fetchall():
            for event in parse_webhook(keyring.decrypt(body, PURPOSE), {page}).events:
                _write(cursor, keyring, event, known, (day, webhook))
            cursor.execute(DONE, [day, webhook])
            connection.commit()


def _write(cursor: Any, keyring: Keyring, event: Event, known: tuple[int, int], webhook: tuple[Any, Any]) -> None:
    page, topic = known
    cursor.execute(PERSON, [page, event.psid, event.occurred_at])
    (person,) = cursor.fetchone()
    if event.token is None:
        mark = keyring.digest(event.kind.value, str(event.psid), event.occurred_at.isoformat())
    else:
        mark = keyring.digest("token", event.page_id, event.token)
        sealed = keyring.encrypt(event.token.encode(), "token")
        cursor.execute(CONSENT, [person, topic, mark, sealed, event.occurred_at, event.occurred_at])
    about = [event.occurred_at, event.mid, list(event.mids) or None, event.watermark]
    cursor.execute(EVENT, [mark, page, person, event.kind.value, *about, *webhook])
