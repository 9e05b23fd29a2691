"""The vocabulary of results: what an answer means for one row, and the shape of the rules that say so."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from otn.messenger import wire


class Outcome(StrEnum):
    """What is known after one attempt.

    Only THROTTLED, TRANSIENT and PAGE_HALTED may return a row to waiting: they are given for answers which prove
    that nothing was sent. Whatever leaves a doubt is UNKNOWN.
    """

    SENT = "sent"  # the platform accepted it
    REFUSED = "refused"  # it said no to this person or this token
    CONTENT = "content"  # it said no to the message itself: every other person would get the same answer
    PAGE_HALTED = "page_halted"  # it said no to the page or the app: stop, a person must act
    THROTTLED = "throttled"  # too fast or too much: wait, then the same again
    TRANSIENT = "transient"  # it did not happen this time: the same again later
    UNKNOWN = "unknown"  # nobody can say whether it was sent


class TokenFate(StrEnum):
    """Why a one-time token was turned down."""

    USED = "used"
    EXPIRED = "expired"
    INVALID = "invalid"
    UNDISTINGUISHED = "undistinguished"  # turned down, and the answer does not tell the three apart


@dataclass(frozen=True, slots=True)
class ErrorRule:
    """One row of the error table.

    Args:
        code: ``error.code``.
        subcode: ``error.error_subcode``; None = whatever the subcode, if no row names it.
        outcome: What the answer means for the row.
        meaning: For people: what happened.
        retry_worth: Whether one late retry, on an operator's demand, has a chance.
        wait_s: Seconds to wait before the same is tried again, where the answer itself says nothing.
        tries: How often the same row may meet this answer before ``then`` applies; None = no bound.
        then: The outcome once ``tries`` are used up.
        alarm: Whether a person should hear of it although the campaign goes on.
        message: Regular expression which the message must match for the rule to apply; None = any.
        unreachable: Whether it says that this person cannot be reached, whatever is sent.
        window_closed: Whether it says that the 24 h window of this person is closed.
    """

    code: int
    subcode: int | None
    outcome: Outcome
    meaning: str
    retry_worth: bool = False
    wait_s: float | None = None
    tries: int | None = None
    then: Outcome | None = None
    alarm: bool = False
    message: str | None = None
    unreachable: bool = False
    window_closed: bool = False


@dataclass(frozen=True, slots=True)
class TokenRule:
    """How one kind of dead token is recognised.

    Args:
        code: ``error.code``.
        subcode: ``error.error_subcode``; None = whatever the subcode, unless the error table names it.
        message: Regular expression, case-insensitive, searched in ``error.message``.
        fate: What it means for the token.
    """

    code: int
    subcode: int | None
    message: str
    fate: TokenFate

    def to_dict(self) -> dict[str, Any]:
        """Return it as a JSON object, the form in which a calibration is kept."""
        return {"code": self.code, "subcode": self.subcode, "message": self.message, "fate": self.fate.value}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> TokenRule:
        """Read what ``to_dict`` wrote.

        Raises:
            ValueError: A part is missing or of the wrong kind; the text names it.
        """
        code, subcode, pattern = wire.whole(value.get("code")), value.get("subcode"), value.get("message")
        if code is None:
            raise ValueError("A token rule has no integer 'code'. Calibrate again.")
        if subcode is not None and wire.whole(subcode) is None:
            raise ValueError("The 'subcode' of a token rule is no integer. Calibrate again.")
        if not isinstance(pattern, str):
            raise ValueError("A token rule has no text 'message'. Calibrate again.")  # noqa: TRY004 - stored data, not a caller's type
        try:
            re.compile(pattern)
            fate = TokenFate(str(value.get("fate")))
        except (re.error, ValueError) as error:
            raise ValueError(f"A token rule cannot be read: {error}. Calibrate again.") from None
        return cls(code, wire.whole(subcode), pattern, fate)


def dump_token_rules(rules: Iterable[TokenRule]) -> list[dict[str, Any]]:
    """Return the rules as a JSON array."""
    return [rule.to_dict() for rule in rules]


def load_token_rules(value: Iterable[Mapping[str, Any]]) -> tuple[TokenRule, ...]:
    """Read a JSON array of rules.

    Raises:
        ValueError: One of them cannot be read.
    """
    return tuple(TokenRule.from_dict(item) for item in value)
