"""From an HTTP answer to what is known about each send."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from otn.messenger import wire
from otn.messenger.errors import Outcome, PlatformError, TokenRule, Verdict, classify
from otn.messenger.transport import Answer, UnansweredError
from otn.messenger.usage import Usage

# Nothing was sent: the page was refused, the platform throttled, or nothing was written.
WITHOUT_EFFECT = frozenset({Outcome.PAGE_HALTED, Outcome.THROTTLED, Outcome.TRANSIENT})
TURNED_DOWN = frozenset({Outcome.REFUSED, Outcome.CONTENT})

_OK = 200
_INTEGER, _SMALLINT = 2**31, 2**15  # beyond them is no number that the platform documents, nor one that is kept
_ID_LIMIT = 1000
_UNREACHED_WAIT_S = 5.0


@dataclass(frozen=True, slots=True)
class SendResult:
    """What is known after one attempt to send.

    Args:
        outcome: SENT, or what the answer or its absence means.
        message_id: Set if and only if SENT.
        recipient_id: The PSID, where the platform names it; it need not.
        error: The platform's error, if it gave one; tokens and ids are taken out of its texts.
        verdict: The reading of that error.
        http_status: Of the answer, or of the item within a batch.
        wait_s: Seconds to wait before the page is used again, for THROTTLED and TRANSIENT.
        usage: The usage headers of the call.
        reason: One word for what went wrong where the platform gave no error.
    """

    outcome: Outcome
    message_id: str | None = None
    recipient_id: str | None = field(default=None, repr=False)
    error: PlatformError | None = None
    verdict: Verdict | None = None
    http_status: int | None = None
    wait_s: float | None = None
    usage: Usage | None = None
    reason: str | None = None

    def outcome_after(self, attempts: int) -> Outcome:
        """The outcome, or what the error table makes of it once the same answer has come too often.

        Args:
            attempts: calls of this message so far.
        """
        rule = self.verdict.rule if self.verdict else None
        if rule and rule.tries and rule.then and self.outcome in WITHOUT_EFFECT and attempts >= rule.tries:
            return rule.then
        return self.outcome

    def codes(self) -> dict[str, int | None]:
        """``http_status``, ``error_code`` and ``error_subcode`` as they are kept."""
        return {
            "http_status": _within(self.http_status, _SMALLINT),
            "error_code": _within(self.error.code, _INTEGER) if self.error else None,
            "error_subcode": _within(self.error.subcode, _INTEGER) if self.error else None,
        }


def _within(number: int | None, bound: int) -> int | None:
    return number if number is not None and -bound <= number < bound else None


def read_unanswered(failure: UnansweredError) -> SendResult:
    """Say what the lack of an answer means: nothing happened, or nobody can say."""
    if failure.written:
        return SendResult(Outcome.UNKNOWN, http_status=failure.status, reason=failure.reason)
    return SendResult(Outcome.TRANSIENT, wait_s=_UNREACHED_WAIT_S, reason=failure.reason)


def read_send(
    status: int, body: bytes | str, usage: Usage | None, *, token_rules: Sequence[TokenRule], secrets: Iterable[str]
) -> SendResult:
    """Read the answer to one send, or one item of a batch answer.

    Args:
        status: HTTP status, or ``code`` of the item.
        body: As it came; in a batch it is JSON within JSON.
        usage: Of the call.
        token_rules: How dead one-time tokens are recognised.
        secrets: What must not stand in the error's texts.
    """
    parsed = _parsed(body)
    error = PlatformError.from_body(parsed, http_status=status)
    if error is None:
        return _accepted(status, parsed, usage)
    error = error.without(secrets)
    verdict = classify(error, token_rules=token_rules)
    if isinstance(parsed, dict) and parsed.get("message_id"):
        verdict = Verdict(Outcome.UNKNOWN, meaning="The answer holds a message id and an error.")
    return _failed(error, verdict, usage)


def read_batch(
    answer: Answer, usage: Usage | None, *, token_rules: Sequence[TokenRule], secrets: Sequence[Sequence[str]]
) -> list[SendResult]:
    """Read the answer to a batch into one result per item, in the order of the request.

    Args:
        answer: Of the whole call.
        usage: Its usage headers.
        token_rules: How dead one-time tokens are recognised.
        secrets: Per item, what must not stand in the error's texts.
    """
    parsed = _parsed(answer.body)
    error = PlatformError.from_body(parsed, http_status=answer.status)
    if error is not None:
        result = _whole_batch(error.without(secret for item in secrets for secret in item), usage)
        return [result] * len(secrets)
    if answer.status != _OK or not isinstance(parsed, list):
        reason = _no_shape(answer.status, parsed)
        return [SendResult(Outcome.UNKNOWN, http_status=answer.status, usage=usage, reason=reason)] * len(secrets)
    if len(parsed) != len(secrets):
        # Which answer belongs to which item cannot be told any more.
        result = SendResult(Outcome.UNKNOWN, http_status=answer.status, usage=usage, reason="wrong_item_count")
        return [result] * len(secrets)
    return [
        _item(item, usage, token_rules=token_rules, secrets=hidden)
        for item, hidden in zip(parsed, secrets, strict=True)
    ]


def _item(item: Any, usage: Usage | None, *, token_rules: Sequence[TokenRule], secrets: Iterable[str]) -> SendResult:
    if item is None:
        return SendResult(Outcome.UNKNOWN, usage=usage, reason="null_item")
    status = wire.whole(item.get("code")) if isinstance(item, dict) else None
    body = item.get("body") if isinstance(item, dict) else None
    if status is None or not isinstance(body, str):
        return SendResult(Outcome.UNKNOWN, http_status=status, usage=usage, reason="unusable_item")
    return read_send(status, body, usage, token_rules=token_rules, secrets=secrets)


def _accepted(status: int, parsed: Any, usage: Usage | None) -> SendResult:
    message_id = parsed.get("message_id") if isinstance(parsed, dict) else None
    if status != _OK or not _usable(message_id):
        reason = _no_shape(status, parsed)
        return SendResult(Outcome.UNKNOWN, http_status=status, usage=usage, reason=reason)
    recipient_id = parsed.get("recipient_id")
    return SendResult(
        Outcome.SENT,
        message_id=message_id,
        recipient_id=recipient_id if _usable(recipient_id) else None,
        http_status=status,
        usage=usage,
    )


def _usable(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _ID_LIMIT and wire.storable(value)


def _failed(error: PlatformError, verdict: Verdict, usage: Usage | None) -> SendResult:
    wait_s = verdict.wait_s
    if verdict.outcome is Outcome.THROTTLED and usage is not None and usage.wait_minutes:
        wait_s = usage.wait_minutes * 60
    return SendResult(
        verdict.outcome, error=error, verdict=verdict, http_status=error.http_status, wait_s=wait_s, usage=usage
    )


def _whole_batch(error: PlatformError, usage: Usage | None) -> SendResult:
    """Read an error in place of the array: the batch was turned down before any item of it ran.

    It cannot be about one person or one one-time token. A refusal of the whole is therefore a halt: the rows go back
    to waiting and a person looks at it, instead of fifty people being marked as refused for a malformed request.
    """
    verdict = classify(error, token_rules=())
    if verdict.outcome in {Outcome.REFUSED, Outcome.CONTENT}:
        meaning = f"The whole batch was turned down: {verdict.meaning}"
        verdict = replace(verdict, outcome=Outcome.PAGE_HALTED, meaning=meaning)
    return _failed(error, verdict, usage)


class _Garbage:
    """Stands for a body that is no JSON; None is a body of its own."""


def _parsed(body: bytes | str) -> Any:
    try:
        return wire.decode(body)
    except ValueError:
        return _Garbage


def _no_shape(status: int, parsed: Any) -> str:
    if status >= 500:
        return "server_error"
    if 300 <= status < 400:
        return "redirect"
    if status != _OK:
        return f"http_{status}"
    return "unparsable_answer" if parsed is _Garbage else "unusable_answer"


def form_of(fields: Mapping[str, Any]) -> dict[str, str]:
    """Return form fields; what is no text is JSON within the form.

    Source: Meta docs, Send API reference: ``recipient`` and ``message`` as JSON strings in a form.
    """
    return {name: value if isinstance(value, str) else wire.encode(value) for name, value in fields.items()}
