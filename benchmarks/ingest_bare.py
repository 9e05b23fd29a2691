"""The least that can be done with stored webhooks: parse, encrypt, ``COPY``. Only good for an empty database."""

from __future__ import annotations

import io
from typing import Any

from otn.crypto import Keyring
from otn.messenger.events import Event, parse_webhook
from otn.web.spool import PURPOSE

SLICE = 1000
BODIES = "SELECT received_day, id::text, body FROM otn.webhook_event ORDER BY received_day, id"
KNOWN = "SELECT page_id, id FROM otn.topic"
NO_VALUE = "\\N"
# In the order in which they refer to each other.
COPIES = {
    "subscriber": "COPY otn.subscriber (id, page_id, psid, last_interaction_at) FROM STDIN",
    "token": """
COPY otn.token (subscriber_id, topic_id, token_hash, token_encrypted, opted_in_at, expires_at) FROM STDIN
""",
    "event": """
COPY otn.event (fingerprint, page_id, subscriber_id, kind, occurred_at, mid, mids, watermark, webhook_day, webhook_id)
FROM STDIN
""",
}


class Copier:
    """All webhooks of a database, in one transaction.

    It looks nobody up, locks nothing, and believes that no event comes twice.

    Args:
        connection: in a transaction; psycopg2's.
        keyring: opens bodies, seals tokens.
        page: Facebook's number of the only page.
    """

    def __init__(self, connection: Any, keyring: Keyring, page: str) -> None:
        self._connection = connection
        self._keyring = keyring
        self._page = page
        self._people: dict[str, int] = {}
        self._lines: dict[str, list[str]] = {table: [] for table in COPIES}
        with connection.cursor() as cursor:
            cursor.execute(KNOWN)
            self._page_row, self._topic = cursor.fetchone()

    def copy(self) -> None:
        """Copy everything."""
        with self._connection.cursor("bodies") as bodies:
            bodies.execute(BODIES)
            while rows := bodies.fetchmany(SLICE):
                for day, webhook, body in rows:
                    for event in parse_webhook(self._keyring.decrypt(body, PURPOSE), {self._page}).events:
                        self._add(event, f"{day}\t{webhook}")
                self._flush()

    def _add(self, event: Event, webhook: str) -> None:
        psid, at = str(event.psid), event.occurred_at.isoformat()
        person = self._people.get(psid)
        if person is None:
            person = self._people[psid] = len(self._people) + 1
            self._lines["subscriber"].append(f"{person}\t{self._page_row}\t{psid}\t{at}")
        if event.token is None:
            known = self._keyring.digest(event.kind.value, psid, at).hex()
        else:
            known = self._keyring.digest("token", self._page, event.token).hex()
            sealed = self._keyring.encrypt(event.token.encode(), "token").hex()
            expires = event.occurred_at.replace(year=event.occurred_at.year + 1, day=min(event.occurred_at.day, 28))
            self._lines["token"].append(
                f"{person}\t{self._topic}\t\\\\x{known}\t\\\\x{sealed}\t{at}\t{expires.isoformat()}"
            )
        mids = f"{{{','.join(event.mids)}}}" if event.mids else NO_VALUE
        watermark = event.watermark.isoformat() if event.watermark else NO_VALUE
        about = f"{event.kind.value}\t{at}\t{event.mid or NO_VALUE}\t{mids}\t{watermark}"
        self._lines["event"].append(f"\\\\x{known}\t{self._page_row}\t{person}\t{about}\t{webhook}")

    def _flush(self) -> None:
        with self._connection.cursor() as cursor:
            for table, copy in COPIES.items():
                cursor.copy_expert(copy, io.StringIO("\n".join(self._lines[table])))
                self._lines[table].clear()
