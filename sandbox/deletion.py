"""What the platform signs and puts into a form: a request to delete a person's data."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

from sandbox.wire import graph_json, now_ms

VALID_S = 3600


def deletion_payload(user_id: str) -> dict[str, Any]:
    """Return the payload of a deletion request (Meta docs, Data Deletion Request Callback).

    Args:
        user_id: app-scoped id, no PSID.
    """
    issued_at = now_ms() // 1000
    return {"user_id": user_id, "algorithm": "HMAC-SHA256", "issued_at": issued_at, "expires": issued_at + VALID_S}


def signed_request(payload: Any, app_secret: str) -> str:
    """Return ``base64url(signature).base64url(JSON)``, both without padding; the signature covers the encoded JSON."""
    encoded = base64url(graph_json(payload).encode())
    return f"{base64url(hmac.new(app_secret.encode(), encoded.encode(), hashlib.sha256).digest())}.{encoded}"


def base64url(raw: bytes) -> str:
    """Encode in the alphabet of URLs, without padding."""
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
