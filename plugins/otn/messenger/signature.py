"""HMACs of the platform: over webhooks (theirs) and over the access token (ours)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

_PREFIX = "sha256="


def sign(raw: bytes, app_secret: str) -> str:
    """Return what the platform puts into ``X-Hub-Signature-256`` for this body.

    Source: Meta docs, Webhooks, "Validate payloads": HMAC-SHA256 keyed with the app secret over the raw bytes.

    Args:
        raw: The body as it travels, never re-serialised: the platform signs its own escaped form.
        app_secret: The secret of the app that is subscribed to the page.
    """
    return _PREFIX + hmac.new(app_secret.encode(), raw, hashlib.sha256).hexdigest()


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
