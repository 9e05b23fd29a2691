"""Answers to the calls which are no sends: what they hold, or the error to raise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from otn.messenger import wire
from otn.messenger.errors import MessengerError, Outcome, PlatformError, classify
from otn.messenger.transport import Answer, UnansweredError


def object_of(what: str, answer: Answer, secrets: Sequence[str]) -> dict[str, Any]:
    """Return the object that was answered.

    Args:
        what: What was asked for, as it goes into "The platform did not ...".
        answer: As it came.
        secrets: What must not stand in the texts of an error.

    Raises:
        MessengerError: It is an error of the platform, or no object.
    """
    error = PlatformError.from_body(answer.body, http_status=answer.status)
    if error is not None:
        raise _refusal(what, error.without(secrets))
    try:
        found = wire.decode(answer.body)
    except ValueError:
        found = None
    if answer.status != 200 or not isinstance(found, dict):
        raise MessengerError(
            f"The platform did not {what}: its answer (HTTP {answer.status}) cannot be read. Try again later."
        )
    return found


def rows_of(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the objects of a list.

    Raises:
        MessengerError: It is no list.
    """
    rows = found.get("data")
    if not isinstance(rows, list):
        raise MessengerError("The platform's list cannot be read: it has no data. Try again later.")
    return [row for row in rows if isinstance(row, dict)]


def no_answer(what: str, failure: UnansweredError) -> MessengerError:
    """Return the error for a call that got no answer."""
    outcome = Outcome.UNKNOWN if failure.written else Outcome.TRANSIENT
    advice = "Look whether it was done, then try again." if failure.written else "Check the network and try again."
    return MessengerError(f"The platform did not {what}: no answer ({failure.reason}). {advice}", outcome=outcome)


_ADVICE = {
    Outcome.PAGE_HALTED: "Renew the page's access token or permissions.",
    Outcome.THROTTLED: "Wait and try again.",
    Outcome.TRANSIENT: "Try again later.",
}


def _refusal(what: str, error: PlatformError) -> MessengerError:
    verdict = classify(error, token_rules=())
    advice = _ADVICE.get(verdict.outcome, "Correct the request.")
    text = f"The platform did not {what}: {verdict.meaning} ({error.key}: {error.message}). {advice}"
    return MessengerError(text, outcome=verdict.outcome, error=error)
