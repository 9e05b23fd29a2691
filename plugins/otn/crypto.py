"""Encryption of tokens and raw webhooks, and the keyed hashes that stand for them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from otn.errors import ConfigurationError, OtnError

KEY_BYTES = 32
_KEY_TEXT = re.compile(r"[A-Za-z0-9_-]{43}=")
_VERSION = b"\x01"
_FINGERPRINT_BYTES = 4
_NONCE_BYTES = 12


class DecryptionError(OtnError):
    """Stored text cannot be decrypted. Put the key that it was written with back into OTN_ENCRYPTION_KEYS."""


@dataclass(frozen=True)
class Keyring:
    """Keys of one installation.

    Args:
        encryption_keys: AES-256 keys, newest first: the first encrypts, all decrypt.
        hash_key: key of every stored hash; never rotated, or all hashes would stop matching.
    """

    encryption_keys: tuple[bytes, ...] = field(repr=False)
    hash_key: bytes = field(repr=False)
    _ciphers: dict[bytes, AESGCM] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ciphers", {_fingerprint(key): AESGCM(key) for key in self.encryption_keys})

    def encrypt(self, text: bytes, purpose: str) -> bytes:
        """Encrypt bytes; ``purpose`` (``token``, ``webhook``) is bound in, so that one cannot pass for the other."""
        mark = _fingerprint(self.encryption_keys[0])
        nonce = os.urandom(_NONCE_BYTES)
        return _VERSION + mark + nonce + self._ciphers[mark].encrypt(nonce, text, purpose.encode())

    def decrypt(self, sealed: bytes, purpose: str) -> bytes:
        """Give back what ``encrypt`` was given.

        Raises:
            DecryptionError: the key is not here, the purpose is another, or the bytes were changed.
        """
        body = bytes(sealed)
        start = len(_VERSION) + _FINGERPRINT_BYTES
        cipher = self._ciphers.get(body[len(_VERSION) : start])
        if body[:1] != _VERSION or cipher is None:
            raise DecryptionError
        nonce, text = body[start : start + _NONCE_BYTES], body[start + _NONCE_BYTES :]
        try:
            return cipher.decrypt(nonce, text, purpose.encode())
        except (InvalidTag, ValueError):  # ValueError: it was cut short
            raise DecryptionError from None

    def digest(self, *parts: str) -> bytes:
        """Keyed hash (32 bytes) of texts; the parts are length-prefixed, so that ("ab", "c") is not ("a", "bc")."""
        mac = hmac.new(self.hash_key, digestmod=hashlib.sha256)
        for part in parts:
            raw = part.encode("utf-8", "surrogatepass")
            mac.update(len(raw).to_bytes(8, "big"))
            mac.update(raw)
        return mac.digest()


def _fingerprint(key: bytes) -> bytes:
    return hashlib.sha256(b"otn key fingerprint" + key).digest()[:_FINGERPRINT_BYTES]


def new_key() -> str:
    """Make a key as the settings want it: 32 random bytes in URL-safe base64."""
    return base64.urlsafe_b64encode(os.urandom(KEY_BYTES)).decode()


def read_keyring(environ: Mapping[str, str] | None = None) -> Keyring:
    """Read ``OTN_ENCRYPTION_KEYS`` (newest first, separated by commas) and ``OTN_HASH_KEY``.

    Raises:
        ConfigurationError: one is missing or is not 32 bytes in base64.
    """
    values = os.environ if environ is None else environ
    keys = [text for text in values.get("OTN_ENCRYPTION_KEYS", "").replace(" ", "").split(",") if text]
    if not keys:
        raise ConfigurationError(
            "OTN_ENCRYPTION_KEYS is not set. `./otn up` makes it; elsewhere set it from your backup."
        )
    if not values.get("OTN_HASH_KEY"):
        raise ConfigurationError("OTN_HASH_KEY is not set. `./otn up` makes it; elsewhere set it from your backup.")
    return Keyring(
        encryption_keys=tuple(_key("OTN_ENCRYPTION_KEYS", text) for text in keys),
        hash_key=_key("OTN_HASH_KEY", values["OTN_HASH_KEY"].strip()),
    )


def _key(name: str, text: str) -> bytes:
    # Strictly one key: the decoder itself stops at the first "=" and would lose a second one in silence.
    if not _KEY_TEXT.fullmatch(text):
        raise ConfigurationError(
            f"{name} holds a key that is not {KEY_BYTES} bytes in base64. Correct it; keys are separated by commas."
        )
    return base64.urlsafe_b64decode(text)
