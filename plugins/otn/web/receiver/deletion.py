"""People who ask the platform to have their data deleted: the request, and the page that says what became of it."""

from __future__ import annotations

import html
import re
import secrets
import uuid
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

from otn.crypto import Keyring
from otn.database import DatabaseError, PsycopgConnection, queries
from otn.messenger.signature import MalformedRequestError, SignatureError, read_signed_request
from otn.web.receiver.desk import Desk
from otn.web.receiver.line import Line
from otn.web.receiver.pages import PageSecrets

PURPOSE = "deletion"  # what the app-scoped ids are encrypted for
PATIENCE = 3.0  # seconds for the database
_USER_ID = re.compile(r"[0-9]{1,40}", re.ASCII)
_CODE = re.compile(r"[0-9a-f]{20}", re.ASCII)
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}
_log = structlog.get_logger("otn.receiver")

Recognised = Callable[[Callable[[PageSecrets], bool]], Awaitable[bool]]


class Deletions:
    """Takes requests to delete a person's data, and shows their state.

    Args:
        line: to the database, used here alone.
        keyring: encrypts and hashes the ids.
        public_url: where the world reaches the receiver; None: where the request says that it was sent to.
    """

    LIMIT = 65_536  # bytes of a request's form

    def __init__(self, line: Line, keyring: Keyring, public_url: str | None = None) -> None:
        self._line = line
        self._desk = Desk(line)
        self._keyring = keyring
        self._public_url = public_url

    async def ask(self, request: Request, raw: bytes, recognised: Recognised) -> Response:
        """Write a request down and answer with its code (Meta docs, Data Deletion Request Callback).

        Args:
            request: for the address that it was sent to.
            raw: the form.
            recognised: tells whether a test succeeds with the secrets of our pages.
        """
        try:
            user_id = await _user_id(raw, recognised)
        except SignatureError:
            return PlainTextResponse("The signature is wrong.", 403)
        except MalformedRequestError:
            return PlainTextResponse("The form has no signed_request that can be read.", 400)
        try:
            code = await self._desk.ask(
                lambda: self._line.run(lambda connection: self._write(connection, user_id)), PATIENCE
            )
        except (DatabaseError, SQLAlchemyError, TimeoutError) as error:
            return _unavailable(error)
        base = self._public_url or str(request.base_url).rstrip("/")
        return JSONResponse({"url": f"{base}/deletion?id={code}", "confirmation_code": code})

    def _write(self, connection: PsycopgConnection, user_id: str) -> str:
        user_hash = self._keyring.digest("asid", user_id)
        while True:
            queries("receiver").ask_deletion(
                connection,
                id=str(uuid.uuid4()),
                code=secrets.token_hex(10),
                user_id=self._keyring.encrypt(user_id.encode(), PURPOSE),
                user_hash=user_hash,
            )
            # None: the one that was open was carried out between the two statements. Then this is another request.
            if (code := queries("receiver").open_deletion(connection, user_hash=user_hash)) is not None:
                return str(code)

    async def show(self, request: Request) -> Response:
        """The page for the person who asked."""
        code = request.query_params.get("id", "").strip().lower()
        if not _CODE.fullmatch(code):
            return _unknown()
        try:
            row = await self._desk.ask(
                lambda: self._line.run(lambda connection: queries("receiver").find_deletion(connection, code=code)),
                PATIENCE,
            )
        except (DatabaseError, SQLAlchemyError, TimeoutError) as error:
            return _unavailable(error)
        return _unknown() if row is None else _page(code, row)

    def close(self) -> None:
        """Give up what is still going on."""
        self._desk.close()


async def _user_id(raw: bytes, recognised: Recognised) -> str:
    try:
        fields = parse_qs(raw.decode("ascii"), max_num_fields=20)
    except ValueError:
        raise MalformedRequestError from None
    texts = fields.get("signed_request", [])
    if len(texts) != 1:
        raise MalformedRequestError
    payloads: list[dict[str, Any]] = []

    def read(known: PageSecrets) -> bool:
        try:
            payloads.append(read_signed_request(texts[0], known.app_secrets))
        except SignatureError:
            return False
        return True

    if not await recognised(read):
        raise SignatureError
    user_id = payloads[0].get("user_id")
    text = str(user_id) if isinstance(user_id, int) and not isinstance(user_id, bool) else user_id
    if not isinstance(text, str) or not _USER_ID.fullmatch(text):
        raise MalformedRequestError
    return text


def _page(code: str, row: Any) -> Response:
    asked = f"Your request was received on {row.received_at:%Y-%m-%d at %H:%M} UTC."
    if row.state != "done":
        return _html("Your data will be deleted", [asked, "It is being carried out. Please look again later."], code)
    if row.people:
        done = f"It was carried out on {row.done_at:%Y-%m-%d}: the data held about you were erased"
        done += "." if row.people == 1 else f" ({row.people} conversations with our pages)."
        return _html("Your data were deleted", [asked, done], code)
    why = (
        f"It was carried out on {row.done_at:%Y-%m-%d}: no data were found under the number that Facebook gave us. "
        "That number belongs to this app, while conversations are kept under another one that Facebook often does not "
        "tell. If you have exchanged messages with our page, write to it there, and what is held will be erased."
    )
    return _html("No data were found", [asked, why], code)


def _unknown() -> Response:
    return _html("No such request", ["There is no request with this code. Please check the address."], None, 404)


def _unavailable(error: Exception) -> Response:
    _log.error("deletion desk", error=type(error).__name__, sqlstate=getattr(error, "sqlstate", None))
    return PlainTextResponse("This cannot be done now. Please try again.", 503, {"Retry-After": "60"})


def _html(title: str, sentences: list[str], code: str | None, status: int = 200) -> Response:
    said = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in sentences)
    if code is not None:
        said += f"<p>Confirmation code: <code>{html.escape(code)}</code></p>"
    return HTMLResponse(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        '<meta name="viewport" content="width=device-width"><style>body{font:1rem/1.5 sans-serif;max-width:40rem;'
        f"margin:3rem auto;padding:0 1rem}}</style></head><body><h1>{html.escape(title)}</h1>{said}</body></html>",
        status,
        _HEADERS,
    )
