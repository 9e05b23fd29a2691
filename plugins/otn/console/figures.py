"""What became of a campaign's people, as its page and the list of campaigns show it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from otn.campaign.model import CampaignState
from otn.campaign.report import ENDED, problems
from otn.campaign.state import CampaignUnknownError
from otn.console.counting import RARELY, Kept
from otn.database import Engine, queries, transaction
from otn.pace import read_quota, waits_for_quota

LATELY_S = 60
RARELY_AFTER_THE_END = 200  # only what the platform reports afterwards changes
REACTED_WITHIN = timedelta(days=7)
BINS = (10, 60, 300, 900, 3_600, 6 * 3_600, 86_400)  # seconds
MOST_BINS = 90
LISTED = ("planned", "sent", "refused", "unknown")


@dataclass(frozen=True)
class Refusal:
    """People whom the platform refused alike.

    Args:
        code: ``error.code``.
        subcode: ``error.error_subcode``.
        token_dead: it turned down the consent.
        people: how many.
    """

    code: int | None
    subcode: int | None
    token_dead: bool
    people: int


@dataclass(frozen=True)
class Figures:
    """Everybody of a campaign at one moment, from one walk over its recipients.

    Args:
        report: as ``otn.campaign.report.report`` names them, without those who were left out.
        lately: people who were settled within the last minute.
        lately_s: seconds that ``lately`` is about: less than a minute at the start.
        refusals: by code, the most frequent first.
        retry_worth: of the refused, how many a later try may cure.
        sends: when the messages went out: start of a span and how many.
        sends_s: seconds of such a span.
    """

    report: dict[str, Any]
    lately: int
    lately_s: float
    refusals: list[Refusal]
    retry_worth: int
    sends: list[tuple[datetime, int]]
    sends_s: int

    @property
    def state(self) -> str:
        """Of the campaign at that moment."""
        return str(self.report["state"])

    @property
    def skipped(self) -> int:
        """Planned and not called."""
        return sum(self.report["skipped"].values())

    @property
    def left(self) -> int:
        """People who wait or are in a call."""
        return int(self.report["waiting"] + self.report["sending"])

    @property
    def done(self) -> int:
        """People with whom the campaign is through."""
        return int(self.report["planned"]) - self.left

    @property
    def per_second(self) -> float:
        """Pace of the last minute."""
        return self.lately / self.lately_s

    @property
    def left_s(self) -> float | None:
        """Seconds to go at the pace of the last minute; None: nobody was reached in it, or nobody sends."""
        if self.state != CampaignState.SENDING or not self.lately or not self.left:
            return None
        return self.left / self.per_second

    @property
    def problems(self) -> list[str]:
        """Why a person must act."""
        return problems(self.report)


@dataclass(frozen=True)
class Aftermath:
    """What people did afterwards, and what a retry would find: more to look through, so counted by itself.

    Args:
        reacted: wrote, tapped a button or reacted within seven days after their message went out.
        opted_out: said stop, or had somebody note it, within seven days.
        retryable: refused people whom ``otn_retry`` would take up now.
        left_out: reason to people, at planning.
    """

    reacted: int
    opted_out: int
    retryable: int
    left_out: dict[str, int]


def find_row(engine: Engine, campaign_id: int) -> Any:
    """The campaign's row with page and topic.

    Raises:
        CampaignUnknownError: there is none.
    """
    with transaction(engine) as connection:
        row = queries("campaign").find_campaign(connection, campaign_id=campaign_id)
    if row is None:
        raise CampaignUnknownError(f"There is no campaign number {campaign_id}. Look it up in the list of campaigns.")
    return row


def count(engine: Engine, campaign_id: int) -> Figures:
    """Walk over the campaign's recipients once."""
    with transaction(engine) as connection:
        connection.cursor().execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        row = queries("campaign").find_campaign(connection, campaign_id=campaign_id)
        span = _span(row)
        groups = list(
            queries("console").recipient_groups(connection, campaign_id=campaign_id, span_s=span, lately_s=LATELY_S)
        )
        elsewhere = queries("report").spent_elsewhere(connection, campaign_id=campaign_id)
        quota = waits_for_quota(read_quota(connection, row.page_id))
    states = _sum(groups, "state")
    report = {
        "campaign": row.key,
        "state": row.state,
        "planned": sum(states.values()),
        **{state: states[state] for state in ("waiting", "sending", "sent", "refused", "unknown", "cancelled")},
        "sent_inferred": sum(one.people for one in groups if one.evidence == "token_used_inferred"),
        "skipped": dict(_sum([one for one in groups if one.state == "skipped"], "reason")),
        "unknown_reasons": dict(_sum([one for one in groups if one.state == "unknown"], "reason")),
        "delivered": sum(one.delivered for one in groups),
        "read": sum(one.read for one in groups),
        "spent_elsewhere": elsewhere,
        "waits_for": quota if row.state == CampaignState.SENDING and states["waiting"] else None,
        "halt_reason": row.halt_reason or (row.page_halt_reason if row.state not in ENDED else None),
        "max_refused": float(row.max_refused),
    }
    since_start = (row.now - row.started_at).total_seconds() if row.started_at else LATELY_S
    return Figures(
        report=report,
        lately=sum(one.lately for one in groups),
        lately_s=min(LATELY_S, max(since_start, 1.0)),
        refusals=_refusals(groups),
        retry_worth=sum(one.people for one in groups if one.state == "refused" and one.retry_worth),
        sends=_sends(groups, span),
        sends_s=span,
    )


def look_after(engine: Engine, campaign_id: int) -> Aftermath:
    """Count what came after the messages."""
    with transaction(engine) as connection:
        within = {"campaign_id": campaign_id, "days": REACTED_WITHIN.days}
        return Aftermath(
            reacted=queries("console").reacted(connection, **within),
            opted_out=queries("console").opted_out(connection, **within),
            retryable=queries("console").retryable(connection, campaign_id=campaign_id),
            left_out={
                row.reason: row.people for row in queries("report").excluded(connection, campaign_id=campaign_id)
            },
        )


def _how_rarely(figures: Figures) -> float:
    return RARELY_AFTER_THE_END if figures.state in ENDED else RARELY


FIGURES = Kept(count, _how_rarely)
AFTERMATH = Kept(look_after, lambda _: RARELY_AFTER_THE_END)


def with_figures(engine: Engine, campaigns: Sequence[Any]) -> list[dict[str, Any]]:
    """Rows of campaigns with the figures of a list; None before a campaign starts, and while it is counted."""
    known = FIGURES.get_all(engine, [row.id for row in campaigns if row.started_at])
    reports = {number: one.figures.report for number, one in known.items()}
    return [row._asdict() | {name: reports.get(row.id, {}).get(name) for name in LISTED} for row in campaigns]


def forget(engine: Engine, campaign_id: int) -> None:
    """Count anew at the next look: somebody decided something."""
    FIGURES.forget(engine, campaign_id)
    AFTERMATH.forget(engine, campaign_id)


def _sum(groups: Sequence[Any], name: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for one in groups:
        found[getattr(one, name)] += one.people
    return found


def _refusals(groups: Sequence[Any]) -> list[Refusal]:
    found: Counter[tuple[int | None, int | None, bool]] = Counter()
    for one in groups:
        if one.state == "refused":
            found[one.error_code, one.error_subcode, one.token_dead] += one.people
    return [Refusal(*kind, people) for kind, people in found.most_common()]


def _span(row: Any) -> int:
    """Width of a bar that makes some dozens of them, from start to end or to now."""
    if row.started_at is None:
        return BINS[0]
    whole = ((row.finished_at or row.now) - row.started_at).total_seconds()
    return next((one for one in BINS if whole / one <= MOST_BINS), BINS[-1])


def _sends(groups: Sequence[Any], span_s: int) -> list[tuple[datetime, int]]:
    """With the spans in which nobody was sent anything, or a pause would not be seen."""
    found: Counter[datetime] = Counter()
    for one in groups:
        if one.sent_span is not None:
            found[one.sent_span] += one.people
    if not found:
        return []
    first, last, step = min(found), max(found), timedelta(seconds=span_s)
    if (last - first) / step > 4 * MOST_BINS:  # echoes of long ago, or a retry after months
        return sorted(found.items())
    return [(first + step * place, found[first + step * place]) for place in range(round((last - first) / step) + 1)]
