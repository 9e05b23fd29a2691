"""What the platform says of a one-time token that is no good; undocumented, hence settings."""

from __future__ import annotations

import dataclasses
from typing import Any

from sandbox.model import Page, Token
from sandbox.refusal import GraphRefusal

ANSWERS: dict[str, dict[str, Any]] = {
    "used": {"code": 100, "message": "(#100) one_time_notif_token has already been used"},
    "expired": {"code": 100, "message": "(#100) one_time_notif_token has expired"},
    "invalid": {"code": 100, "message": "(#100) one_time_notif_token is invalid"},
    "foreign": {"code": 100, "message": "(#100) one_time_notif_token is invalid"},
}


@dataclasses.dataclass(slots=True)
class TokenAnswers:
    """The answers to used, expired, invalid and foreign tokens.

    Args:
        alike: answer all of them as `invalid`.
        answers: situation to code, message, subcode, status.
    """

    alike: bool = False
    answers: dict[str, dict[str, Any]] = dataclasses.field(default_factory=lambda: dict(ANSWERS))

    def change(self, *, alike: bool | None = None, **answers: dict[str, Any]) -> None:
        """Change some of the answers.

        Raises:
            ValueError: A situation is unknown.
        """
        for situation in answers:
            if situation not in ANSWERS:
                raise ValueError(f"unknown situation {situation!r}; take one of {', '.join(ANSWERS)}, alike")
        self.alike = self.alike if alike is None else alike
        for situation, answer in answers.items():
            self.answers[situation] = {**self.answers[situation], **answer}
            self.refusal(situation)

    def check(self, token: Token | None, page: Page, at: int) -> Token:
        """Return the token if it may be spent by this page at `at` (ms).

        Raises:
            GraphRefusal: It may not.
        """
        if token is None:
            raise self.refusal("invalid")
        if token.page_id != page.page_id:
            raise self.refusal("foreign")
        if token.mid is not None:
            raise self.refusal("used")
        if at >= token.expires_at:
            raise self.refusal("expired")
        return token

    def refusal(self, situation: str) -> GraphRefusal:
        """Return the refusal of a situation."""
        return GraphRefusal(**self.answers["invalid" if self.alike else situation])
