"""JSON as the platform writes it, and as lenient as the platform reads it."""

from __future__ import annotations

import ast
import json
import time
from collections.abc import Iterable
from typing import Any

import orjson

DEPTH_MOST = 100
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True).encode
_escape = json.encoder.encode_basestring_ascii


def now_ms() -> int:
    """Return the time in milliseconds since 1970, the unit of webhook timestamps."""
    return time.time_ns() // 1_000_000


def graph_json(value: Any) -> str:
    r"""Encode as Meta does: ASCII only, lowercase ``\uXXXX``, ``\/`` for slashes (Meta docs, Webhooks)."""
    return _encode(value).replace("/", "\\/")


def graph_string(text: str) -> str:
    r"""Encode one string as Meta does, quotes included."""
    return _escape(text).replace("/", "\\/")


def line(value: Any) -> bytes:
    """Encode a record as one line of NDJSON; lone surrogates survive as escapes."""
    try:
        return orjson.dumps(value) + b"\n"
    except TypeError:
        return _encode(value).encode() + b"\n"


def read_json(raw: bytes | str) -> Any:
    """Decode JSON, lone surrogates and NaN included.

    Raises:
        ValueError: It is no JSON, or nested beyond what can be written again.
    """
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        try:
            value = json.loads(raw)
        except RecursionError as error:
            raise ValueError("JSON is nested too deeply") from error
    _check_depth(value, raw)
    return value


def _check_depth(value: Any, raw: bytes | str) -> None:
    brackets = raw.count(b"[") + raw.count(b"{") if isinstance(raw, bytes) else raw.count("[") + raw.count("{")
    level, depth = [value], 0
    while level and brackets > DEPTH_MOST:
        depth += 1
        if depth > DEPTH_MOST:
            raise ValueError("JSON is nested too deeply")
        level = [child for item in level for child in _children(item)]


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def read_lenient(raw: str) -> Any:
    """Decode a form value: JSON, or the single-quoted form of Meta's own samples (Meta docs, Send API reference).

    Raises:
        ValueError: It is neither.
    """
    try:
        return read_json(raw)
    except ValueError:
        if not raw.lstrip().startswith(("{'", "['")):
            raise
    try:
        return ast.literal_eval(raw.strip())
    except (SyntaxError, MemoryError, RecursionError, TypeError) as error:
        raise ValueError("neither JSON nor its single-quoted form") from error
