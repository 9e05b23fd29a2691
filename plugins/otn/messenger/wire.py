"""Reading JSON from a foreign party: nothing in it is trusted, nothing in it may raise more than ValueError."""

from __future__ import annotations

import json
import math
import re
from typing import Any

_INTEGER_DIGITS = 40


def _integer(digits: str) -> int | float:
    # An absurdly long number must spoil its own field only, not the hundred healthy items beside it.
    return int(digits) if len(digits) <= _INTEGER_DIGITS else math.inf


def decode(raw: bytes | str) -> Any:
    """Parse UTF-8 JSON.

    Raises:
        ValueError: It is not UTF-8, not JSON, or nested deeper than Python can follow.
    """
    try:
        text = raw if isinstance(raw, str) else raw.decode("utf-8")
        return json.loads(text, parse_int=_integer)
    except RecursionError:
        raise ValueError("nested too deep") from None


def encode(value: Any) -> str:
    """Write compact ASCII JSON, so that no character of an operator's text depends on a charset on the way.

    Raises:
        ValueError: It holds NaN or infinity, which JSON does not know.
        TypeError: It holds something that is no JSON value.
    """
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


_UNSTORABLE = re.compile("[\\0\ud800-\udfff]")


def storable(text: str) -> bool:
    """Tell whether UTF-8 and Postgres can hold the text: no NUL, no half of a surrogate pair."""
    return _UNSTORABLE.search(text) is None


def cleaned(text: str, limit: int) -> str:
    """Return the text with what cannot be stored replaced by U+FFFD, cut to ``limit`` characters."""
    text = text[:limit]
    if storable(text):
        return text
    return text.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def whole(value: object) -> int | None:
    """Read a code that may come as number or as quoted number; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if abs(value) < 2**63 else None
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 2**53 else None
    if isinstance(value, str) and len(value) < 20 and value.lstrip("-").isascii() and value.lstrip("-").isdigit():
        return whole(int(value)) if value.count("-") <= 1 else None
    return None
