"""Endpoints: where results go, who set them, what they still have to get."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from otn.consent.pages import Page
from otn.crypto import Keyring
from otn.database import Engine, PsycopgConnection, queries, transaction
from otn.errors import UsageError
from otn.outgoing.address import read_target
from otn.outgoing.delivering import PURPOSE, open_secrets
from otn.outgoing.post import Outcome, post
from otn.outgoing.signing import HEADER, new_secret, sign

KINDS = (
    "recipients",
    "campaign.awaiting_approval",
    "campaign.halted",
    "campaign.interrupted",
    "campaign.finished",
    "campaign.cancelled",
)
KEY_CHARACTERS = 100
ROTATION_HOURS = 24


class UnknownEndpointError(UsageError):
    """There is no such endpoint. `./otn outgoing list` shows what there is."""


class EndpointExistsError(UsageError):
    """The page has an endpoint of this name. Take another name, or remove that one first."""


@dataclass(frozen=True)
class Added:
    """A new endpoint.

    Args:
        id: ``otn.endpoint.id``.
        secret: signs what it gets; shown this once.
    """

    id: int
    secret: str = field(repr=False)


def add(
    engine: Engine,
    keyring: Keyring,
    page: Page,
    key: str,
    url: str,
    *,
    actor: str,
    private: bool,
    kinds: Sequence[str] = KINDS,
) -> Added:
    """Write an endpoint down; it gets what happens from now on.

    Args:
        engine: the project's database.
        keyring: seals its secret.
        page: whose results it gets.
        key: its name, once per page.
        url: https; see ``otn.outgoing.address``.
        actor: who.
        private: whether addresses of a house may be reached.
        kinds: what it wants to know, of ``KINDS``.

    Raises:
        EndpointUrlError: the address cannot be used.
        EndpointExistsError: the name is taken.
        UsageError: the name or a kind cannot be.
    """
    read_target(url, private=private)
    _check(key, kinds)
    secret = new_secret()
    with transaction(engine) as connection:
        row = queries("outgoing").add_endpoint(
            connection,
            page_id=page.id,
            key=key,
            url=url,
            kinds=sorted(set(kinds)),
            secret=keyring.encrypt(secret.encode(), PURPOSE),
            actor=actor,
        )
        if row is None:
            raise EndpointExistsError
        _audit(connection, actor, "outgoing added", page, key, {"kinds": sorted(set(kinds))})
    return Added(row.id, secret)


def _check(key: str, kinds: Sequence[str]) -> None:
    if not key or len(key) > KEY_CHARACTERS or not key.isprintable():
        raise UsageError(f"The name has {len(key)} characters. Give one of 1 to {KEY_CHARACTERS} plain ones.")
    wrong = sorted(set(kinds) - set(KINDS))
    if wrong or not kinds:
        raise UsageError(f"{', '.join(wrong) or 'Nothing'} cannot be asked for. There is: {', '.join(KINDS)}.")


def listing(engine: Engine, page: Page | None = None) -> list[dict[str, Any]]:
    """Endpoints of all pages, or of one."""
    with transaction(engine) as connection:
        rows = queries("outgoing").list_endpoints(connection, page_id=page.id if page else None)
        return [row._asdict() for row in rows]


def remove(engine: Engine, page: Page, key: str, *, actor: str) -> None:
    """Send it nothing any more; what waits for it is dropped.

    Raises:
        UnknownEndpointError: there is none of that name.
    """
    with transaction(engine) as connection:
        row = _find(connection, page, key)
        queries("outgoing").remove_endpoint(connection, id=row.id)
        _audit(connection, actor, "outgoing removed", page, key, {})


def rotate(engine: Engine, keyring: Keyring, page: Page, key: str, *, actor: str, hours: int = ROTATION_HOURS) -> Added:
    """Give it a new secret; the old one signs too for some hours, so that its receivers may change over.

    Raises:
        UnknownEndpointError: there is none of that name.
    """
    secret = new_secret()
    with transaction(engine) as connection:
        row = _find(connection, page, key)
        sealed = keyring.encrypt(secret.encode(), PURPOSE)
        queries("outgoing").rotate_secret(connection, id=row.id, secret=sealed, hours=hours)
        _audit(connection, actor, "outgoing rotated", page, key, {"hours": hours})
    return Added(row.id, secret)


def enable(engine: Engine, page: Page, key: str, *, actor: str) -> None:
    """Try an endpoint again that was given up on; what is kept goes to it in order.

    Raises:
        UnknownEndpointError: there is none of that name.
    """
    with transaction(engine) as connection:
        row = _find(connection, page, key)
        queries("outgoing").enable_endpoint(connection, id=row.id)
        _audit(connection, actor, "outgoing enabled", page, key, {})


def replay(engine: Engine, page: Page, key: str, since: datetime, *, actor: str) -> int:
    """Send everything since then once more, with the ids that it had; answers how many events wait for it now.

    Args:
        engine: the project's database.
        page: whose endpoint it is.
        key: its name.
        since: with its zone.
        actor: who.

    Raises:
        UnknownEndpointError: there is none of that name.
    """
    with transaction(engine) as connection:
        row = _find(connection, page, key)
        events = queries("outgoing").replay(connection, id=row.id, since=since).events
        _audit(connection, actor, "outgoing replayed", page, key, {"since": since.isoformat(), "events": events})
        return int(events)


def test(engine: Engine, keyring: Keyring, page: Page, key: str, *, private: bool) -> Outcome:
    """Send it an event of the type ``test``, now and from this machine; nothing is noted.

    Raises:
        UnknownEndpointError: there is none of that name.
        DecryptionError: the key that its secret was written with is not here.
    """
    with transaction(engine) as connection:
        row = _find(connection, page, key)
    event_id = str(uuid.uuid4())
    created = f"{row.now:%Y-%m-%dT%H:%M:%S.%fZ}"
    content = {"id": event_id, "type": "test", "created_at": created, "page": row.page}
    body = json.dumps(content, separators=(",", ":")).encode()
    keys = open_secrets(keyring, row.secret, row.secret_before)
    headers = {HEADER: sign(body, keys, int(time.time())), "OTN-Event": event_id}
    return post(row.url, body, headers, private=private)


def _find(connection: PsycopgConnection, page: Page, key: str) -> Any:
    row = queries("outgoing").find_endpoint(connection, page_id=page.id, key=key)
    if row is None:
        raise UnknownEndpointError
    return row


def _audit(
    connection: PsycopgConnection, actor: str, action: str, page: Page, key: str, detail: dict[str, Any]
) -> None:
    queries("outgoing").write_audit(
        connection, actor=actor, action=action, page_id=page.id, detail=json.dumps({"endpoint": key, **detail})
    )
