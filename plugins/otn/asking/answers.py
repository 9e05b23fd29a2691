"""From what came back over the wire to what is written beside a window message."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from otn.messenger.answers import TURNED_DOWN, WITHOUT_EFFECT, SendResult
from otn.messenger.errors import Outcome

UNKNOWN_ERROR = 1  # Meta's "an unknown error occurred": whatever its subcode, it does not say that nothing was sent


@dataclass(frozen=True)
class Answer:
    """One message's result, as ``window.sql`` records it.

    Args:
        id: ``otn.window_message.id``.
        attempt_id: the attempt that it answers.
        outcome: ``sent``, ``refused``, ``returned`` (proven without effect) or ``unknown``.
        message_id: the platform's, with ``sent``.
        http_status: of the call or of the batch item.
        error_code: the platform's.
        error_subcode: the platform's.
        unreachable: the person cannot be reached, by whatever message.
        skip: with ``returned``: the message is not to be sent at all.
        called: a request was made.
        reason: short and stable.
        wait_s: not to be called again for so long.
        at: moment (``time.monotonic``) of the answer; a message was sent then, however late it is recorded.
    """

    id: int
    attempt_id: str
    outcome: str
    message_id: str | None = None
    http_status: int | None = None
    error_code: int | None = None
    error_subcode: int | None = None
    unreachable: bool = False
    skip: bool = False
    called: bool = True
    reason: str | None = None
    wait_s: float | None = None
    at: float = field(default_factory=time.monotonic, compare=False)

    def row(self) -> dict[str, Any]:
        """As the record query reads it."""
        row = {name: value for name, value in self.__dict__.items() if name != "at"}
        return row | {"age_s": max(0.0, time.monotonic() - self.at)}


def not_called(row_id: int, attempt_id: str, reason: str, *, skip: bool = False) -> Answer:
    """No request was made: proven without effect."""
    return Answer(row_id, attempt_id, "returned", reason=reason, skip=skip, called=False)


def from_result(row_id: int, attempt_id: str, result: SendResult, *, attempts: int = 1) -> Answer:
    """Judge one result of the client.

    No token stands between a person and a second copy: whatever does not prove that nothing was sent is unknown, a
    refusal without a code and an acceptance without a message id too.

    Args:
        row_id: ``otn.window_message.id``.
        attempt_id: the attempt that it answers.
        result: what the client made of it.
        attempts: calls of this message so far; some errors are waited out only so often.
    """
    outcome = outcome_of(result, attempts)
    codes: dict[str, Any] = result.codes()
    if outcome is Outcome.SENT and result.message_id:
        return Answer(row_id, attempt_id, "sent", message_id=result.message_id, http_status=codes["http_status"])
    if outcome in TURNED_DOWN and codes["error_code"] is not None:
        unreachable = bool(result.verdict and result.verdict.unreachable)
        return Answer(row_id, attempt_id, "refused", unreachable=unreachable, **codes)
    if outcome in WITHOUT_EFFECT:
        return Answer(row_id, attempt_id, "returned", reason=outcome.value, wait_s=result.wait_s, **codes)
    return Answer(row_id, attempt_id, "unknown", reason=result.reason or "no_answer", **codes)


def outcome_of(result: SendResult, attempts: int) -> Outcome:
    """The outcome after so many calls.

    A one-time token would stop a second copy; here an error that only may be without effect leaves a doubt.

    Args:
        result: what the client made of the answer.
        attempts: calls of this message so far.
    """
    if result.outcome is Outcome.TRANSIENT and result.error is not None and result.error.code == UNKNOWN_ERROR:
        return Outcome.UNKNOWN
    return result.outcome_after(attempts)
