"""The form of a campaign, read into the params of ``otn_broadcast`` by the very rules of that DAG."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from otn.console.zones import moment_of, zones
from otn.errors import OtnError, UsageError
from otn.messenger.messages import MESSAGE_BYTES_LIMIT, TEXT_LIMIT
from otn.orchestration.params import BroadcastRequest
from otn.orchestration.reading_params import ParamError, refuse_unknown, short
from otn.rendering import MessageTemplate, compile_message

DEFAULTS: Final[Mapping[str, str]] = {
    "page": "",
    "topic": "",
    "campaign": "",
    "proposed": "",
    "resume": "",
    "kind": "text",
    "text": "",
    "message": "",
    "example": "",
    "include_labels": "",
    "exclude_labels": "",
    "attributes": "",
    "locale": "",
    "ref": "",
    "opted_in_from": "",
    "opted_in_until": "",
    "interacted_from": "",
    "interacted_until": "",
    "max_recipients": "",
    "when": "now",
    "send_at": "",
    "which": "",
    "zone": "UTC",
    "if_late": "ask",
    "late_after": "1 h",
    "canary": "0",
    "canary_labels": "",
    "approval": "on",
    "max_refused": "0.5",
    "result_labels": "",
    "preview_as": "",
    "do": "",
}
# What the count needs; it does not wait for a text that is not written yet.
AUDIENCE: Final = frozenset(
    {
        "page", "topic", "include_labels", "exclude_labels", "attributes", "locale", "ref", "opted_in_from",
        "opted_in_until", "interacted_from", "interacted_until", "max_recipients", "zone",
    }
)  # fmt: skip
CONTENT: Final = frozenset({"text", "message"})
# Each stands for itself; together they may contradict each other, and the second one is named.
_PAIRS: Final = (
    ("include_labels", "exclude_labels"),
    ("opted_in_from", "opted_in_until"),
    ("interacted_from", "interacted_until"),
)
# A campaign with nothing wrong in it: what is laid over it alone can be what its rules refuse.
_SOUND: Final[Mapping[str, Any]] = {"campaign": "sound", "topic": "sound", "text": "sound"}
_DIGITS_LIMIT = 12
# The rules name the param, as a conf has it; here the sentence stands at its field.
_PARAM: Final = re.compile(r"^[a-z][a-z_]*(?:\.\S+)? (is|holds) ", re.ASCII)


@dataclass(frozen=True)
class Draft:
    """A form as far as it can be read.

    Args:
        typed: what stands in its fields, whatever they hold.
        params: of ``otn_broadcast``: those that are sound.
        problems: field to what is wrong with it; ``form``: with the whole.
        request: the campaign, where nothing is wrong.
        template: its message, where that is sound.
    """

    typed: dict[str, str]
    params: dict[str, Any]
    problems: dict[str, str]
    request: BroadcastRequest | None = None
    template: MessageTemplate | None = None

    def sound(self, fields: frozenset[str]) -> bool:
        """Whether nothing is wrong with any of these fields."""
        return not fields & self.problems.keys()

    def audience(self) -> dict[str, Any]:
        """Labels, filter and the most people, as ``otn.campaign.audience.count`` takes them."""
        spec = BroadcastRequest.from_params({**_SOUND, **{name: self.params.get(name) for name in _COUNTED}}).spec
        return {
            "include_labels": spec.include_labels,
            "exclude_labels": spec.exclude_labels,
            "max_recipients": spec.max_recipients,
            "chosen_by": spec.filter,
        }


def read_draft(typed: Mapping[str, str]) -> Draft:
    """Read every field by itself, so that all that is wrong is told at once, each fault at its place.

    Args:
        typed: a submitted form; boxes that are not ticked are not in it.
    """
    values = {name: typed.get(name, "") for name in DEFAULTS}
    parts, problems = _parts(values)
    try:
        refuse_unknown(typed, DEFAULTS)
    except ParamError as error:
        problems["form"] = str(error)
    for first, second in _PAIRS:
        if first in parts and second in parts:
            _check(_merged(_SOUND, parts[first], parts[second]), second, problems)
    content = "text" if values["kind"] == "text" else "message"
    template = _template(parts.get(content), content, problems)
    params = _merged(*parts.values())
    request = None
    if not problems:
        request = _check(params, "form", problems)
    return Draft(values, params, problems, request, template)


def _parts(values: Mapping[str, str]) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """What each field says, and what is wrong with the others."""
    parts: dict[str, dict[str, Any]] = {}
    problems: dict[str, str] = {}
    content = _text if values["kind"] == "text" else _message
    readers = {"text" if values["kind"] == "text" else "message": content, **_READERS}
    for name, reader in readers.items():
        if name in _TIMES and "zone" in problems:
            continue  # no clock time can be read without it
        try:
            part = reader(values)
        except UsageError as error:
            problems[name] = str(error)
            continue
        if _check(_merged(_SOUND, part), name, problems):
            parts[name] = part
    return parts, problems


def _check(params: Mapping[str, Any], name: str, problems: dict[str, str]) -> BroadcastRequest | None:
    try:
        return BroadcastRequest.from_params(params)
    except UsageError as error:
        problems[name] = _PARAM.sub(r"This \1 ", str(error))
        return None


def _template(part: Mapping[str, Any] | None, name: str, problems: dict[str, str]) -> MessageTemplate | None:
    if part is None:
        return None
    try:
        return compile_message(part["message"] or {"text": part["text"]})
    except OtnError as error:  # of the template, or of the Send API's limits
        problems[name] = str(error)
        return None


def _merged(*parts: Mapping[str, Any]) -> dict[str, Any]:
    """All of them as one; bounds of the audience stand together in the filter."""
    merged: dict[str, Any] = {}
    for part in parts:
        chosen_by = {**merged.get("filter", {}), **part.get("filter", {})}
        merged |= part
        if chosen_by:
            merged["filter"] = chosen_by
    return merged


def _text(values: Mapping[str, str]) -> dict[str, Any]:
    text = values["text"]
    if not text.strip():
        raise ParamError("There is no text yet. Write what people read.")
    _refuse_large(text)
    return {"text": text, "message": None}


def _message(values: Mapping[str, str]) -> dict[str, Any]:
    text = values["message"]
    if values["kind"] != "message":
        raise ParamError(f"There is no kind of content {short(values['kind'])}. Choose text or message.")
    if not text.strip():
        raise ParamError("There is no message yet. Take an example, and change it.")
    _refuse_large(text)
    try:
        message = json.loads(text)
    except json.JSONDecodeError as error:
        raise ParamError(
            f"This is no JSON: line {error.lineno}, column {error.colno}: {error.msg}. Correct it there."
        ) from None
    except (ValueError, RecursionError):
        raise ParamError(
            "This JSON is nested too deeply, or holds a number that is too long. Make it simpler."
        ) from None
    return {"message": message, "text": None}


def _refuse_large(text: str) -> None:
    """Before a template or JSON of a megabyte is read at all."""
    if len(text) > MESSAGE_BYTES_LIMIT:
        raise ParamError(
            f"This has {len(text):,} characters. A text may have {TEXT_LIMIT:,}, a message {MESSAGE_BYTES_LIMIT:,} in "
            "all. Shorten it."
        )


def lines(text: str) -> list[str]:
    """What stands on each line, without empty ones."""
    return [line.strip() for line in text.split("\n") if line.strip()]


def pairs(text: str, example: str) -> dict[str, list[str]]:
    """Lines of ``name = value``; the same name again adds a value.

    Args:
        text: of the field.
        example: a good line, for the error text.

    Raises:
        ParamError: a line has no ``=``.
    """
    found: dict[str, list[str]] = {}
    for line in lines(text):
        name, equals, value = line.partition("=")
        if not equals:
            raise ParamError(f"The line {short(line)} has no '='. Write one pair a line, such as {example}")
        found.setdefault(name.strip(), []).append(value.strip())
    return found


def _whole(text: str) -> int | str | None:
    """A number where it is one; what else was typed is left to the rules, which say what is wrong with it."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _DIGITS_LIMIT else text or None


def _share(text: str) -> float | str | None:
    try:
        return float(text)
    except ValueError:
        return text.strip() or None


def _send_at(values: Mapping[str, str]) -> dict[str, Any]:
    if values["when"] == "now":
        return {"send_at": None}
    if values["when"] != "later":
        raise ParamError(f"There is no time of sending {short(values['when'])}. Choose now or later.")
    if not values["send_at"].strip():
        raise ParamError("Give the day and the time at which it starts, or choose now.")
    return {"send_at": moment_of(values["send_at"], values["zone"], values["which"]).isoformat()}


def _bound(name: str) -> _Reader:
    # A bound that comes twice is taken so that it leaves nobody out.
    which = "first" if name.endswith("_from") else "second"

    def read(values: Mapping[str, str]) -> dict[str, Any]:
        if not values[name].strip():
            return {}
        return {"filter": {name: moment_of(values[name], values["zone"], which).isoformat()}}

    return read


def _texts(name: str) -> _Reader:
    def read(values: Mapping[str, str]) -> dict[str, Any]:
        return {"filter": {name: lines(values[name])}} if lines(values[name]) else {}

    return read


def _attributes(values: Mapping[str, str]) -> dict[str, Any]:
    found = pairs(values["attributes"], "city = Oslo")
    return {"filter": {"attributes": found}} if found else {}


def _plain(name: str, reader: Callable[[str], Any] = str) -> _Reader:
    return lambda values: {name: reader(values[name])}


def _zone(values: Mapping[str, str]) -> dict[str, Any]:
    if values["zone"] not in zones():
        raise ParamError(f"There is no time zone {short(values['zone'])}. Choose one of the list.")
    return {}


def _named(name: str, missing: str) -> _Reader:
    def read(values: Mapping[str, str]) -> dict[str, Any]:
        if not values[name].strip():
            raise ParamError(missing)
        return {name: values[name].strip()}

    return read


_Reader = Callable[[Mapping[str, str]], dict[str, Any]]
_COUNTED: Final = ("include_labels", "exclude_labels", "max_recipients", "filter")
_TIMES: Final = frozenset({"send_at", "opted_in_from", "opted_in_until", "interacted_from", "interacted_until"})
_READERS: Final[Mapping[str, _Reader]] = {
    "page": _named("page", "No page is chosen. Choose one."),
    "topic": _named("topic", "No topic is chosen. Choose one."),
    "campaign": _named("campaign", "There is no key. Take the one that is proposed, or write another."),
    "zone": _zone,
    "include_labels": _plain("include_labels", lines),
    "exclude_labels": _plain("exclude_labels", lines),
    "attributes": _attributes,
    "locale": _texts("locale"),
    "ref": _texts("ref"),
    "opted_in_from": _bound("opted_in_from"),
    "opted_in_until": _bound("opted_in_until"),
    "interacted_from": _bound("interacted_from"),
    "interacted_until": _bound("interacted_until"),
    "max_recipients": _plain("max_recipients", _whole),
    "send_at": _send_at,
    "if_late": _plain("if_late"),
    "late_after": _plain("late_after"),
    "canary": _plain("canary", _whole),
    "canary_labels": _plain("canary_labels", lines),
    "approval": lambda values: {"approval": values["approval"] == "on"},
    "max_refused": _plain("max_refused", _share),
    "result_labels": lambda values: {"result_labels": pairs(values["result_labels"], "sent = got-spring")},
}
