"""HMACs of the platform: over webhooks (theirs) and over the access token (ours)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable
from typing import Any

from otn.errors import OtnError
from otn.messenger import wire

_PREFIX = "sha256="
_FORM = re.compile(r"\s*sha256=[0-9a-f]{64}\s*", re.ASCII)
_ALGORITHM = "HMAC-SHA256"
_SIGNED_REQUEST = re.compile(r"([A-Za-z0-9_-]+)={0,2}\.([A-Za-z0-9_-]+={0,2})", re.ASCII)
_SIGNED_REQUEST_LIMIT = 16_384


class SignatureError(OtnError):
    """No app secret of a registered page fits the signature. Register the page of that app, or correct its secret."""


class MalformedRequestError(OtnError):
    """The signed request cannot be read. Hand it on exactly as the platform sent it."""


def sign(raw: bytes, app_secret: str) -> str:
    """Return what the platform puts into ``X-Hub-Signature-256`` for this body.

    Source: Meta docs, Webhooks, "Validate payloads": HMAC-SHA256 keyed with the app secret over the raw bytes.

    Args:
        raw: The body as it travels, never re-serialised: the platform signs its own escaped form.
        app_secret: The secret of the app that is subscribed to the page.
    """
    return _PREFIX + hmac.new(app_secret.encode(), raw, hashlib.sha256).hexdigest()


def looks_signed(header: str | None) -> bool:
    """Tell whether the value of ``X-Hub-Signature-256`` has the form of a signature; what has not need not be read on.

    Args:
        header: None if absent. Any text is allowed, also hostile one.
    """
    return header is not None and _FORM.fullmatch(header) is not None


def verify(raw: bytes, header: str | None, app_secrets: Iterable[str]) -> bool:
    """Tell whether one of the secrets signed this body.

    Every secret is tried and compared in constant time, so that the time taken says nothing about which one fits.
    An empty secret never fits: everybody knows it.

    Args:
        raw: The body as it arrived.
        header: The value of ``X-Hub-Signature-256``, None if absent. Any text is allowed, also hostile one.
        app_secrets: Every distinct app secret of the registered pages.
    """
    # compare_digest takes text only if it is ASCII; bytes may hold anything, surrogates of a WSGI header included.
    claimed = (header or "").strip().encode("utf-8", "surrogatepass")
    found = False
    for secret in app_secrets:
        fits = hmac.compare_digest(sign(raw, secret).encode(), claimed)
        found |= fits and bool(secret)
    return found


def appsecret_proof(access_token: str, app_secret: str) -> str:
    """Return the proof that the caller knows the app secret (64 hex digits).

    Source: Meta docs, "Secure Graph API calls": HMAC-SHA256 keyed with the app secret over the access token.
    """
    return hmac.new(app_secret.encode(), access_token.encode(), hashlib.sha256).hexdigest()


def read_signed_request(text: str, app_secrets: Iterable[str]) -> dict[str, Any]:
    """Read what the platform signed and put into a form, such as a request to delete a person's data.

    Source: Meta docs, Data Deletion Request Callback: ``base64url(HMAC-SHA256) "." base64url(JSON)`` without padding;
    the HMAC is keyed with the app secret and taken over the encoded JSON. As for webhooks, every secret is tried in
    constant time and the empty one never fits; nothing is decoded before the signature was found right.

    Args:
        text: The value of the form field ``signed_request``. Any text is allowed, also hostile one.
        app_secrets: Every distinct app secret of the registered pages.

    Returns:
        The payload: ``user_id`` (an app-scoped id, no PSID), ``issued_at`` and ``expires`` (seconds), ``algorithm``.
        None of them but the algorithm is certain to be there or to be of the right kind.

    Raises:
        MalformedRequestError: It is not of that form; or it is signed, and its payload is no JSON object or names
            another algorithm.
        SignatureError: None of the secrets made the signature.
    """
    parts = _SIGNED_REQUEST.fullmatch(text) if len(text) <= _SIGNED_REQUEST_LIMIT else None
    if parts is None:
        raise MalformedRequestError
    claimed, payload = _base64url(parts[1]), parts[2]
    found = False
    for secret in app_secrets:
        digest = hmac.new(secret.encode(), payload.encode(), hashlib.sha256).digest()
        fits = hmac.compare_digest(digest, claimed)
        found |= fits and bool(secret)
    if not found:
        raise SignatureError
    try:
        read = wire.decode(_base64url(payload.rstrip("=")))
    except ValueError:
        raise MalformedRequestError from None
    if not isinstance(read, dict) or read.get("algorithm") != _ALGORITHM:
        raise MalformedRequestError
    return read


def _base64url(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise MalformedRequestError from None
