"""Filters over people and their opt-ins, as people write them down, and as ``otn.audience`` reads them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any

from otn.consent.labels import ATTRIBUTES_PER_PERSON, VALUE_LIMIT, check_attribute, short
from otn.consent.reference import REF_LIMIT
from otn.errors import UsageError

MOST_VALUES = 1000  # of one field: a list of products, not of people
LOCALE_LIMIT = 20
KEYS = ("ref", "locale", "attributes", "opted_in_from", "opted_in_until", "interacted_from", "interacted_until")
SPANS = (("opted_in_from", "opted_in_until"), ("interacted_from", "interacted_until"))

_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(:\d\d(?:\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?", re.ASCII)


class FilterError(UsageError):
    """A filter cannot be used as given. Correct it."""


def read_filter(value: Any, name: str = "filter", known: Collection[str] = KEYS) -> dict[str, Any]:
    """Read a filter; the same filter written in another order gives the same result.

    Args:
        value: ``ref``, ``locale`` (lists), ``attributes`` (name to list), ``opted_in_from``, ``opted_in_until``,
            ``interacted_from``, ``interacted_until`` (ISO 8601 with zone; from is inclusive, until is not). None: none.
        name: of the param, for the error text.
        known: keys that make sense here.

    Raises:
        FilterError: a key is unknown, or its value cannot be used; the sentence names the field.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise FilterError(f"{name} is {short(value)}. Give an object such as {{'ref': ['sku-1']}}.")
    _refuse_unknown(value, name, known)
    read = {key: _READERS[key](value[key], f"{name}.{key}") for key in sorted(value)}
    for first, last in SPANS:
        if first in read and last in read and read[first] >= read[last]:
            raise FilterError(
                f"{name}.{first} {read[first]} is not before {name}.{last} {read[last]}: nobody would be left. "
                "Correct one of them."
            )
    return read


def read_moment(value: Any, name: str) -> datetime:
    """Read a moment with a time zone.

    Args:
        value: such as ``2027-03-01T09:00:00+01:00``.
        name: of the param, for the error text.

    Raises:
        FilterError: it is none, has no zone, or does not exist.
    """
    match = _MOMENT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise FilterError(f"{name} is {short(value)}. Write a moment like 2027-03-01T09:00:00+01:00 (ISO 8601).")
    day, clock, seconds, zone = match.groups()
    if zone is None:
        raise FilterError(
            f"{name} {value!r} has no time zone. Write {day}T{clock}{seconds or ''}+00:00 if UTC is meant, "
            "or put your own offset at its end, such as +01:00."
        )
    try:
        return datetime.fromisoformat(f"{day}T{clock}{seconds or ''}{zone}").astimezone(UTC)
    except (ValueError, OverflowError):
        raise FilterError(f"{name} {value!r} is no date or time that exists. Correct it.") from None


def described(chosen_by: Mapping[str, Any], quote: Callable[[str], str] = repr) -> list[str]:
    """A filter in words, one phrase a field.

    Args:
        chosen_by: as ``read_filter`` gave it.
        quote: makes a name harmless where it is shown.
    """
    words = [f"{key} {_one_of(chosen_by[key], quote)}" for key in ("ref", "locale") if key in chosen_by]
    words += [f"{quote(name)} {_one_of(values, quote)}" for name, values in chosen_by.get("attributes", {}).items()]
    for first, last in SPANS:
        what = "opted in" if first == "opted_in_from" else "last wrote or tapped"
        if first in chosen_by:
            words.append(f"{what} from {chosen_by[first]}")
        if last in chosen_by:
            words.append(f"{what} before {chosen_by[last]}")
    return words


def _one_of(values: list[str], quote: Callable[[str], str]) -> str:
    shown = ", ".join(quote(value) for value in values[:5])
    return f"{shown} or {len(values) - 5} more" if len(values) > 5 else " or ".join(map(quote, values))


def _refuse_unknown(value: Mapping[Any, Any], name: str, known: Collection[str]) -> None:
    for key in value:
        if key in known:
            continue
        near = get_close_matches(str(key), known, n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]!r}?" if near else f"Known are: {', '.join(known)}."
        raise FilterError(f"There is no {name}.{short(key)[1:-1]}. {hint}")


def _refs(value: Any, name: str) -> list[str]:
    return _texts(value, name, REF_LIMIT)


def _locales(value: Any, name: str) -> list[str]:
    return _texts(value, name, LOCALE_LIMIT)


def _attributes(value: Any, name: str) -> dict[str, list[str]]:
    if not isinstance(value, Mapping) or not 1 <= len(value) <= ATTRIBUTES_PER_PERSON:
        raise FilterError(
            f"{name} is {short(value)}. Give 1 to {ATTRIBUTES_PER_PERSON} names, each with a list: "
            "{'city': ['Oslo', 'Bergen']}."
        )
    return {check_attribute(key): _texts(value[key], f"{name}.{key}", VALUE_LIMIT) for key in sorted(value, key=str)}


def _texts(value: Any, name: str, limit: int) -> list[str]:
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= MOST_VALUES:
        raise FilterError(f"{name} is {short(value)}. Give a list of 1 to {MOST_VALUES} texts; leave it out for all.")
    for one in value:
        if not isinstance(one, str) or not one.isprintable() or not 1 <= len(one) <= limit:
            raise FilterError(f"{name} holds {short(one)}. Give texts of 1 to {limit} printable characters, in quotes.")
    return sorted(set(value))


def _moment(value: Any, name: str) -> str:
    return read_moment(value, name).isoformat()


_READERS: dict[str, Callable[[Any, str], Any]] = {
    "ref": _refs,
    "locale": _locales,
    "attributes": _attributes,
    **{key: _moment for span in SPANS for key in span},
}
