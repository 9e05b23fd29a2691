"""Values of ``X-Hub-Signature-256`` that must not count."""

from __future__ import annotations

import hashlib
import hmac
import json
import random

from otn.messenger.signature import sign


def forgery(body: bytes, secret: str, rng: random.Random) -> str | None:
    """Return a value of ``X-Hub-Signature-256`` that does not fit the body; None leaves the header out."""
    right = sign(body, secret)
    digest = right.removeprefix("sha256=")
    key = secret.encode()
    rewritten = json.dumps(json.loads(body), separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
    position = rng.randrange(len(digest))
    other = rng.choice([digit for digit in "0123456789abcdef" if digit != digest[position]])
    wrong: tuple[str | None, ...] = (
        None,
        "",
        "sha256=",
        digest,
        right[: rng.randrange(8, len(right))],
        right + rng.choice("0af"),
        f"sha256={digest[:position]}{other}{digest[position + 1 :]}",
        right.upper(),
        f"SHA256={digest}",
        f"sha256={digest.upper()}",
        f"sha256 ={digest}",
        f"sha256=sha256={digest}",
        f"{right},{right}",
        f'"{right}"',
        f"sha1={hmac.new(key, body, hashlib.sha1).hexdigest()}",
        f"sha256={hmac.new(key, body, hashlib.sha1).hexdigest()}",
        f"sha512={hmac.new(key, body, hashlib.sha512).hexdigest()}",
        f"sha256={hmac.new(key, body, hashlib.sha512).hexdigest()[:64]}",
        f"sha256={hashlib.sha256(body).hexdigest()}",
        f"sha256={hashlib.sha256(key + body).hexdigest()}",
        sign(body, ""),
        sign(body, secret + " "),
        sign(body, secret.upper()),
        sign(body, rng.randbytes(16).hex()),
        sign(b"", secret),
        sign(body + b"\n", secret),
        sign(body[:-1], secret),
        sign(rewritten, secret),
        f"sha256={'0' * 64}",
        "sha256=" + "é" * 64,
        "x" * rng.randrange(1, 4000),
    )
    return rng.choice([value for value in wrong if value != right])
