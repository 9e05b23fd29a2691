"""Values of tags: few, short, fit for every kind of stats, and never a person."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from otn.messenger.error_table import ERROR_TABLE

MOST_TOPICS = 100  # of a page; the rest are one
OTHER = "other"
NOBODY = "none"  # no page: the installation
UNREGISTERED = "unregistered"

# A dot would be a level of the name, a comma or an equals sign a tag of InfluxDB's kind, a colon or a bar StatsD's own.
_FIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_PAGE = re.compile(r"[0-9]{1,32}")
_LIKE_A_PERSON = re.compile(r"[0-9]{9}")  # somebody may make a topic for one person; PSIDs have 15 digits and more
_TAKEN = re.compile(rf"topic-[0-9]+|{OTHER}|{UNREGISTERED}|{NOBODY}")
_KNOWN = frozenset((rule.code, rule.subcode) for rule in ERROR_TABLE)


def page_label(row_id: int, page_id: str) -> str:
    """Facebook's id of a page, which is public; ``page-N`` where it cannot be one."""
    return page_id if _PAGE.fullmatch(page_id) else f"page-{row_id}"


def topic_label(row_id: int, key: str) -> str:
    """A topic's key; ``topic-N`` where it does not fit a tag, could be read as another value or as a person's id."""
    fits = _FIT.fullmatch(key) and not _LIKE_A_PERSON.search(key) and not _TAKEN.fullmatch(key)
    return key if fits else f"topic-{row_id}"


def topic_labels(rows: Iterable[Any]) -> Mapping[int, str]:
    """Of registered topics, by ``otn.topic.id``; the newest of a page that has very many share one.

    Args:
        rows: with ``id``, ``page_id`` and ``key``, the oldest first.
    """
    counts: dict[int, int] = {}
    found = {}
    for row in rows:
        counts[row.page_id] = counts.get(row.page_id, 0) + 1
        found[row.id] = topic_label(row.id, row.key) if counts[row.page_id] <= MOST_TOPICS else OTHER
    return found


def code_label(code: int | None, subcode: int | None) -> str:
    """``code-subcode`` of the error table, the code alone where the table does not know the subcode, else ``other``."""
    if subcode is not None and (code, subcode) in _KNOWN:
        return f"{code}-{subcode}"
    return str(code) if (code, None) in _KNOWN else OTHER
