"""Params one by one, read strictly and without Airflow: what every form of ours shares.

Airflow takes unknown keys and does not check types, so nothing of a form is believed before it went through here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any

from otn.errors import UsageError

KEY_LIMIT = 200
LABELS_LIMIT = 100
MOST_PEOPLE = 2**31 - 1  # of the column


class ParamError(UsageError):
    """A param cannot be used as given. Correct it and trigger again."""


def all_params(context: Mapping[str, Any]) -> dict[str, Any]:
    """Params as Airflow merged them, and whatever else stands in the conf, so that a typing error is not lost."""
    return {**(context["dag_run"].conf or {}), **context["params"]}


def refuse_unknown(params: Mapping[str, Any], known: Collection[str]) -> None:
    """Refuse a typing error, and say what may have been meant.

    Args:
        params: as given.
        known: names that are read.

    Raises:
        ParamError: there is another one.
    """
    for name in sorted(set(params) - set(known)):
        near = get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]!r}?" if near else f"Known are: {', '.join(sorted(known))}."
        raise ParamError(f"There is no param {short(name)}. {hint}")


def read_key(params: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """Read a name that people use.

    Args:
        params: as given.
        name: of the param.
        default: taken where nothing is given; None: it is required.

    Raises:
        ParamError: it is missing, or cannot be used.
    """
    value = params.get(name)
    if value is None and default is not None:
        return default
    if value is None or value == "":
        raise ParamError(f"The param {name!r} is missing. Give it.")
    if not isinstance(value, str) or not value.isprintable() or value != value.strip() or len(value) > KEY_LIMIT:
        raise ParamError(
            f"{name} is {short(value)}. Give 1 to {KEY_LIMIT} printable characters without spaces around them."
        )
    return value


def read_labels(params: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Read labels, each once; none where nothing is given.

    Raises:
        ParamError: they are no list of printable texts.
    """
    value = params.get(name)
    if value is None:
        return ()
    if not isinstance(value, list | tuple) or len(value) > LABELS_LIMIT:
        raise ParamError(f"{name} is {short(value)}. Give a list of up to {LABELS_LIMIT} labels.")
    for label in value:
        if not isinstance(label, str) or not label.strip() or not label.isprintable():
            raise ParamError(f"{name} holds {short(label)}. A label is a text of printable characters; correct it.")
    return tuple(dict.fromkeys(value))


def read_whole(params: Mapping[str, Any], name: str, least: int) -> int | None:
    """Read a whole number; None where nothing is given.

    Raises:
        ParamError: it is none, or below ``least``.
    """
    value = params.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MOST_PEOPLE:
        raise ParamError(f"{name} is {short(value)}. Give a whole number from {least} to {MOST_PEOPLE}.")
    return value


def read_switch(params: Mapping[str, Any], name: str, *, default: bool) -> bool:
    """Read true or false.

    Raises:
        ParamError: it is neither.
    """
    value = params.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise ParamError(f"{name} is {short(value)}. Give true or false, without quotes.")
    return value


def read_choice(params: Mapping[str, Any], name: str, choices: Collection[str], default: str) -> str:
    """Read one of a few words.

    Raises:
        ParamError: it is none of them.
    """
    value = params.get(name)
    if value is None:
        return default
    if value not in choices:
        raise ParamError(f"{name} is {short(value)}. Choose one of: {', '.join(choices)}.")
    return str(value)


def short(value: object) -> str:
    """Show what was given, but never a page of it."""
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
