"""Events taken to their endpoints: each in order, again until it is taken, one dead endpoint in nobody's way."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from otn.crypto import DecryptionError, Keyring
from otn.database import Engine, queries, transaction
from otn.outgoing.post import TOTAL_S, Outcome, post
from otn.outgoing.signing import HEADER, sign

PURPOSE = "outgoing"
LEASE_S = 60.0
# No request begins with less of the lease left than all its limits together; the name service may hang before it.
SAFE_S = LEASE_S - TOTAL_S - 5
SHORTEST_S, LONGEST_S = 30.0, 6 * 3600.0  # between two tries
GIVE_UP_DAYS = 5


@dataclass
class Delivered:
    """What was delivered to one endpoint.

    Args:
        endpoint: its page and key.
        events: that it took.
        error: why it took no more; None: it has all, or the time was up.
        disabled: it was given up on.
    """

    endpoint: str
    events: int = 0
    error: str | None = None
    disabled: bool = False


def due(engine: Engine) -> list[int]:
    """Endpoints (``otn.endpoint.id``) that there is something for."""
    with transaction(engine) as connection:
        return [row.id for row in queries("outgoing").due_endpoints(connection)]


def deliver(
    engine: Engine,
    keyring: Keyring,
    endpoint: int,
    *,
    private: bool,
    over: Callable[[], bool] = lambda: False,
) -> Delivered | None:
    """Take to an endpoint what it has not got, one request after the other, until one fails.

    At least once: after a crash between the request and its note the same event goes again, with the same id.

    Args:
        engine: the project's database.
        keyring: opens the endpoint's secret.
        endpoint: ``otn.endpoint.id``.
        private: whether addresses of a house may be reached.
        over: says that the time of this run is up; asked before each request.

    Returns:
        What was delivered; None where another is at it, or it is not due.
    """
    with transaction(engine) as connection:
        row = queries("outgoing").lease(connection, id=endpoint, lease_s=LEASE_S)
    if row is None:
        return None
    done = Delivered(f"{row.page} {row.key}")
    try:
        keys = open_secrets(keyring, row.secret, row.secret_before)
    except DecryptionError:
        return _failed(engine, row, done, Outcome("secret_unreadable"))
    while not over():
        event = _next(engine, row)
        if event is None:
            break
        renewed = time.monotonic()
        body = body_of(event, row.page)
        headers = {HEADER: sign(body, keys, event.now), "OTN-Event": event.event_id}
        if time.monotonic() - renewed > SAFE_S:
            break
        outcome = post(row.url, body, headers, private=private)
        if outcome.error is not None:
            return _failed(engine, row, done, outcome)
        with transaction(engine) as connection:
            queries("outgoing").took(connection, id=row.id, lease=row.lease, event=event.id, before=event.position)
        done.events += 1
    with transaction(engine) as connection:
        queries("outgoing").release(connection, id=row.id, lease=row.lease)
    return done


def open_secrets(keyring: Keyring, *sealed: bytes | None) -> list[str]:
    """Secrets that sign now, the newest first.

    Raises:
        DecryptionError: the key that they were written with is not here.
    """
    return [keyring.decrypt(one, PURPOSE).decode() for one in sealed if one is not None]


def _next(engine: Engine, row: Any) -> Any:
    """The next event, with the lease renewed; None: there is none, or somebody else has the endpoint now."""
    with transaction(engine) as connection:
        if not queries("outgoing").renew_lease(connection, id=row.id, lease=row.lease, lease_s=LEASE_S):
            return None
        return queries("outgoing").next_event(connection, id=row.id)


def body_of(event: Any, page: str) -> bytes:
    """The body of an event: the same bytes each time that it is sent."""
    content = {
        "id": event.event_id,
        "type": event.kind,
        "created_at": f"{event.created_at:%Y-%m-%dT%H:%M:%S.%fZ}",
        "page": page,
        "campaign": {"id": event.campaign_id, "key": event.campaign},
        **event.content,
    }
    return json.dumps(content, ensure_ascii=True, separators=(",", ":")).encode()


def _failed(engine: Engine, row: Any, done: Delivered, outcome: Outcome) -> Delivered:
    with transaction(engine) as connection:
        noted = queries("outgoing").failed(
            connection,
            id=row.id,
            lease=row.lease,
            error=outcome.error,
            gone=outcome.gone,
            after_s=outcome.after_s,
            shortest_s=SHORTEST_S,
            longest_s=LONGEST_S,
            days=GIVE_UP_DAYS,
        )
    done.error, done.disabled = outcome.error, noted is not None and noted.disabled
    return done
