"""What the platform said for dead tokens: whether the answers can be told apart, and by which rules."""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass

from otn.messenger.client import SendResult
from otn.messenger.errors import TOKEN_RULES, Outcome, PlatformError, TokenFate, TokenRule, classify

INTEGER = 2**31  # Postgres's; a number beyond it is none that the platform documents

# What differs from answer to answer: ids, traces, moments in seconds. None of it may be kept.
_VARIABLE = re.compile(r"\d{5,}|(?=[A-Za-z_-]*\d)[A-Za-z0-9_-]{16,}", re.ASCII)
_REFUSALS = frozenset({Outcome.REFUSED, Outcome.CONTENT})
_ALPHABETS = (string.digits, string.ascii_lowercase, string.ascii_uppercase)


@dataclass(frozen=True)
class Question:
    """One call with a dead token.

    Args:
        fate: what is known of the token.
        result: of the call; its texts are free of the token.
    """

    fate: TokenFate
    result: SendResult

    @property
    def accepted(self) -> bool:
        """Whether the platform took it for alive."""
        return self.result.outcome is Outcome.SENT

    @property
    def clear(self) -> bool:
        """Whether the platform spoke of the token: refused, and neither for the page nor for the person."""
        error = self.result.error
        if error is None or error.code is None or abs(error.code) >= INTEGER or abs(error.subcode or 0) >= INTEGER:
            return False
        verdict = classify(error, token_rules=())
        return verdict.outcome in _REFUSALS and not verdict.unreachable

    @property
    def told(self) -> str:
        """For people: what came, without what could name anybody."""
        error = self.result.error
        if error is None:
            return "accepted" if self.accepted else self.result.reason or self.result.outcome.value
        return f"{error.key} {_VARIABLE.sub('…', error.message)}".strip()

    @property
    def rule(self) -> TokenRule:
        """How the answer is known again; only of a clear one."""
        error = self._error()
        return TokenRule(error.code or 0, error.subcode, pattern_of(error.message), self.fate)

    def is_known_by(self, rules: Sequence[TokenRule]) -> TokenFate | None:
        """What a client with these rules makes of the answer."""
        return classify(self._error(), token_rules=(*rules, *TOKEN_RULES)).token_fate

    def _error(self) -> PlatformError:
        if self.result.error is None:
            raise ValueError("The question has no clear answer. Look at clear first.")
        return self.result.error


def judge(questions: Sequence[Question]) -> tuple[dict[TokenFate, TokenRule], str]:
    """Rules that tell the answers apart, or none; and a sentence for people.

    The sentence always says what to do. Whether the rules hold is asked of the very function that clients use.

    Args:
        questions: used comes first; whatever follows an unclear answer was not asked.
    """
    by_fate = {question.fate: question for question in questions}
    for question in questions:
        if not question.clear:
            return {}, _unclear(question)
    used, invalid = by_fate[TokenFate.USED], by_fate[TokenFate.INVALID]
    rules = {TokenFate.USED: used.rule, TokenFate.INVALID: invalid.rule}
    expired = by_fate.get(TokenFate.EXPIRED)
    if expired is not None and not _same(expired, invalid):
        rules[TokenFate.EXPIRED] = expired.rule
    for other in (invalid, expired):
        if other is not None and other.is_known_by([used.rule]) is TokenFate.USED:
            return {}, _alike(other)
    kept = list(rules.values())
    if any(by_fate[fate].is_known_by(kept) is not fate for fate in rules):
        return {}, "The error table reads these answers otherwise than as answers about a token. Nothing was kept."
    apart = "used, invalid and expired tokens" if TokenFate.EXPIRED in rules else "used and invalid tokens"
    return rules, f"The platform tells {apart} apart; from now on so does every sender of this page."


def _same(one: Question, other: Question) -> bool:
    return (one.rule.code, one.rule.subcode, one.rule.message) == (
        other.rule.code,
        other.rule.subcode,
        other.rule.message,
    )


def _alike(other: Question) -> str:
    return (
        f"The platform says the same for a used token as for one that is {other.fate.value}: they cannot be told "
        "apart. Nothing was kept; people in doubt are judged as before. Another API version may answer otherwise."
    )


def _unclear(question: Question) -> str:
    if question.accepted and question.fate is TokenFate.USED:
        return (
            "The platform took the same token a second time: on this page a repeat can be seen twice. Nothing was "
            "kept. Do not run otn_retry with scope unknown, and report it to the platform."
        )
    if question.accepted:
        return f"The platform took a token that is {question.fate.value} for a good one. Nothing was kept: report it."
    return (
        f"The platform gave no clear answer about the token that is {question.fate.value} ({question.told}). "
        "Nothing was kept. Run this again later: it asks about the token that was spent, and spends no other."
    )


def pattern_of(message: str) -> str:
    """A pattern for this very text, in which ids and the like may differ.

    Args:
        message: of the platform; tokens are cut out of it already.
    """
    return r"\A" + r"\S*".join(re.escape(part) for part in _VARIABLE.split(message)) + r"\Z"


def garbled(token: str) -> str:
    """A text of the same shape that is no token of anybody: letter by letter another, at random.

    Args:
        token: a real one.
    """
    return "".join(_another(char) for char in token) if token else "x"


def _another(char: str) -> str:
    for alphabet in _ALPHABETS:
        if char in alphabet:
            return secrets.choice(alphabet.replace(char, ""))
    return char
