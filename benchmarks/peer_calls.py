"""One send as one would write it on a first day: read the row, post with requests, write the row, commit.

``python -m benchmarks.peer_calls`` does it for everybody whose number it reads, and tells how long that took.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from dataclasses import dataclass, field

import psycopg2
import requests

from otn.database import PsycopgConnection

TEXT = "Hi Ada, the thing you asked about is back: https://shop.test/thing"
WAIT_S = 30


@dataclass
class Call:
    """What one thread needs; made at its first send.

    Args:
        dsn: libpq's URL of the database.
        address: where messages are posted to.
        access_token: of the page.
    """

    dsn: str
    address: str
    access_token: str
    _own: threading.local = field(default_factory=threading.local)

    @classmethod
    def here(cls) -> Call:
        """As the environment says."""
        return cls(os.environ["PEER_DSN"], os.environ["PEER_ADDRESS"], os.environ["PEER_TOKEN"])

    def send(self, number: int) -> None:
        """Send to one person, once."""
        connection, session = self._connection(), self._session()
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT token FROM peer WHERE id = %s AND message_id IS NULL FOR UPDATE", (number,))
            row = cursor.fetchone()
            if row is None:
                return
            form = {
                "recipient": json.dumps({"one_time_notif_token": row[0]}),
                "message": json.dumps({"text": TEXT}),
            }
            answer = session.post(self.address, data=form, timeout=WAIT_S)
            answer.raise_for_status()
            cursor.execute("UPDATE peer SET message_id = %s WHERE id = %s", (answer.json()["message_id"], number))

    def _connection(self) -> PsycopgConnection:
        if not hasattr(self._own, "connection"):
            self._own.connection = psycopg2.connect(self.dsn)
        found: PsycopgConnection = self._own.connection
        return found

    def _session(self) -> requests.Session:
        if not hasattr(self._own, "session"):
            self._own.session = requests.Session()
            self._own.session.headers["Authorization"] = f"Bearer {self.access_token}"
        found: requests.Session = self._own.session
        return found


def main() -> None:
    """Read the numbers, send, tell."""
    call, numbers = Call.here(), json.load(sys.stdin)
    began = time.monotonic()
    for number in numbers:
        call.send(number)
    sys.stdout.write(str(time.monotonic() - began))


if __name__ == "__main__":
    main()
