"""Signatures of outgoing requests: whoever has the endpoint's secret knows that we sent it, and when."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Iterable

from otn.errors import OtnError

HEADER = "OTN-Signature"
TOLERANCE_S = 300
_PREFIX = "otns_"
_SECRET_BYTES = 32


class SignatureError(OtnError):
    """The signature does not fit, or the request is not of now. Take nothing from it."""


def new_secret() -> str:
    """A secret for an endpoint: text, to be used as it is."""
    return _PREFIX + secrets.token_urlsafe(_SECRET_BYTES)


def sign(body: bytes, keys: Iterable[str], at: int) -> str:
    """What stands in the header: the time and one signature for each secret.

    Args:
        body: as it travels.
        keys: secrets that count now; two while receivers change over.
        at: seconds since 1970. It is signed too, so that an old request cannot be sent again later.
    """
    return ",".join([f"t={at}", *(f"v1={_mac(key, at, body)}" for key in keys)])


def verify(body: bytes, header: str, key: str, *, now: float | None = None) -> None:
    """What a receiver does before it reads a body; for those that are written in Python.

    Args:
        body: as it came, never parsed and written again.
        header: of the name ``OTN-Signature``.
        key: the endpoint's secret.
        now: seconds since 1970; the clock of this machine by default.

    Raises:
        SignatureError: none of the signatures fits, or it is older or newer than five minutes.
    """
    parts = [part.partition("=") for part in header.split(",")]
    times = [value for name, _, value in parts if name == "t" and value.isascii() and value.isdecimal()]
    if len(times) != 1 or abs((time.time() if now is None else now) - int(times[0])) > TOLERANCE_S:
        raise SignatureError
    wanted = _mac(key, int(times[0]), body).encode()
    # Compared as bytes: a header may hold anything.
    given = [value.encode() for name, _, value in parts if name == "v1"]
    if not any([hmac.compare_digest(wanted, one) for one in given]):  # noqa: C419 - all of them, in the same time
        raise SignatureError


def _mac(key: str, at: int, body: bytes) -> str:
    return hmac.new(key.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
