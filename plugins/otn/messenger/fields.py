"""Fields of webhook items: read, or refused with a reason that holds no personal data."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from otn.messenger import wire

_ID_LIMIT = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_MILLISECONDS = 10**12
_DIGITS = re.compile(r"[0-9]{1,17}", re.ASCII)
# Messenger is younger than the first, and no clock of today is right about the second.
_EARLIEST_MS = (datetime(2011, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)
_LATEST_MS = (datetime(2100, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)


class Unreadable(Exception):  # noqa: N818 - it never leaves the package: it becomes a Rejected
    """The field, and with it the item, cannot be read."""


def moment(value: object, name: str) -> datetime:
    """Read a time: milliseconds, seconds (below 10^12) or either of them quoted.

    Raises:
        Unreadable: It is none of these, or no plausible time.
    """
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise Unreadable(f"{name} is missing or no number")
    milliseconds = int(value * 1000) if value < _FIRST_MILLISECONDS else int(value)
    if not _EARLIEST_MS <= milliseconds < _LATEST_MS:
        raise Unreadable(f"{name} is no plausible time")
    return _EPOCH + timedelta(milliseconds=milliseconds)


def identifier(holder: Mapping[str, Any], key: str, name: str) -> str | None:
    """Read an id, which is text on the wire but a number in some samples; None if absent.

    Raises:
        Unreadable: It is neither, or no id.
    """
    value = holder.get(key)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        value = str(value)
    found = opaque({key: value}, key, name, _ID_LIMIT)
    if found is not None and not found.strip():
        raise Unreadable(f"{name} is empty")
    return found


def opaque(holder: Mapping[str, Any], key: str, name: str, limit: int) -> str | None:
    """Read a text that must stay as it is to the last character; None if absent.

    Raises:
        Unreadable: It is no text, too long, or cannot be stored unchanged.
    """
    value = holder.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise Unreadable(f"{name} is no text")
    if len(value) > limit:
        raise Unreadable(f"{name} is longer than {limit} characters")
    if not wire.storable(value):
        raise Unreadable(f"{name} holds a NUL or half of a surrogate pair")
    return value


def prose(holder: Mapping[str, Any], key: str, name: str, limit: int) -> str | None:
    """Read a text for people; None if absent. What cannot be stored in it is replaced: a STOP must not get lost.

    Raises:
        Unreadable: It is no text.
    """
    value = holder.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise Unreadable(f"{name} is no text")
    return wire.cleaned(value, limit)


def party(item: Mapping[str, Any], key: str) -> str | None:
    """Read the id of ``sender`` or ``recipient``; None if absent, or if the platform names no id (checkbox).

    Raises:
        Unreadable: It is malformed.
    """
    value = item.get(key)
    if value is None:
        return None
    if not isinstance(value, dict):
        raise Unreadable(f"{key} is no object")
    return identifier(value, "id", f"{key}.id")
