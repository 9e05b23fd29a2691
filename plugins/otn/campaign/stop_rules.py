"""Stop rules: when a campaign halts before more consents are burnt."""

from __future__ import annotations

from dataclasses import dataclass

RECENT_ANSWERS = 200  # so many answers are looked at; fewer say too little
EQUAL_CONTENT_ERRORS = 10
UNKNOWN_SHARE = 0.5

SENT, REFUSED, UNKNOWN = "s", "r", "u"


@dataclass
class Window:
    """What the stop rules look at; the same figures stand in ``otn.campaign``.

    Args:
        max_refused: share of refusals above which the campaign halts.
        answered: answers since a person last resumed.
        refused: refusals among them.
        recent: letters of the last 200 answers, newest last.
        content_run: equal content errors in a row.
        content_error: which, as ``code/subcode``.
    """

    max_refused: float
    answered: int = 0
    refused: int = 0
    recent: str = ""
    content_run: int = 0
    content_error: str | None = None

    def add(self, letter: str, content_error: str | None = None) -> None:
        """Count one answer."""
        self.answered += 1
        self.refused += letter == REFUSED
        self.recent = (self.recent + letter)[-RECENT_ANSWERS:]
        if letter != SENT and content_error is None:
            return  # a blocked person, or no answer, says nothing about the content: the run neither grows nor ends
        same = content_error is not None and content_error == self.content_error
        self.content_run = self.content_run + 1 if same else int(content_error is not None)
        self.content_error = content_error

    def reason(self) -> str | None:
        """Why to halt; None: go on."""
        if self.content_run >= EQUAL_CONTENT_ERRORS:
            return (
                f"Messenger refused the message itself {self.content_run} times in a row ({self.content_error}). "
                "Correct the message and send it under a new key."
            )
        if self.answered >= RECENT_ANSWERS and self.refused > self.max_refused * self.answered:
            return (
                f"{self.refused} of {self.answered} people were refused, "
                f"more than max_refused ({self.max_refused:g}) allows. "
                "Look at the errors in the report, then trigger the campaign again to go on."
            )
        unknown = self.recent.count(UNKNOWN)
        if len(self.recent) == RECENT_ANSWERS and unknown > UNKNOWN_SHARE * RECENT_ANSWERS:
            return (
                f"{unknown} of the last {RECENT_ANSWERS} calls came back without a clear answer. "
                "See whether the platform is well, then trigger the campaign again to go on."
            )
        return None
