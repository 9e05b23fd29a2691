"""Everything that is held about one person, for the person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from otn.consent.objection import UnknownPersonError
from otn.consent.pages import Page
from otn.crypto import DecryptionError, Keyring
from otn.database import Engine, PsycopgConnection, queries, transaction
from otn.errors import OtnError
from otn.privacy.bodies import items_of, mentioned
from otn.privacy.erasure import SCAN, check_psid, is_erased
from otn.rendering import compile_message

SENT = ("sent", "sending", "unknown")
_STEP = 50  # bodies in one step


def export(engine: Engine, keyring: Keyring, page: Page, psid: str) -> dict[str, Any]:
    """Everything held about one person, as JSON values and times; tokens without their text.

    Args:
        engine: the database.
        keyring: opens raw webhooks, hashes the PSID.
        page: whose PSID it is.
        psid: the person.

    Returns:
        ``page``, ``psid``, ``erased_at`` and, unless the person was erased, ``profile``, ``consents``, ``campaigns``,
        ``left_out``, ``window_messages``, ``silences``, ``events`` and ``webhooks`` (items as they were received).
        ``quarantine`` has items that could not be used; of somebody of whom there is nothing else, those alone.

    Raises:
        UsageError: it is no PSID.
        UnknownPersonError: we hold nobody of this PSID, and nobody was erased.
    """
    psid = check_psid(psid)
    with transaction(engine) as conn:
        conn.cursor().execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        whose = {"page": page.page_id, "psid": psid, "erased_at": is_erased(conn, keyring, page, psid)}
        row = queries("erasure").find_person(conn, page_id=page.id, psid=psid)
        waiting = _quarantined(conn, keyring, psid)
        if row is None:
            if whose["erased_at"] is None and not waiting:
                raise UnknownPersonError
            return whose | ({"quarantine": waiting} if waiting else {})
        return whose | {
            "profile": queries("personal").profile(conn, id=row.id)._asdict(),
            "consents": _rows(conn, "consents", row.id),
            "campaigns": [_with_text(one, one.pop("template")) for one in _rows(conn, "campaigns", row.id)],
            "left_out": _rows(conn, "left_out", row.id),
            "window_messages": _rows(conn, "window_messages", row.id),
            "silences": _rows(conn, "silences", row.id),
            "events": _rows(conn, "events", row.id),
            "webhooks": _webhooks(conn, keyring, row.id, psid),
            "quarantine": waiting,
        }


def _rows(conn: PsycopgConnection, query: str, person: int) -> list[dict[str, Any]]:
    return [row._asdict() for row in getattr(queries("personal"), query)(conn, id=person)]


def _with_text(row: dict[str, Any], template: Mapping[str, Any]) -> dict[str, Any]:
    """The campaign's message as this person got it, as far as it can be made again."""
    message = None
    if row["state"] in SENT:
        try:
            message = compile_message(dict(template)).render(row["variables"])
        except OtnError:  # limits or fields have changed since
            message = dict(template)
    return row | {"message": message}


def _webhooks(conn: PsycopgConnection, keyring: Keyring, person: int, psid: str) -> list[dict[str, Any]]:
    keys = [(row.day, row.id) for row in queries("erasure").webhooks_of_person(conn, id=person)]
    found: list[dict[str, Any]] = []
    for start in range(0, len(keys), _STEP):
        step = keys[start : start + _STEP]
        rows = queries("personal").bodies(conn, days=[day for day, _ in step], ids=[name for _, name in step])
        for row in rows:
            try:
                items = items_of(keyring.decrypt(row.body, "webhook"), psid)
            except DecryptionError:
                continue
            found += [{"received_at": row.received_at, "item": item} for item in items]
    return found


def _quarantined(conn: PsycopgConnection, keyring: Keyring, psid: str) -> list[dict[str, Any]]:
    """What could not be used and names the person; None where it cannot be taken apart."""
    found: list[dict[str, Any]] = []
    after_id = 0
    while rows := list(queries("quarantine").next_items(conn, after_id=after_id, most=SCAN)):
        after_id = rows[-1].id
        for row in rows:
            try:
                body = keyring.decrypt(row.item, "quarantine")
            except DecryptionError:
                continue
            if mentioned(body, {psid}):
                items: list[dict[str, Any] | None] = [*items_of(body, psid)]
                found += [{"number": row.id, "item": item} for item in items or [None]]
    return found
