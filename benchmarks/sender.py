"""A process that sends a chunk: ``python -m benchmarks.sender`` with its orders on standard input.

It gets ready and says so; the next line lets it go. ``ours`` is the engine as a task runs it, ``limit`` the same client
that posts the same batches from as many threads, and keeps nothing.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from otn.campaign.send import SendLimits, send_chunk
from otn.crypto import read_keyring
from otn.database import make_engine, queries, transaction
from otn.database.schema import check_schema
from otn.messenger.client import MessengerClient, PageCredentials, SendRequest, SendResult
from otn.pace import Pace
from otn.rendering import compile_message
from otn.settings import PageSettings

CONNECTIONS = 6  # as a task has them
READY = "ready\n"
ROWS = """
SELECT gen_random_uuid()::text, r.variables, t.token_encrypted
FROM otn.recipient r JOIN otn.token t ON t.id = r.token_id
WHERE r.campaign_id = %s AND r.chunk = %s ORDER BY r.subscriber_id
"""


@dataclass(frozen=True)
class Orders:
    """What to send.

    Args:
        side: ``ours`` or ``limit``.
        url: of the database.
        page: the page's settings.
        campaign: ``otn.campaign.id``.
        chunk: its chunk.
    """

    side: str
    url: str
    page: dict[str, Any]
    campaign: int
    chunk: int


@dataclass
class Sent:
    """What became of it.

    Args:
        people: who got it.
        began: moment (``time.monotonic``) at which it was let go.
        first: of the first call.
        ended: at which all was sent, and recorded where it is.
        cpu_s: computing time of the process in between.
        idle_mb: memory in use before, at most.
        peak_mb: at the end, at most.
    """

    people: int = 0
    began: float = 0.0
    first: float = 0.0
    ended: float = 0.0
    cpu_s: float = 0.0
    idle_mb: float = 0.0
    peak_mb: float = 0.0


class _Watched(MessengerClient):
    """Notes when it is called first."""

    first = 0.0

    def send(self, request: SendRequest) -> SendResult:
        self.first = self.first or time.monotonic()
        return super().send(request)

    def send_batch(self, requests: Sequence[SendRequest]) -> list[SendResult]:
        self.first = self.first or time.monotonic()
        return super().send_batch(requests)


def main() -> None:
    """Take the orders, wait for the start, send, tell."""
    orders = Orders(**json.loads(sys.stdin.readline()))
    settings = PageSettings(**orders.page)
    client = _Watched(
        PageCredentials(
            base_url=settings.base_url,
            page_id=settings.page_id,
            access_token=settings.access_token,
            app_secret=settings.app_secret,
            api_version=settings.api_version,
        )
    )
    with client:
        sent = {"ours": _ours, "limit": _limit}[orders.side](orders, settings, client)
    sent.first = client.first
    sent.ended = sent.ended or time.monotonic()
    sent.cpu_s = time.process_time() - sent.cpu_s
    sent.peak_mb = peak_mb()
    sys.stdout.write(json.dumps(asdict(sent)))


def _ours(orders: Orders, settings: PageSettings, client: MessengerClient) -> Sent:
    engine = make_engine(orders.url, pool_size=CONNECTIONS, application_name="otn bench")
    check_schema(engine)
    keyring = read_keyring()
    sent = _let_go()
    result = send_chunk(engine, client, keyring, settings, orders.campaign, orders.chunk)
    sent.ended = time.monotonic()
    sent.people = result.sent
    engine.dispose()
    return sent


def _limit(orders: Orders, settings: PageSettings, client: MessengerClient) -> Sent:
    engine = make_engine(orders.url)
    requests = _requests(orders)
    size = Pace.of(engine, 0, settings).batch_size(settings.batch_size)
    batches = [requests[first : first + size] for first in range(0, len(requests), size)]
    sent = _let_go()
    with ThreadPoolExecutor(SendLimits().threads, "call") as calls:
        for results in calls.map(client.send_batch, batches):
            sent.people += sum(result.message_id is not None for result in results)
    return sent


def _requests(orders: Orders) -> list[SendRequest]:
    """The messages as the engine makes them, made beforehand."""
    engine, keyring = make_engine(orders.url), read_keyring()
    with transaction(engine) as connection, connection.cursor() as cursor:
        row = queries("campaign").find_campaign(connection, campaign_id=orders.campaign)
        cursor.execute(ROWS, (orders.campaign, orders.chunk))
        rows = cursor.fetchall()
    template = compile_message(row.message)
    return [
        SendRequest(
            recipient={"one_time_notif_token": keyring.decrypt(sealed, "token").decode()},
            message={**template.render(variables), "metadata": attempt_id},
        )
        for attempt_id, variables, sealed in rows
    ]


def _let_go() -> Sent:
    sent = Sent(idle_mb=peak_mb())
    sys.stdout.write(READY)
    sys.stdout.flush()
    sys.stdin.readline()
    sent.began, sent.cpu_s = time.monotonic(), time.process_time()
    return sent


def peak_mb() -> float:
    """Memory in use at most, of this program; what getrusage tells may be its parent's, from before the exec."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
