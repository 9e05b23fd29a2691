"""A campaign shown to the person who decides: what is read, who gets it, what it costs. With an invented person."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from otn.consent.filters import described

if TYPE_CHECKING:
    from otn.campaign.model import Audience
    from otn.database import Engine

REASONS = {
    "suppressed": "asked not to be written to",
    "label_missing": "lack a label",
    "label_excluded": "carry an excluded label",
    "token_spent": "their tokens are spent",
    "token_reserved": "their tokens are planned for another campaign",
    "token_expired": "their tokens have expired",
    "token_silenced": "took their consents back",
    "ref_differs": "opted in to something else (ref)",
    "opt_in_outside": "opted in at another time",
    "locale_differs": "have another locale",
    "attribute_differs": "have other attributes",
    "interaction_outside": "last wrote or tapped at another time",
    "unreachable": "could not be reached the last time",
    "erased": "were erased",
    "over_max_recipients": "over max_recipients",
}
_LINE_END = re.compile(r"[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+")


@dataclass(frozen=True)
class Preview:
    """What a person sees before saying yes.

    Args:
        campaign: its key.
        page: connection id of the page.
        topic: key of the topic.
        message: as an invented person gets it.
        audience: whom it would reach now.
        include_labels: people carry all of them.
        exclude_labels: people carry none of them.
        max_recipients: at most so many.
        send_at: not before.
        filter: the campaign's, see ``CampaignSpec``.
        result_labels: put on people when a run ends, by how it ended for them.
        unanswered: payloads of its buttons that no rule answers.
        title: of the topic's card, to which people said yes; None: nobody wrote it down.
        unspent: tokens of the topic that could still be spent, before this campaign.
    """

    campaign: str
    page: str
    topic: str
    message: dict[str, Any]
    audience: Audience
    include_labels: Sequence[str]
    exclude_labels: Sequence[str]
    max_recipients: int | None
    send_at: datetime | None
    filter: Mapping[str, Any] = field(default_factory=dict)
    result_labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    unanswered: Sequence[str] = ()
    title: str | None = None
    unspent: int = 0

    @classmethod
    def of_campaign(cls, engine: Engine, campaign_id: int) -> Preview:
        """Look at a campaign that was opened; writes nothing."""
        from otn.campaign.audience import count, unspent
        from otn.database import queries, transaction
        from otn.rendering import compile_message

        with transaction(engine) as connection:
            row = queries("campaign").find_campaign(connection, campaign_id=campaign_id)
        return cls(
            campaign=row.key,
            page=row.connection_id,
            topic=row.topic_key,
            message=compile_message(row.message).sample(),
            audience=count(
                engine,
                topic_id=row.topic_id,
                include_labels=row.include_labels,
                exclude_labels=row.exclude_labels,
                max_recipients=row.max_recipients,
                chosen_by=row.filter,
            ),
            include_labels=row.include_labels,
            exclude_labels=row.exclude_labels,
            max_recipients=row.max_recipients,
            send_at=row.send_at,
            filter=row.filter,
            result_labels=row.result_labels,
            unanswered=unanswered_buttons(engine, row.page_id, row.message),
            title=row.topic_title,
            unspent=unspent(engine, row.topic_id),
        )

    def counts(self) -> dict[str, Any]:
        """Figures only, as XCom may carry them."""
        return {
            "audience": self.audience.people,
            "planned": self.audience.recipients,
            "excluded": self.audience.excluded,
            "tokens_spent": self.audience.recipients,
            "tokens_dying": self.audience.dying,
        }

    def markdown(self) -> str:
        """The whole of it for people; nothing an operator wrote can act as Markdown."""
        when = f"send at {self.send_at.isoformat(sep=' ', timespec='minutes')}" if self.send_at else "send at once"
        return "\n".join(
            [
                f"Campaign {code(self.campaign)} · page {code(self.page)} · topic {code(self.topic)} · {when}",
                "",
                "**What people said yes to**",
                "",
                self._title(),
                "",
                "**What an invented person would read**",
                "",
                fence(self._content()),
                "",
                "Whoever says yes confirms that this is about what people said yes to, and about nothing else.",
                "",
                *self._warnings(),
                "**Who gets it**",
                "",
                *self._people(),
                "",
                f"Filter: {self._filter()}.",
                *self._labels(),
                "",
                "**What it costs**",
                "",
                f"{self.audience.recipients:,} tokens are spent for ever.",
                f"{self.audience.dying:,} of them would end within 30 days anyway.",
                f"{max(0, self.unspent - self.audience.recipients):,} of the topic are left unspent.",
            ]
        )

    def _title(self) -> str:
        if not self.title:
            return "An unregistered topic: nobody wrote the title of its card down."
        return f"The card that they tapped said {code(self.title)}."

    def _content(self) -> str:
        text = self.message.get("text")
        if isinstance(text, str) and len(self.message) == 1:
            return text
        return json.dumps(self.message, indent=2, ensure_ascii=False)

    def _warnings(self) -> list[str]:
        if not self.unanswered:
            return []
        names = ", ".join(map(code, self.unanswered))
        return [f"**No rule answers its buttons** with the payload {names}: a tap on them leads to silence.", ""]

    def _people(self) -> list[str]:
        rows = [("get it", self.audience.recipients)]
        rows += [(REASONS.get(reason, reason), people) for reason, people in self.audience.excluded.items()]
        rows += [("everyone who ever held a token of the topic", self.audience.people)]
        return ["| people | |", "| --- | ---: |", *(f"| {what} | {people:,} |" for what, people in rows)]

    def _filter(self) -> str:
        parts = [f"with {code(label)}" for label in self.include_labels]
        parts += [f"without {code(label)}" for label in self.exclude_labels]
        parts += described(self.filter, code)
        if self.max_recipients is not None:
            parts.append(f"{self.max_recipients:,} people at most, the soonest to expire first")
        return ", ".join(parts) or "none"

    def _labels(self) -> list[str]:
        if not self.result_labels:
            return []
        each = (f"{result}: {', '.join(map(code, labels))}" for result, labels in self.result_labels.items())
        return ["", f"Labels when it ends: {'; '.join(each)}."]


def unanswered_buttons(engine: Engine, page_row_id: int, message: Mapping[str, Any]) -> list[str]:
    """Payloads of a message's buttons and quick replies that no rule of the page answers."""
    from otn.consent import rules
    from otn.database import transaction

    with transaction(engine) as connection:
        return rules.load(connection).unanswered(page_row_id, message)


def code(text: str) -> str:
    """Text as Markdown code, whatever it holds; on one line, as an empty one would end the code."""
    text = one_line(text)
    ticks = "`" * (_longest_run(text, "`") + 1)
    pad = " " if "`" in text else ""
    return f"{ticks}{pad}{text}{pad}{ticks}"


def one_line(text: str) -> str:
    """Text with a sign where its lines end."""
    return _LINE_END.sub("\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}", text)


def fence(text: str) -> str:
    """A block of Markdown code, whatever it holds."""
    ticks = "`" * max(3, _longest_run(text, "`") + 1)
    return f"{ticks}text\n{text}\n{ticks}"


def _longest_run(text: str, character: str) -> int:
    return max((len(run) for run in re.findall(f"{re.escape(character)}+", text)), default=0)
