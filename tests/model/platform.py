"""What the platform did, in Python: which token is spent, which call a person saw. The judge of what the rows say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from otn.campaign import answers
from otn.campaign.answers import Answer

# How the platform takes a call that finds a living token. Each answer is honest but the last: it says no, and shows it.
MOODS = ("shown", "blocked", "content", "throttled", "barred", "shown_and_refused")


@dataclass(eq=False)
class Token:
    """One consent, as the platform has it: good for one message.

    Args:
        text: what our side sends.
        person: index of its person.
        given_at: our place in the order of things, for stop words.
    """

    text: str
    person: int
    given_at: int
    spent: bool = False
    expired: bool = False
    spent_by: Call | None = None  # None beside spent: another system of the same page


@dataclass(eq=False)
class Call:
    """One attempt: claimed by us, perhaps arrived, perhaps answered.

    Args:
        campaign: ``otn.campaign.id``.
        subscriber: ``otn.subscriber.id``.
        attempt_id: its metadata.
        token: what it spends.
    """

    campaign: int
    subscriber: int
    attempt_id: str
    token: Token
    fate: str | None = None  # what the platform made of it; None: it has not arrived
    dead: bool = False  # it can arrive no more
    recorded: str | None = None  # outcome that was written; None: nothing was
    echoed: bool = False
    mids: list[str] = field(default_factory=list)

    @property
    def shown(self) -> bool:
        """Whether the person sees its message."""
        return self.fate in {"shown", "shown_and_refused"}

    @property
    def lies(self) -> bool:
        """The platform said no although it showed the message, and no echo has told yet."""
        return self.fate == "shown_and_refused" and not self.echoed

    @property
    def mid(self) -> str:
        """The platform's id of the message."""
        return f"m_{self.attempt_id}"

    @property
    def in_doubt(self) -> bool:
        """Whether nobody on our side can know its end."""
        return self.recorded in {None, "unknown"} and not self.echoed

    def arrive(self, mood: str) -> None:
        """The call reaches the platform; a token is good for one message."""
        if self.token.spent:
            self.fate = "used"
        elif self.token.expired:
            self.fate = "expired"
        else:
            self.fate = mood
            if self.shown:
                self.token.spent, self.token.spent_by = True, self

    def answer(self) -> Answer:
        """What the platform says to it; of one that never left: that it was not made."""
        if self.fate is None:
            return answers.not_called(self.subscriber, self.attempt_id, "not_called")
        outcome, facts = _ANSWERS[self.fate]
        if outcome == "sent":
            facts = {"message_id": self.mid}
        return Answer(self.subscriber, self.attempt_id, outcome, **facts)

    def silence(self) -> Answer:
        """What a sender writes when no answer came."""
        return Answer(self.subscriber, self.attempt_id, "unknown", reason="timeout")


_ANSWERS: dict[str, tuple[str, dict[str, Any]]] = {
    "shown": ("sent", {}),
    "used": ("refused", {"error_code": 100, "token_refused": True, "token_used": True}),
    "expired": ("refused", {"error_code": 100, "token_refused": True}),  # as after a calibration
    "blocked": ("refused", {"error_code": 551, "unreachable": True, "retry_worth": True}),
    "content": ("refused", {"error_code": 100, "error_subcode": 2018109}),
    "throttled": ("returned", {"reason": "throttled", "error_code": 613, "wait_s": 60.0}),
    "barred": ("returned", {"reason": "page_halted", "error_code": 368}),
    "shown_and_refused": ("refused", {"error_code": 100, "error_subcode": 2018109, "retry_worth": True}),
}
