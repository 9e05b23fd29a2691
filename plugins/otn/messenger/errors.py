"""What an error of the platform means: the error as it came, and the verdict over it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from otn.errors import OtnError
from otn.messenger import wire
from otn.messenger.error_table import ERROR_TABLE, TOKEN_RULES
from otn.messenger.outcomes import ErrorRule, Outcome, TokenFate, TokenRule, dump_token_rules, load_token_rules

__all__ = [
    "ERROR_TABLE",
    "TOKEN_RULES",
    "ErrorRule",
    "MessengerError",
    "Outcome",
    "PlatformError",
    "TokenFate",
    "TokenRule",
    "Verdict",
    "classify",
    "dump_token_rules",
    "load_token_rules",
]

_TEXT_LIMIT = 1000
_FIRST_SERVER_ERROR = 500
_LONG_SUBCODE = 10_000
_TRANSIENT_WAIT_S = 60.0
_TRANSIENT_TRIES = 3

_EXACT = {(rule.code, rule.subcode): rule for rule in ERROR_TABLE if rule.message is None}
_BY_MESSAGE = tuple((rule, re.compile(rule.message, re.IGNORECASE)) for rule in ERROR_TABLE if rule.message is not None)


@dataclass(frozen=True, slots=True)
class PlatformError:
    """The ``error`` object of an answer. Every part may be missing.

    Source: Meta docs, Messenger Platform error codes; ``is_transient``, ``error_data`` as Meta's Python SDK reads them.
    """

    code: int | None
    subcode: int | None = None
    message: str = ""
    type: str | None = None
    is_transient: bool = False
    http_status: int | None = None
    fbtrace_id: str | None = None
    user_message: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)

    @classmethod
    def from_body(cls, body: object, *, http_status: int | None = None) -> PlatformError | None:
        """Read the error out of an answer's body; None where it carries none.

        Never raises: an error that cannot be read in part is still an error.

        Args:
            body: The parsed JSON, or its text.
            http_status: Of the answer, or ``code`` of the batch item.
        """
        if isinstance(body, (bytes, str)):
            try:
                body = wire.decode(body)
            except ValueError:
                return None
        stated = body.get("error") if isinstance(body, dict) else None
        if stated is None:
            return None
        if not isinstance(stated, dict):
            return cls(code=None, message=_text(stated) or "", http_status=http_status)
        return cls(
            code=wire.whole(stated.get("code")),
            subcode=wire.whole(stated.get("error_subcode")),
            message=_text(stated.get("message")) or "",
            type=_text(stated.get("type")),
            is_transient=stated.get("is_transient") is True,
            http_status=http_status,
            fbtrace_id=_text(stated.get("fbtrace_id")),
            user_message=_text(stated.get("error_user_msg")),
            data=_data(stated.get("error_data")),
        )

    @property
    def key(self) -> str:
        """``code/subcode`` as reports count it; ``-`` stands for a part that did not come."""
        return f"{'-' if self.code is None else self.code}/{'-' if self.subcode is None else self.subcode}"

    def without(self, secrets: Iterable[str]) -> PlatformError:
        """Return it with every secret taken out of its texts: the platform likes to quote what it refuses."""
        message, user_message = self.message, self.user_message
        for secret in sorted({secret for secret in secrets if secret}, key=len, reverse=True):
            message = message.replace(secret, "[...]")
            user_message = user_message.replace(secret, "[...]") if user_message else user_message
        return replace(self, message=message, user_message=user_message, data={})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an error means for one row.

    Args:
        outcome: What is known now.
        token_fate: Set where the one-time token was turned down.
        retry_worth: Whether one late retry, on an operator's demand, has a chance.
        wait_s: Seconds to wait first, where the platform's headers do not say.
        meaning: For people.
        rule: The row of the table behind it; None where no row fits. Carries ``tries``, ``then`` and ``alarm``.
        unreachable: The person cannot be reached at all: blocked, muted, gone, or not of this page.
        window_closed: The person's 24 h window is closed: nothing may be sent to their id until they write again.
    """

    outcome: Outcome
    token_fate: TokenFate | None = None
    retry_worth: bool = False
    wait_s: float | None = None
    meaning: str = ""
    rule: ErrorRule | None = None
    unreachable: bool = False
    window_closed: bool = False


class MessengerError(OtnError):
    """The Messenger Platform did not do what was asked. Look at the outcome of the error for whether to try again."""

    def __init__(
        self, message: str | None = None, *, outcome: Outcome = Outcome.UNKNOWN, error: PlatformError | None = None
    ) -> None:
        super().__init__(message)
        self.outcome = outcome
        self.error = error


def classify(error: PlatformError, *, token_rules: Iterable[TokenRule] = TOKEN_RULES) -> Verdict:
    """Say what an error means for the row whose send it answered.

    A 5xx is UNKNOWN whatever it says: it may come from a layer that stands behind the send. Token rules which name the
    subcode come first, then the table's exact rows, then the other token rules, then the rest of the table.

    Args:
        error: As it came.
        token_rules: How dead one-time tokens are recognised; a calibration passes its own.
    """
    if error.http_status is not None and error.http_status >= _FIRST_SERVER_ERROR:
        return Verdict(Outcome.UNKNOWN, meaning="The platform failed (HTTP 5xx); it may have sent before it did.")
    rules = tuple(token_rules)
    fate = _token_fate(error, [rule for rule in rules if rule.subcode is not None])
    rule = None if fate else _row_of_subcode(error)
    if fate is None and rule is None:
        fate = _token_fate(error, [rule for rule in rules if rule.subcode is None])
    if fate is not None:
        return Verdict(Outcome.REFUSED, token_fate=fate, meaning=_FATES[fate])
    rule = rule or _row_of_code(error)
    if rule is None:
        return _unlisted(error)
    rule = _softened(rule) if error.is_transient else rule
    refused = rule.outcome is Outcome.REFUSED
    return Verdict(
        rule.outcome,
        retry_worth=rule.retry_worth,
        wait_s=rule.wait_s,
        meaning=rule.meaning,
        rule=rule,
        unreachable=rule.unreachable and refused,
        window_closed=rule.window_closed and refused,
    )


_FATES = {
    TokenFate.USED: "The one-time token was used already.",
    TokenFate.EXPIRED: "The one-time token has expired.",
    TokenFate.INVALID: "The one-time token is not one of this page.",
    TokenFate.UNDISTINGUISHED: "The one-time token was turned down: used, expired or invalid.",
}


def _token_fate(error: PlatformError, rules: Iterable[TokenRule]) -> TokenFate | None:
    for rule in rules:
        if rule.code != error.code or (rule.subcode is not None and rule.subcode != error.subcode):
            continue
        if re.search(rule.message, error.message, re.IGNORECASE | re.DOTALL):
            return rule.fate
    return None


def _row_of_subcode(error: PlatformError) -> ErrorRule | None:
    if error.code is None or error.subcode is None:
        return None
    exact = _EXACT.get((error.code, error.subcode))
    if exact is not None or error.subcode < _LONG_SUBCODE:
        return exact
    # Meta's list gives some subcodes as if they were codes; on the wire they stand under 10 or 100.
    return _EXACT.get((error.subcode, None))


def _row_of_code(error: PlatformError) -> ErrorRule | None:
    if error.code is None:
        return None
    for rule, pattern in _BY_MESSAGE:
        if rule.code == error.code and pattern.search(error.message):
            return rule
    return _EXACT.get((error.code, None))


def _softened(rule: ErrorRule) -> ErrorRule:
    """Honour ``is_transient: true`` where the table would end the row; a doubt or a halt it does not lift."""
    if rule.outcome not in {Outcome.REFUSED, Outcome.CONTENT}:
        return rule
    wait_s = rule.wait_s or _TRANSIENT_WAIT_S
    return replace(rule, outcome=Outcome.TRANSIENT, wait_s=wait_s, tries=_TRANSIENT_TRIES, then=rule.outcome)


def _unlisted(error: PlatformError) -> Verdict:
    """Decide by the HTTP status where no row fits.

    A 4xx with the platform's own error object is a refusal: the request was not carried out. A 200 that carries an
    unlisted error contradicts itself (1/1357046 is such a case), so it stays in doubt.
    """
    status = error.http_status
    if status == 429:
        return Verdict(Outcome.THROTTLED, wait_s=_TRANSIENT_WAIT_S, meaning="Too many requests.")
    if error.code is None and status in {401, 403}:
        return Verdict(Outcome.PAGE_HALTED, meaning="The platform denies the page access and gives no code.")
    if status is None or not 400 <= status < _FIRST_SERVER_ERROR:
        return Verdict(Outcome.UNKNOWN, meaning="An error that no table knows, in an answer that is no clear refusal.")
    if error.is_transient:
        return Verdict(Outcome.TRANSIENT, wait_s=_TRANSIENT_WAIT_S, meaning="An unlisted error, stated as transient.")
    return Verdict(Outcome.REFUSED, meaning="The platform refused with an error that no table knows.")


def _text(value: object) -> str | None:
    return wire.cleaned(value, _TEXT_LIMIT) if isinstance(value, str) else None


def _data(value: object) -> dict[str, Any]:
    """Read ``error_data``, which comes as an object or as the text of one."""
    if isinstance(value, str):
        try:
            value = wire.decode(value)
        except ValueError:
            return {}
    return value if isinstance(value, dict) else {}
