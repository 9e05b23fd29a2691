"""Texts from outside, made fit to be stored: Postgres takes no NUL, UTF-8 no half of a surrogate pair."""

from __future__ import annotations

import hashlib
import re
import unicodedata

KEY_LIMIT = 200  # characters
INDEXED_BYTES = 2000  # a btree entry of Postgres holds 2704 at most
TEXT_LIMIT = 2000  # characters; Messenger's own payloads and metadata end at 1000

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable(text: str) -> str:
    """The text as it is stored and compared: one input always gives one output, different ones stay different.

    What cannot be stored is written as its escape; what is too long for an index ends in a hash of the whole.
    """
    if len(text) * 4 <= INDEXED_BYTES and _UNSTORABLE.search(text) is None:
        return text
    plain = _UNSTORABLE.sub(_escape, text)
    if len(plain.encode()) <= INDEXED_BYTES:
        return plain
    return f"{plain[: KEY_LIMIT // 2]}…{_hash(text)}"


def shortened(text: str | None) -> str | None:
    """The text as it is stored where nothing is compared: without what cannot be stored, and not endless."""
    if text is None or (len(text) <= TEXT_LIMIT and _UNSTORABLE.search(text) is None):
        return text
    return _UNSTORABLE.sub(_escape, text[:TEXT_LIMIT])


def key_of(payload: str) -> str:
    """The name under which people see a topic that nobody has registered: its payload, printable and short."""
    stored = storable(payload)
    key = stored if stored.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in stored)
    key = key.strip() or "(no payload)"
    return key if len(key) <= KEY_LIMIT else f"{key[: KEY_LIMIT // 2]}…{_hash(payload)}"


def plain_words(text: str) -> str:
    """The words alone: letters of one width and case, no spaces and signs around them."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    around = "".join({character for character in plain if unicodedata.category(character)[0] in "PZCS"})
    return " ".join(plain.strip(around).split())


def _escape(match: re.Match[str]) -> str:
    return _escaped(match.group())


def _escaped(character: str) -> str:
    return f"\\u{ord(character):04x}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
