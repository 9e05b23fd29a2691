"""Names that operators give: labels, attributes, references. Bounded and printable, wherever they come from."""

from __future__ import annotations

import re

from otn.errors import UsageError

LABEL_LIMIT = 100  # characters
LABELS_PER_PERSON = 100
ATTRIBUTES_PER_PERSON = 50
VALUE_LIMIT = 500  # characters; a text takes no more of a personal field
RESULTS = ("sent", "refused", "unknown", "skipped", "delivered", "read")
# Personal fields of a text that come from elsewhere: an attribute of that name would never be seen.
TAKEN = frozenset({"first_name", "last_name", "locale", "ref", "psid"})

_ATTRIBUTE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}", re.ASCII)


class LabelError(UsageError):
    """A label or an attribute cannot be used as given."""


def check_label(label: object) -> str:
    """Give the label back.

    Raises:
        LabelError: it is no printable text of 1 to 100 characters without spaces around it.
    """
    plain = isinstance(label, str) and label.isprintable() and label == label.strip()
    if not plain or not 1 <= len(str(label)) <= LABEL_LIMIT:
        raise LabelError(
            f"The label {short(label)} cannot be used. "
            f"Give 1 to {LABEL_LIMIT} printable characters without spaces around them."
        )
    return str(label)


def check_attribute(name: object) -> str:
    """Give the name of an attribute back: one that a text can use as ``{{ name }}``.

    Raises:
        LabelError: it is no plain name, or it means something else already.
    """
    if not isinstance(name, str) or not _ATTRIBUTE.fullmatch(name):
        raise LabelError(
            f"The attribute {short(name)} cannot be used. Give 1 to 100 letters, digits and underscores, "
            "no digit first: texts use it as {{ name }}."
        )
    if name in TAKEN:
        raise LabelError(f"The attribute {name!r} cannot be used: texts know that name already. Choose another.")
    return name


def check_value(value: object) -> str:
    """Give the value of an attribute back.

    Raises:
        LabelError: it is no printable text of 1 to 500 characters.
    """
    if not isinstance(value, str) or not value.isprintable() or not 1 <= len(value) <= VALUE_LIMIT:
        raise LabelError(
            f"The value {short(value)} cannot be used. Give 1 to {VALUE_LIMIT} printable characters, on one line."
        )
    return value


def short(value: object) -> str:
    """Show what was given, but never a page of it."""
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
