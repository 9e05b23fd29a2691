"""From what came back over the wire to what is written into the ledger."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from otn.campaign import stop_rules
from otn.messenger.answers import TURNED_DOWN, WITHOUT_EFFECT, SendResult
from otn.messenger.errors import Outcome, TokenFate

# Until a calibration has shown what the platform says for a used token, what it says may well mean "used": that is
# UNDISTINGUISHED. INVALID and EXPIRED come only from a calibration that told them from "used".
INFERRED_AS_USED = frozenset({TokenFate.USED, TokenFate.UNDISTINGUISHED})
_OURS = frozenset({"content_error", "counted", "at"})  # not written down


@dataclass(frozen=True)
class Answer:
    """One recipient's result, as ``recipient.sql`` records it.

    Args:
        subscriber_id: ``otn.subscriber.id``.
        attempt_id: the attempt that it answers.
        outcome: ``sent``, ``refused``, ``returned`` (proven without effect) or ``unknown``.
        message_id: the platform's, with ``sent``.
        http_status: of the call or of the batch item.
        error_code: the platform's.
        error_subcode: the platform's.
        retry_worth: a later try may succeed.
        token_refused: the platform refused the token itself.
        token_used: that refusal can mean that the token was spent.
        unreachable: the person cannot be reached, by whatever message.
        skip: with ``returned``: the person is not to be called at all.
        reason: short and stable.
        wait_s: not to be called again for so long.
        content_error: ``code/subcode`` of a refused message, for the stop rules.
        called: a request was made, so that it counts as a try and for the stop rules.
        counted: the stop rules count it; of a batch that was not answered only one is, as it was one call.
        at: moment (``time.monotonic``) of the answer; a message was sent then, however late it is recorded.
    """

    subscriber_id: int
    attempt_id: str
    outcome: str
    message_id: str | None = None
    http_status: int | None = None
    error_code: int | None = None
    error_subcode: int | None = None
    retry_worth: bool = False
    token_refused: bool = False
    token_used: bool = False
    unreachable: bool = False
    skip: bool = False
    reason: str | None = None
    wait_s: float | None = None
    content_error: str | None = None
    called: bool = True
    counted: bool = True
    at: float = field(default_factory=time.monotonic, compare=False)

    def row(self) -> dict[str, Any]:
        """As the record query reads it: what is not there is null or false, which is most of it in most answers."""
        kept = self.__dict__.items()
        row = {name: value for name, value in kept if value is not None and value is not False and name not in _OURS}
        return row | {"age_s": max(0.0, time.monotonic() - self.at)}

    def letter(self, state: str | None) -> str | None:
        """For the stop rules; None when it does not count.

        Args:
            state: where the row went: a refusal of a used token may mean that the person has the message.
        """
        if not self.called or not self.counted:
            return None
        if state == "sent":
            return stop_rules.SENT
        return {"sent": stop_rules.SENT, "refused": stop_rules.REFUSED, "unknown": stop_rules.UNKNOWN}.get(self.outcome)


def not_called(subscriber_id: int, attempt_id: str, reason: str, *, skip: bool = False) -> Answer:
    """No request was made: proven without effect."""
    return Answer(subscriber_id, attempt_id, "returned", reason=reason, skip=skip, called=False)


def from_result(subscriber_id: int, attempt_id: str, result: SendResult, *, attempts: int = 1) -> Answer:
    """Judge one result of the client.

    Args:
        subscriber_id: ``otn.subscriber.id``.
        attempt_id: the attempt that it answers.
        result: what the client made of it.
        attempts: calls of this row so far; some errors are waited out only so often.

    A refusal without a code, or an acceptance without a message id, proves nothing: unknown.
    """
    verdict, codes = result.verdict, result.codes()
    outcome, code = result.outcome_after(attempts), codes["error_code"]
    if outcome is Outcome.SENT and result.message_id:
        return Answer(subscriber_id, attempt_id, "sent", message_id=result.message_id, http_status=codes["http_status"])
    common: dict[str, Any] = {**codes, "wait_s": result.wait_s}
    if outcome in TURNED_DOWN and code is not None:
        fate = verdict.token_fate if verdict else None
        content = f"{code}/{codes['error_subcode'] or '-'}" if outcome is Outcome.CONTENT else None
        return Answer(
            subscriber_id,
            attempt_id,
            "refused",
            retry_worth=bool(verdict and verdict.retry_worth),
            token_refused=fate is not None,
            token_used=fate in INFERRED_AS_USED,
            unreachable=bool(verdict and verdict.unreachable),
            content_error=content,
            **common,
        )
    if outcome in WITHOUT_EFFECT:
        return Answer(subscriber_id, attempt_id, "returned", reason=outcome.value, **common)
    return Answer(subscriber_id, attempt_id, "unknown", reason=result.reason or "no_answer", **common)


def once_per_call(batch: Sequence[Answer]) -> list[Answer]:
    """The answers to one Graph call: of those that nothing came back for, one counts for the stop rules.

    A connection that is cut leaves fifty people in doubt by one mishap; counted by head, three in a row would halt.
    """
    silent = [place for place, answer in enumerate(batch) if answer.outcome == "unknown" and answer.http_status is None]
    if not silent:
        return list(batch)
    uncounted = set(silent[1:])
    return [replace(answer, counted=place not in uncounted) for place, answer in enumerate(batch)]
