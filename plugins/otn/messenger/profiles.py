"""People's profiles, fifty in one call, and what is known of each afterwards."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import urlencode

from otn.messenger import wire
from otn.messenger.errors import MessengerError, Outcome, PlatformError, Verdict, classify
from otn.messenger.fields import Unreadable, identifier
from otn.messenger.transport import Answer, UnansweredError
from otn.messenger.usage import Usage

_OK = 200
_TEXT_LIMIT = 1000
_FURTHEST_TIMEZONE_H = 14
_FAULT_WAIT_S = 30.0
_LOCALE = re.compile(r"[A-Za-z]{2,3}(?:_[A-Za-z0-9]{2,8}){0,2}", re.ASCII)
_NO_SUCH_OBJECT = (100, 33)


class ProfileOutcome(StrEnum):
    """What is known after a profile was asked for. A question has no effect, so nothing is ever in doubt."""

    FOUND = "found"  # answered; without access to the person there are no fields in it
    REFUSED = "refused"  # no to this person: asking again soon is of no use
    THROTTLED = "throttled"  # too fast or too much: wait, then ask again
    TRANSIENT = "transient"  # no usable answer: ask again later
    PAGE_HALTED = "page_halted"  # no to the page, the app or to what was asked: a person must act


@dataclass(frozen=True, slots=True)
class ProfileResult:
    """What the platform told about one person.

    Args:
        psid: Who was asked for.
        outcome: What is known.
        fields: Set if and only if FOUND: of the fields asked for those which came and can be used. Names, ``locale``
            and the like are non-empty text of at most 1000 characters, ``timezone`` is hours from GMT.
        error: The platform's error, if it gave one; the PSID is taken out of its texts.
        verdict: The reading of that error.
        wait_s: Seconds to wait before the page is used again, for THROTTLED and TRANSIENT.
        reason: One word for what went wrong where the platform gave no error.
    """

    psid: str = field(repr=False)
    outcome: ProfileOutcome
    fields: Mapping[str, str | float] | None = field(default=None, repr=False)
    error: PlatformError | None = None
    verdict: Verdict | None = None
    wait_s: float | None = None
    reason: str | None = None


def profile_item(psid: str, fields: Sequence[str]) -> dict[str, str]:
    """Return the batch item that asks for a profile (Meta docs, User Profile API; Graph API batch requests)."""
    return {"method": "GET", "relative_url": f"{psid}?{urlencode({'fields': ','.join(fields)})}"}


def unasked(psids: Sequence[str], failure: UnansweredError) -> list[ProfileResult]:
    """Return the results where no answer came at all."""
    return [_later(psid, failure.reason) for psid in psids]


def read_profiles(
    answer: Answer, psids: Sequence[str], fields: Sequence[str], usage: Usage | None, secrets: Sequence[str]
) -> list[ProfileResult]:
    """Read the answer to a batch of profiles into one result per person, in order.

    Args:
        answer: Of the whole call.
        psids: Who was asked for.
        fields: What was asked for.
        usage: The usage headers.
        secrets: What must not stand in an error's texts, beside the PSIDs.
    """
    parsed = _parsed(answer.body)
    error = PlatformError.from_body(parsed, http_status=answer.status)
    if error is not None:
        error = error.without([*secrets, *psids])
        return [_failed(psid, error, usage, whole=True) for psid in psids]
    if answer.status != _OK or not isinstance(parsed, list) or len(parsed) != len(psids):
        return [_later(psid, "unusable_answer") for psid in psids]
    return [_item(psid, item, fields, usage, secrets) for psid, item in zip(psids, parsed, strict=True)]


def _item(psid: str, item: Any, fields: Sequence[str], usage: Usage | None, secrets: Sequence[str]) -> ProfileResult:
    if item is None:
        return _later(psid, "null_item")
    status = wire.whole(item.get("code")) if isinstance(item, dict) else None
    body = item.get("body") if isinstance(item, dict) else None
    if status is None or not isinstance(body, str):
        return _later(psid, "unusable_item")
    parsed = _parsed(body)
    error = PlatformError.from_body(parsed, http_status=status)
    if error is not None:
        return _failed(psid, error.without([*secrets, psid]), usage, whole=False)
    if status != _OK or not isinstance(parsed, dict):
        return _later(psid, "unusable_item")
    if str(parsed.get("id", psid)) != psid:
        return _later(psid, "another_person")
    return ProfileResult(psid, ProfileOutcome.FOUND, fields=usable_fields(parsed, fields))


def usable_fields(profile: Mapping[str, Any], fields: Sequence[str]) -> dict[str, str | float]:
    """Return the fields of a profile that came and can be used; the rest is as good as absent."""
    read = {name: _READERS.get(name, _text)(profile.get(name)) for name in fields}
    return {name: value for name, value in read.items() if value is not None}


def read_page_scoped_ids(rows: Iterable[Mapping[str, Any]], page_id: str) -> list[str]:
    """Return the PSIDs of one page from the rows of ``ids_for_pages``: ``{"id": ..., "page": {"id": ...}}``.

    Raises:
        MessengerError: A row cannot be read; left out, its person would be taken for unknown.
    """
    try:
        found = [_id(row, "id") for row in rows if _id(_object(row, "page"), "page.id") == page_id]
    except Unreadable as error:
        raise MessengerError(f"The platform's list of ids cannot be read: {error}. Try again later.") from None
    return list(dict.fromkeys(found))


def _id(holder: Mapping[str, Any], name: str) -> str:
    found = identifier(holder, "id", name)
    if found is None:
        raise Unreadable(f"{name} is missing")
    return found


def _object(row: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = row.get(key)
    if not isinstance(value, dict):
        raise Unreadable(f"{key} is missing or no object")
    return value


def _text(value: object) -> str | None:
    text = wire.cleaned(value, _TEXT_LIMIT).strip() if isinstance(value, str) else ""
    return text or None


def _locale(value: object) -> str | None:
    return value if isinstance(value, str) and _LOCALE.fullmatch(value) else None


def _timezone(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return value if abs(value) <= _FURTHEST_TIMEZONE_H else None


_READERS = {"locale": _locale, "timezone": _timezone}

_OUTCOMES = {
    Outcome.REFUSED: ProfileOutcome.REFUSED,
    Outcome.CONTENT: ProfileOutcome.PAGE_HALTED,
    Outcome.PAGE_HALTED: ProfileOutcome.PAGE_HALTED,
    Outcome.THROTTLED: ProfileOutcome.THROTTLED,
}


def _failed(psid: str, error: PlatformError, usage: Usage | None, *, whole: bool) -> ProfileResult:
    verdict = classify(error, token_rules=())
    outcome = _OUTCOMES.get(verdict.outcome, ProfileOutcome.TRANSIENT)
    if whole and outcome is ProfileOutcome.REFUSED:
        outcome = ProfileOutcome.PAGE_HALTED  # the batch as such: it cannot be about one person
    if not whole and (error.code, error.subcode) == _NO_SUCH_OBJECT:
        outcome = ProfileOutcome.REFUSED  # here the object is the person, not the page
    wait_s = verdict.wait_s
    if outcome is ProfileOutcome.THROTTLED and usage is not None and usage.wait_minutes:
        wait_s = usage.wait_minutes * 60
    if outcome is ProfileOutcome.TRANSIENT:
        wait_s = wait_s or _FAULT_WAIT_S
    return ProfileResult(psid, outcome, error=error, verdict=verdict, wait_s=wait_s)


def _later(psid: str, reason: str) -> ProfileResult:
    return ProfileResult(psid, ProfileOutcome.TRANSIENT, wait_s=_FAULT_WAIT_S, reason=reason)


def _parsed(body: bytes | str) -> Any:
    try:
        return wire.decode(body)
    except ValueError:
        return None
