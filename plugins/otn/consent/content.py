"""Messages that operators write down once and people get later: checked when they are written down."""

from __future__ import annotations

import json
from typing import Any

from otn.errors import UsageError
from otn.messenger.messages import MessageError
from otn.rendering import compile_message

__all__ = ["content", "message_from"]


class ContentError(UsageError):
    """The message cannot be sent. Compare it with Meta's Send API reference."""


def content(message: object) -> dict[str, Any]:
    """Check a message object with its templates and return it.

    Args:
        message: a text, or a Send API message object; its texts may hold personal fields.

    Raises:
        ContentError: the Send API would refuse it.
        TemplateError: a template in it cannot be used.
    """
    wanted = {"text": message} if isinstance(message, str) else message
    if not isinstance(wanted, dict):
        raise ContentError(
            'The message is neither a text nor an object. Write it as text, or as {"attachment": {...}}.'
        )
    try:
        return compile_message(wanted).message
    except MessageError as error:
        raise ContentError(str(error)) from None


def message_from(text: str | None, as_json: str | None) -> dict[str, Any] | None:
    """The message that a command line gives, as text or as JSON; None: neither.

    Raises:
        ContentError: both are given, or it is no message.
        TemplateError: a template in it cannot be used.
    """
    if text is not None and as_json is not None:
        raise ContentError("A message is given twice, as text and as JSON. Give one of them.")
    if text is not None:
        return content(text)
    if as_json is None:
        return None
    try:
        return content(json.loads(as_json))
    except (ValueError, RecursionError):
        raise ContentError("The message is no JSON. Write it as {...}, or give it as text.") from None
