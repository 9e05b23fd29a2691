"""What an operator types into the trigger form, read strictly and without Airflow.

Airflow takes unknown keys and does not check dates, so nothing of the form is believed before it went through here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Any, Literal, cast, get_args

from otn.campaign.model import CampaignSpec, IfLate
from otn.consent.filters import read_filter, read_moment
from otn.consent.labels import RESULTS, LabelError, check_label
from otn.errors import UsageError
from otn.settings import DEFAULT_PAGE_CONNECTION

Scope = Literal["waiting", "refused", "unknown"]

KEY_LIMIT = 200
LABELS_LIMIT = 100
RESULT_LABELS_LIMIT = 10
MOST_PEOPLE = 2**31 - 1  # of the column
LONGEST_AHEAD = timedelta(days=366)  # a token lives for a year
LONGEST_LATE = timedelta(days=30)
JUST_NOW = timedelta(minutes=1)  # somebody typed the present minute

_SPAN = re.compile(r"(\d{1,6}) ?(s|min|h|d)", re.ASCII)
_ISO_SPAN = re.compile(r"P(?:(\d{1,4})D)?(?:T(?:(\d{1,4})H)?(?:(\d{1,5})M)?(?:(\d{1,6})S)?)?", re.ASCII)
_UNITS = {"s": "seconds", "min": "minutes", "h": "hours", "d": "days"}


class ParamError(UsageError):
    """A param cannot be used as given. Correct it and trigger again."""


@dataclass(frozen=True)
class BroadcastRequest:
    """One trigger of ``otn_broadcast``.

    Args:
        spec: the campaign.
        page: connection id of the page.
        topic: key of the topic.
        dry_run: count and show, write nothing.
    """

    spec: CampaignSpec
    page: str
    topic: str
    dry_run: bool = False

    @classmethod
    def from_context(cls, context: Mapping[str, Any]) -> BroadcastRequest:
        """Read the params of a run.

        Args:
            context: Airflow's task context.

        Raises:
            ParamError: one of them cannot be used; the sentence names it.
        """
        return cls.from_params(_all_params(context))

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> BroadcastRequest:
        """Read params as the form or a conf gives them.

        Raises:
            ParamError: one of them cannot be used; the sentence names it.
        """
        _refuse_unknown(params, BROADCAST_KEYS)
        spec = CampaignSpec(
            key=_key(params, "campaign"),
            message=_message(params.get("text"), params.get("message")),
            include_labels=_labels(params, "include_labels"),
            exclude_labels=_labels(params, "exclude_labels"),
            max_recipients=_whole(params, "max_recipients", least=1),
            filter=read_filter(params.get("filter")),
            result_labels=_result_labels(params.get("result_labels")),
            send_at=_moment(params, "send_at"),
            canary=_whole(params, "canary", least=0) or 0,
            approval=_switch(params, "approval", default=True),
            if_late=IfLate(_choice(params, "if_late", [one.value for one in IfLate], default=IfLate.ASK)),
            late_after=_span(params, "late_after", default=timedelta(hours=1)),
            max_refused=_share(params, "max_refused", default=0.5),
        )
        _refuse_contradiction(spec)
        return cls(
            spec=spec,
            page=_key(params, "page", default=DEFAULT_PAGE_CONNECTION),
            topic=_key(params, "topic"),
            dry_run=_switch(params, "dry_run", default=False),
        )

    def refuse_past(self, triggered_at: datetime) -> None:
        """A new campaign cannot be planned for a moment that had passed when it was triggered.

        Args:
            triggered_at: when; a run that waited in the queue since is late, not wrong, and ``if_late`` decides.

        Raises:
            ParamError: ``send_at`` had passed, or lies further ahead than any token lives.
        """
        send_at = self.spec.send_at
        if send_at is None:
            return
        if send_at < triggered_at - JUST_NOW:
            raise ParamError(
                f"send_at {send_at.isoformat()} had passed when the campaign was triggered "
                f"({triggered_at.astimezone(UTC).isoformat(timespec='seconds')}). "
                "Give a later time, or leave it empty to send at once."
            )
        if send_at > triggered_at + LONGEST_AHEAD:
            raise ParamError(
                f"send_at {send_at.isoformat()} lies more than a year ahead, and a token lives for a year at most. "
                "Give an earlier time."
            )


@dataclass(frozen=True)
class RetryRequest:
    """One trigger of ``otn_retry``.

    Args:
        campaign: its key.
        page: connection id of the page.
        scope: which rows are made ready again.
    """

    campaign: str
    page: str
    scope: Scope

    @classmethod
    def from_context(cls, context: Mapping[str, Any]) -> RetryRequest:
        """Read the params of a run.

        Raises:
            ParamError: one of them cannot be used; the sentence names it.
        """
        return cls.from_params(_all_params(context))

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> RetryRequest:
        """Read params as the form or a conf gives them.

        Raises:
            ParamError: one of them cannot be used; the sentence names it.
        """
        _refuse_unknown(params, RETRY_KEYS)
        return cls(
            campaign=_key(params, "campaign"),
            page=_key(params, "page", default=DEFAULT_PAGE_CONNECTION),
            scope=cast("Scope", _choice(params, "scope", get_args(Scope), default="waiting")),
        )


BROADCAST_KEYS = frozenset(
    {one.name for one in fields(CampaignSpec)} - {"key"} | {"campaign", "page", "topic", "text", "dry_run"}
)
RETRY_KEYS = frozenset(one.name for one in fields(RetryRequest))


def _all_params(context: Mapping[str, Any]) -> dict[str, Any]:
    """Params as Airflow merged them, and whatever else stands in the conf, so that a typing error is not lost."""
    return {**(context["dag_run"].conf or {}), **context["params"]}


def _refuse_unknown(params: Mapping[str, Any], known: Collection[str]) -> None:
    for name in sorted(set(params) - set(known)):
        near = get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]!r}?" if near else f"Known are: {', '.join(sorted(known))}."
        raise ParamError(f"There is no param {_short(name)}. {hint}")


def _refuse_contradiction(spec: CampaignSpec) -> None:
    both = sorted(set(spec.include_labels) & set(spec.exclude_labels))
    if both:
        raise ParamError(
            f"The label {_short(both[0])} is both included and excluded: nobody would be left. Drop it once."
        )


def _key(params: Mapping[str, Any], name: str, default: str | None = None) -> str:
    value = params.get(name)
    if value is None and default is not None:
        return default
    if value is None or value == "":
        raise ParamError(f"The param {name!r} is missing. Give it.")
    if not isinstance(value, str) or not value.isprintable() or value != value.strip() or len(value) > KEY_LIMIT:
        raise ParamError(
            f"{name} is {_short(value)}. Give 1 to {KEY_LIMIT} printable characters without spaces around them."
        )
    return value


def _message(text: Any, message: Any) -> dict[str, Any]:
    if (text is None or text == "") == (message is None):
        both = "both" if message is not None else "neither"
        raise ParamError(f"Exactly one of 'text' and 'message' is needed, and {both} is given. Give one of them.")
    if message is None:
        if not isinstance(text, str):
            raise ParamError(f"text is {_short(text)}. Give text in quotes.")
        return {"text": text}
    if not isinstance(message, dict) or not message:
        raise ParamError(f"message is {_short(message)}. Give a Send API message object such as {{'text': 'Hi'}}.")
    return message


def _labels(params: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = params.get(name)
    if value is None:
        return ()
    if not isinstance(value, list | tuple) or len(value) > LABELS_LIMIT:
        raise ParamError(f"{name} is {_short(value)}. Give a list of up to {LABELS_LIMIT} labels.")
    for label in value:
        if not isinstance(label, str) or not label.strip() or not label.isprintable():
            raise ParamError(f"{name} holds {_short(label)}. A label is a text of printable characters; correct it.")
    return tuple(dict.fromkeys(value))


def _result_labels(value: Any) -> dict[str, tuple[str, ...]]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ParamError(f"result_labels is {_short(value)}. Give an object such as {{'sent': ['got-spring']}}.")
    read = {}
    for result in sorted(value, key=str):
        name = f"result_labels.{_short(result)[1:-1]}"
        if result not in RESULTS:
            raise ParamError(f"There is no {name}. Results are: {', '.join(RESULTS)}.")
        if not isinstance(value[result], list | tuple) or not 1 <= len(value[result]) <= RESULT_LABELS_LIMIT:
            raise ParamError(
                f"{name} is {_short(value[result])}. Give a list of 1 to {RESULT_LABELS_LIMIT} labels; "
                "leave it out for none."
            )
        try:
            read[result] = tuple(sorted({check_label(label) for label in value[result]}))
        except LabelError as error:
            raise ParamError(f"{name} cannot be used. {error}") from None
    return read


def _whole(params: Mapping[str, Any], name: str, least: int) -> int | None:
    value = params.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MOST_PEOPLE:
        raise ParamError(f"{name} is {_short(value)}. Give a whole number from {least} to {MOST_PEOPLE}.")
    return value


def _share(params: Mapping[str, Any], name: str, default: float) -> float:
    value = params.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:  # also false for NaN
        raise ParamError(f"{name} is {_short(value)}. Give a share above 0 and up to 1, such as 0.5.")
    return float(value)


def _switch(params: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = params.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise ParamError(f"{name} is {_short(value)}. Give true or false, without quotes.")
    return value


def _choice(params: Mapping[str, Any], name: str, choices: Collection[str], default: str) -> str:
    value = params.get(name)
    if value is None:
        return default
    if value not in choices:
        raise ParamError(f"{name} is {_short(value)}. Choose one of: {', '.join(choices)}.")
    return str(value)


def _moment(params: Mapping[str, Any], name: str) -> datetime | None:
    value = params.get(name)
    if value is None or value == "":
        return None
    return read_moment(value, name)


def _span(params: Mapping[str, Any], name: str, default: timedelta) -> timedelta:
    value = params.get(name)
    if value is None or value == "":
        return default
    span = _read_span(value) if isinstance(value, str) else None
    if span is None or span > LONGEST_LATE:
        raise ParamError(f"{name} is {_short(value)}. Give a span such as '30 min', '1 h' or 'PT1H', 30 days at most.")
    return span


def _read_span(text: str) -> timedelta | None:
    if match := _SPAN.fullmatch(text.strip()):
        return timedelta(**{_UNITS[match[2]]: int(match[1])})
    match = _ISO_SPAN.fullmatch(text.strip())
    if match is None or not any(match.groups()):
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def _short(value: object) -> str:
    """Show what was given, but never a page of it."""
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
