"""Why somebody was refused, is unconfirmed or was skipped: in words, where the tables have codes."""

from __future__ import annotations

from otn.console import words
from otn.messenger.errors import PlatformError, classify

_NO_ANSWER = "the platform gave no clear answer"
UNCONFIRMED = {
    "lease_lost": "the sender died or lost the database in mid-call",
    "no_answer": _NO_ANSWER,
    "null_item": _NO_ANSWER,
    "unusable_item": _NO_ANSWER,
    "wrong_item_count": _NO_ANSWER,
    "malformed_http": _NO_ANSWER,
    "answer_too_large": _NO_ANSWER,
    "read_timeout": "no answer came in time",
    "timeout": "no answer came in time",
    "connection_cut": "the connection was cut before the answer came",
    "transient": "asked again, and the platform was not able to answer",
    "throttled": "asked again, and the platform wanted us to wait",
    "page_halted": "asked again, and the platform refused the page",
    "refused_in_doubt": "asked again, and the platform refuses the person by now; only its echo can settle it",
    "suppressed": "said stop since, so nobody may ask again; only the platform's echo can settle it",
    "token_expired": "the consent has ended since; only the platform's echo can settle it",
    "erased": "were erased since; it stays unconfirmed",
    "late": "first called too long ago: a second try would come late, so somebody must want it",
    "restored": "the database was restored from a backup: perhaps they were called since",
}
SKIPPED = {
    "suppressed": "said stop, or were silenced, after the plan",
    "token_expired": "their consent ended before their turn came",
    "erased": "were erased after the plan",
    "personal_field_missing": "a personal field without fall-back is missing",
    "personal_field_unusable": "a personal field cannot stand in the text",
    "message_over_limit": "with their personal fields the message is too long",
    "message_not_valid": "with their personal fields the message is none that Messenger takes",
}


def unconfirmed(reason: str) -> str:
    """Why nobody knows whether a person has the message."""
    return UNCONFIRMED.get(reason, f"the call had no clear end ({reason.replace('_', ' ')})")


def skipped(reason: str) -> str:
    """Why a planned person was not called."""
    return SKIPPED.get(reason, words.left_out(reason))


def refused(code: int | None, subcode: int | None, *, token_dead: bool = False) -> str:
    """What a refusal of the platform means.

    Args:
        code: ``error.code``.
        subcode: ``error.error_subcode``.
        token_dead: it was the consent itself that the platform turned down.
    """
    if token_dead:
        return "The platform does not take this consent any more: used or ended."
    return classify(PlatformError(code, subcode, http_status=400)).meaning
