"""The checker: what people saw, held against what our rows say, person by person and campaign by campaign.

In the manner of Jepsen's total-queue checker: nothing that was put in may come out twice, be lost, or come out unasked.
What people saw and which calls were made comes from the sandbox's ledger, which imports nothing of the product.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

SLACK_S = 0.002  # the sandbox counts in whole milliseconds
STATED = frozenset({"answer", "echo"})
NOT_CALLED = frozenset({"refused", "skipped", "cancelled"})


class Kind(StrEnum):
    """What must never be."""

    SEEN_TWICE = "seen twice"
    LOST = "neither sent nor accounted for"
    ROW_TWICE = "two rows of one person"
    STATED_NOT_SEEN = "stated sent, not seen"
    INFERRED_NOT_SEEN = "inferred sent, not seen"
    REFUSED_BUT_SEEN = "stated refused, seen"
    SEEN_WITHOUT_ROW = "seen by somebody who was not planned"
    ACCEPTED_NOT_SENT = "an acceptance came back, the row is not sent"
    CALL_WITHOUT_INTENT = "a call without a committed intent"
    SETTLED_CALLED = "a call on a settled token"


@dataclass(frozen=True)
class Violation:
    """One broken promise.

    Args:
        kind: which.
        campaign: key.
        person: PSID of the sandbox.
        detail: what was found.
    """

    kind: Kind
    campaign: str
    person: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.person} in {self.campaign} {self.detail}".rstrip()


@dataclass(frozen=True)
class Message:
    """One message that a person saw, as the sandbox has it."""

    person: str
    campaign: str
    message_id: str


@dataclass(frozen=True)
class Call:
    """One call that named a token, as the sandbox has it; ``at`` in seconds of Unix time."""

    token: str
    person: str
    attempt_id: str
    at: float


@dataclass(frozen=True)
class Row:
    """One recipient, as our database has it."""

    campaign: str
    person: str
    state: str
    evidence: str | None = None
    message_id: str | None = None
    reason: str | None = None
    sent_at: float | None = None


@dataclass(frozen=True)
class Attempt:
    """One line of the attempt log; ``at`` in seconds of Unix time."""

    campaign: str
    person: str
    attempt_id: str
    step: str
    outcome: str | None
    message_id: str | None
    at: float
    sender: str


@dataclass
class History:
    """Everything that is known when the dust has settled.

    Args:
        people: who was opted in.
        campaigns: keys that were triggered.
        seen: the ledger.
        calls: the journal, oldest first.
        rows: recipients.
        excluded: person and campaign of everybody left out with a reason.
        attempts: the log.
        held: senders that were stopped for longer than their lease between the last look at it and the call, where
            nothing but the platform can hold them back.
    """

    people: Collection[str]
    campaigns: Collection[str]
    seen: list[Message] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    excluded: Collection[tuple[str, str]] = ()
    attempts: list[Attempt] = field(default_factory=list)
    held: Collection[str] = ()


@dataclass
class Findings:
    """What the checker says.

    Args:
        violations: empty, or the promise is broken.
        figures: people in campaigns, by what became of them.
        undecidable: rows that stay unknown, by reason.
        woken_calls: calls on settled tokens by senders that were held; the platform refused them.
    """

    violations: list[Violation] = field(default_factory=list)
    figures: Counter[str] = field(default_factory=Counter)
    undecidable: Counter[str] = field(default_factory=Counter)
    woken_calls: int = 0


def check(history: History) -> Findings:
    """Hold everything against everything else."""
    found = Findings()
    rows: dict[tuple[str, str], list[Row]] = {}
    for row in history.rows:
        rows.setdefault((row.campaign, row.person), []).append(row)
    seen = Counter((message.campaign, message.person) for message in history.seen)
    found.violations += _twice(seen, rows)
    found.violations += _lost(history, rows)
    messages = {(one.message_id, one.person, one.campaign) for one in history.seen}
    for row in history.rows:
        found.violations += _judge(row, messages, seen)
    found.violations += _accepted(history, rows)
    found.violations += _unintended(history)
    _settled_called(history, rows, found)
    _count(history, seen, found)
    return found


def _twice(seen: Mapping[tuple[str, str], int], rows: Mapping[tuple[str, str], list[Row]]) -> Iterable[Violation]:
    for (campaign, person), times in seen.items():
        if times > 1:
            yield Violation(Kind.SEEN_TWICE, campaign, person, f"{times} times")
        if (campaign, person) not in rows:
            yield Violation(Kind.SEEN_WITHOUT_ROW, campaign, person)
    for (campaign, person), several in rows.items():
        if len(several) > 1:
            yield Violation(Kind.ROW_TWICE, campaign, person, f"{len(several)} rows")


def _lost(history: History, rows: Mapping[tuple[str, str], list[Row]]) -> Iterable[Violation]:
    for campaign in history.campaigns:
        for person in history.people:
            if (campaign, person) not in rows and (campaign, person) not in history.excluded:
                yield Violation(Kind.LOST, campaign, person, "neither a row nor a reason")
    for row in history.rows:
        if row.state in {"waiting", "sending"}:
            yield Violation(Kind.LOST, row.campaign, row.person, f"still {row.state}")
        if row.state == "unknown" and not row.reason:
            yield Violation(Kind.LOST, row.campaign, row.person, "unknown without a reason")


def _judge(
    row: Row, messages: Collection[tuple[str | None, str, str]], seen: Mapping[tuple[str, str], int]
) -> Iterable[Violation]:
    was_seen = bool(seen.get((row.campaign, row.person)))
    if row.state in NOT_CALLED and was_seen:
        yield Violation(Kind.REFUSED_BUT_SEEN, row.campaign, row.person, row.state)
    if row.state != "sent":
        return
    if row.evidence not in STATED:
        if not was_seen:
            yield Violation(Kind.INFERRED_NOT_SEEN, row.campaign, row.person)
    elif not was_seen:
        yield Violation(Kind.STATED_NOT_SEEN, row.campaign, row.person)
    elif (row.message_id, row.person, row.campaign) not in messages:
        yield Violation(Kind.STATED_NOT_SEEN, row.campaign, row.person, "another message than the one stated")


def _accepted(history: History, rows: Mapping[tuple[str, str], list[Row]]) -> Iterable[Violation]:
    """A late acceptance always moves a row to sent, whatever stood there (design, Sending once)."""
    for attempt in history.attempts:
        if attempt.outcome == "sent":
            for row in rows.get((attempt.campaign, attempt.person), ()):
                if row.state != "sent" or row.evidence not in STATED:
                    detail = f"{row.state}, {row.evidence or 'no evidence'}"
                    yield Violation(Kind.ACCEPTED_NOT_SENT, row.campaign, row.person, detail)


def _unintended(history: History) -> Iterable[Violation]:
    intended = {attempt.attempt_id for attempt in history.attempts if attempt.step == "intent"}
    for call in history.calls:
        if call.attempt_id not in intended:
            yield Violation(Kind.CALL_WITHOUT_INTENT, "?", call.person, call.attempt_id)


def _settled_called(history: History, rows: Mapping[tuple[str, str], list[Row]], found: Findings) -> None:
    intents = {attempt.attempt_id: attempt for attempt in history.attempts if attempt.step == "intent"}
    settled = _settled(history, rows)
    for call in history.calls:
        intent = intents.get(call.attempt_id)
        if intent is None or call.at <= settled.get(call.token, float("inf")) + SLACK_S:
            continue
        if intent.sender in history.held:
            found.woken_calls += 1
        else:
            detail = f"{call.at - settled[call.token]:.2f} s after it was"
            found.violations.append(Violation(Kind.SETTLED_CALLED, intent.campaign, call.person, detail))


def _settled(history: History, rows: Mapping[tuple[str, str], list[Row]]) -> dict[str, float]:
    """When each token was settled: an acceptance was recorded, or its row inferred as sent."""
    tokens = {call.attempt_id: call.token for call in history.calls}
    settled: dict[str, float] = {}
    for attempt in history.attempts:
        token = tokens.get(attempt.attempt_id)
        if token is None:
            continue
        if attempt.outcome == "sent":
            settled[token] = min(attempt.at, settled.get(token, attempt.at))
        for row in rows.get((attempt.campaign, attempt.person), ()):
            if row.state == "sent" and row.evidence not in STATED and row.sent_at is not None:
                settled[token] = min(row.sent_at, settled.get(token, row.sent_at))
    return settled


def _count(history: History, seen: Mapping[tuple[str, str], int], found: Findings) -> None:
    figures = found.figures
    figures["planned"] = len(history.rows)
    figures["excluded"] = len(history.excluded)
    figures["visible"] = sum(seen.values())
    figures["calls"] = len(history.calls)
    for row in history.rows:
        stated = row.state == "sent" and row.evidence in STATED
        figures["sent, stated" if stated else "sent, inferred" if row.state == "sent" else row.state] += 1
        if row.state == "unknown":
            found.undecidable[row.reason or "?"] += 1
