"""What an operator types into the trigger form, read strictly and without Airflow.

Airflow takes unknown keys and does not check dates, so nothing of the form is believed before it went through here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, cast, get_args

from otn.campaign.model import CampaignSpec, IfLate
from otn.consent.filters import read_filter, read_moment
from otn.consent.labels import RESULTS, LabelError, check_label
from otn.orchestration.reading_params import (
    ParamError,
    all_params,
    read_choice,
    read_key,
    read_labels,
    read_switch,
    read_whole,
    refuse_unknown,
    short,
)
from otn.settings import DEFAULT_PAGE_CONNECTION

Scope = Literal["waiting", "refused", "unknown"]

RESULT_LABELS_LIMIT = 10
LONGEST_AHEAD = timedelta(days=366)  # a token lives for a year
LONGEST_LATE = timedelta(days=30)
JUST_NOW = timedelta(minutes=1)  # somebody typed the present minute

_SPAN = re.compile(r"(\d{1,6}) ?(s|min|h|d)", re.ASCII)
_ISO_SPAN = re.compile(r"P(?:(\d{1,4})D)?(?:T(?:(\d{1,4})H)?(?:(\d{1,5})M)?(?:(\d{1,6})S)?)?", re.ASCII)
_UNITS = {"s": "seconds", "min": "minutes", "h": "hours", "d": "days"}


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
        return cls.from_params(all_params(context))

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> BroadcastRequest:
        """Read params as the form or a conf gives them.

        Raises:
            ParamError: one of them cannot be used; the sentence names it.
        """
        refuse_unknown(params, BROADCAST_KEYS)
        spec = CampaignSpec(
            key=read_key(params, "campaign"),
            message=read_message(params.get("text"), params.get("message")),
            include_labels=read_labels(params, "include_labels"),
            exclude_labels=read_labels(params, "exclude_labels"),
            max_recipients=read_whole(params, "max_recipients", least=1),
            filter=read_filter(params.get("filter")),
            result_labels=_result_labels(params.get("result_labels")),
            send_at=_moment(params, "send_at"),
            canary=read_whole(params, "canary", least=0) or 0,
            canary_labels=read_labels(params, "canary_labels"),
            approval=read_switch(params, "approval", default=True),
            if_late=IfLate(read_choice(params, "if_late", [one.value for one in IfLate], default=IfLate.ASK)),
            late_after=_span(params, "late_after", default=timedelta(hours=1)),
            max_refused=_share(params, "max_refused", default=0.5),
        )
        _refuse_contradiction(spec)
        return cls(
            spec=spec,
            page=read_key(params, "page", default=DEFAULT_PAGE_CONNECTION),
            topic=read_key(params, "topic"),
            dry_run=read_switch(params, "dry_run", default=False),
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
        return cls.from_params(all_params(context))

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> RetryRequest:
        """Read params as the form or a conf gives them.

        Raises:
            ParamError: one of them cannot be used; the sentence names it.
        """
        refuse_unknown(params, RETRY_KEYS)
        return cls(
            campaign=read_key(params, "campaign"),
            page=read_key(params, "page", default=DEFAULT_PAGE_CONNECTION),
            scope=cast("Scope", read_choice(params, "scope", get_args(Scope), default="waiting")),
        )


BROADCAST_KEYS = frozenset(
    {one.name for one in fields(CampaignSpec)} - {"key"} | {"campaign", "page", "topic", "text", "dry_run"}
)
RETRY_KEYS = frozenset(one.name for one in fields(RetryRequest))


def _refuse_contradiction(spec: CampaignSpec) -> None:
    both = sorted(set(spec.include_labels) & set(spec.exclude_labels))
    if both:
        raise ParamError(
            f"The label {short(both[0])} is both included and excluded: nobody would be left. Drop it once."
        )


def read_message(text: Any, message: Any) -> dict[str, Any]:
    """Read the content, given either way.

    Raises:
        ParamError: neither or both are given, or it is none.
    """
    if (text is None or text == "") == (message is None):
        both = "both" if message is not None else "neither"
        raise ParamError(f"Exactly one of 'text' and 'message' is needed, and {both} is given. Give one of them.")
    if message is None:
        if not isinstance(text, str):
            raise ParamError(f"text is {short(text)}. Give text in quotes.")
        return {"text": text}
    if not isinstance(message, dict) or not message:
        raise ParamError(f"message is {short(message)}. Give a Send API message object such as {{'text': 'Hi'}}.")
    return message


def _result_labels(value: Any) -> dict[str, tuple[str, ...]]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ParamError(f"result_labels is {short(value)}. Give an object such as {{'sent': ['got-spring']}}.")
    read = {}
    for result in sorted(value, key=str):
        name = f"result_labels.{short(result)[1:-1]}"
        if result not in RESULTS:
            raise ParamError(f"There is no {name}. Results are: {', '.join(RESULTS)}.")
        if not isinstance(value[result], list | tuple) or not 1 <= len(value[result]) <= RESULT_LABELS_LIMIT:
            raise ParamError(
                f"{name} is {short(value[result])}. Give a list of 1 to {RESULT_LABELS_LIMIT} labels; "
                "leave it out for none."
            )
        try:
            read[result] = tuple(sorted({check_label(label) for label in value[result]}))
        except LabelError as error:
            raise ParamError(f"{name} cannot be used. {error}") from None
    return read


def _share(params: Mapping[str, Any], name: str, default: float) -> float:
    value = params.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:  # also false for NaN
        raise ParamError(f"{name} is {short(value)}. Give a share above 0 and up to 1, such as 0.5.")
    return float(value)


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
        raise ParamError(f"{name} is {short(value)}. Give a span such as '30 min', '1 h' or 'PT1H', 30 days at most.")
    return span


def _read_span(text: str) -> timedelta | None:
    if match := _SPAN.fullmatch(text.strip()):
        return timedelta(**{_UNITS[match[2]]: int(match[1])})
    match = _ISO_SPAN.fullmatch(text.strip())
    if match is None or not any(match.groups()):
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
