"""The page's pace: one virtual schedule in Postgres, shared by every worker; and the calls of a day."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from otn.database import DatabaseError, Engine, PsycopgConnection, queries, transaction
from otn.settings import DEFAULT_ANSWERS_SHARE, PageSettings

log = logging.getLogger(__name__)

GRAPH_BATCH_LIMIT = 50  # Meta docs, Graph API batch requests
QUOTA_FOR_ANSWERS = 0.1  # of the day's calls
UNHURRIED = 0.95  # of the kept part is used: where both parts fill a second to the brim, a late call must find room
PATIENCE_S = 1.0  # so much sooner must the kept part be, or an answer queues with everybody
RECKONED_S = 1_800.0  # a quota older than this is reckoned anew: counting people takes a second per million


@dataclass(frozen=True)
class Permit:
    """A place in the schedule.

    Args:
        start: moment (``time.monotonic``) from which it holds.
        messages: for so many; never more than were asked for.
    """

    start: float
    messages: int


@dataclass(frozen=True)
class Outlook:
    """How things stand before permits are taken.

    Args:
        ahead_s: seconds until they could start: taken by others, a silence that the platform wants, a quota used up.
        room: calls that the quota has room for; None: no quota.
    """

    ahead_s: float
    room: int | None

    def at_most(self, messages: int) -> int:
        """So many of these messages may be called for; one where the quota is used up and nobody waited for it."""
        return messages if self.room is None else max(1, min(messages, self.room))


@dataclass(frozen=True)
class Quota:
    """What a page has used of the calls that the platform allows it in 24 hours.

    Args:
        allowed: calls.
        used: calls of ours in the last 24 hours.
        free_at: when campaigns may go on; None: they may.
    """

    allowed: int
    used: int
    free_at: datetime | None

    @property
    def share(self) -> float:
        """Used, as a part of 1."""
        return self.used / self.allowed


@dataclass(frozen=True)
class Pace:
    """Permits of one page.

    Campaigns, asks and look-ups share the rate but for a part. Answers take their place among them, or start at once on
    the part that is kept for them, where a broadcast is at work. In any window of one second both together stay within
    the rate and one call.

    Args:
        engine: the project's database.
        page_row_id: ``otn.page.id``.
        messages_per_second: None: no pace; only a hold-back that the platform asked for is kept.
        media_per_second: of messages with audio or video; None: like any other.
        calls_per_person: of the quota of 24 hours; None: no quota is kept.
        is_answer: permits are for what people wait for.
        kept_share: part of the rate that is kept for answers; 0: they wait behind a broadcast.
    """

    engine: Engine
    page_row_id: int
    messages_per_second: float | None
    media_per_second: float | None = None
    calls_per_person: float | None = None
    is_answer: bool = False
    kept_share: float = DEFAULT_ANSWERS_SHARE

    @classmethod
    def of(cls, engine: Engine, page_row_id: int, settings: PageSettings, *, media: bool = False) -> Pace:
        """The pace that a page's connection asks for.

        Args:
            engine: the project's database.
            page_row_id: ``otn.page.id``.
            settings: of the page.
            media: for messages with audio or video alone: each weighs as much as its slower rate says.
        """
        rate, slower = settings.messages_per_second, settings.media_per_second
        if media and rate is not None and slower is not None:
            rate = min(rate, slower)
        return cls(engine, page_row_id, rate, slower, settings.calls_per_person, kept_share=settings.answers_share)

    @property
    def shared_rate(self) -> float | None:
        """Messages a second that a sender may count on while nobody else sends."""
        return None if self.messages_per_second is None else self.messages_per_second * (1 - self.kept_share)

    def take(self, messages: int) -> Permit:
        """Reserve the next permits. Those that find nobody to call are given back (``give_back``)."""
        with transaction(self.engine) as connection:
            queries("pace").add_page(connection, page_id=self.page_row_id)
            if self.messages_per_second is None or self.shared_rate is None:
                row = queries("pace").take_unpaced(connection, page_id=self.page_row_id, messages=messages)
            else:
                row = queries("pace").take(
                    connection,
                    page_id=self.page_row_id,
                    messages=messages,
                    may_use_kept=self._may_use_kept,
                    patience_s=PATIENCE_S,
                    common_s=1 / self.shared_rate,
                    kept_s=self._kept_s(),
                    kept_most=self._kept_most(),
                )
            return Permit(time.monotonic() + float(row.starts_in_s), int(row.messages))

    def weigh_media(self, messages: int) -> None:
        """Book what messages with audio or video weigh beyond what was taken for them: whoever comes next waits for it.

        For senders that learn only from the claim what they send; a campaign knows it before (``of``). A database that
        cannot book it is logged: whoever was claimed must be called, or given back.
        """
        rate, slower = self.messages_per_second, self.media_per_second
        if not messages or rate is None or slower is None or slower >= rate:
            return
        seconds = messages * (1 / slower - 1 / rate)
        _book(self.engine, queries("pace").lengthen, page_id=self.page_row_id, seconds=seconds)

    def give_back(self, messages: int) -> None:
        """Permits that found nobody to call do not count as calls; their time in the schedule is gone.

        A database that cannot book it is logged: then too many are counted, and whoever was claimed is called.
        """
        if messages > 0:
            _book(self.engine, queries("pace").give_back, page_id=self.page_row_id, messages=messages)

    def ahead_s(self) -> float:
        """Seconds until permits could start."""
        return self.outlook().ahead_s

    def outlook(self) -> Outlook:
        """How soon permits could start, and how many there are: looked at before any are taken."""
        row = self._peek()
        if self.calls_per_person is not None and (row is None or row.old):
            self._reckon()
            row = self._peek()
        elif self.calls_per_person is None and row is not None and row.room is not None:
            with transaction(self.engine) as connection:
                queries("pace").drop_quota(connection, page_id=self.page_row_id)
            row = self._peek()
        if row is None:
            return Outlook(0.0, None)
        ahead_s = max(float(row.answers_s if self._may_use_kept else row.common_s), float(row.quota_s or 0.0))
        return Outlook(ahead_s, row.room)

    def hold_back(self, seconds: float) -> None:
        """Let nobody start for so long: the platform throttles, and calls made meanwhile lengthen the block."""
        with transaction(self.engine) as connection:
            queries("pace").add_page(connection, page_id=self.page_row_id)
            queries("pace").hold_back(connection, page_id=self.page_row_id, seconds=seconds)

    def batch_size(self, most: int | None = None) -> int:
        """Messages in one Graph call: a tenth of a second's permits at most, so that calls spread evenly."""
        largest = min(most or GRAPH_BATCH_LIMIT, GRAPH_BATCH_LIMIT)
        if self.shared_rate is None:
            return largest
        return max(1, min(largest, int(self.shared_rate / 10)))

    @property
    def _may_use_kept(self) -> bool:
        return self.is_answer and self.kept_share > 0

    def _kept_s(self) -> float:
        """Seconds a message on the kept part; of none, nobody asks."""
        rate = (self.messages_per_second or 0.0) * self.kept_share * UNHURRIED
        return 1 / rate if rate else 0.0

    def _kept_most(self) -> int:
        """Messages of one call on the kept part: as for the shared one, a tenth of its second."""
        return max(1, int((self.messages_per_second or 0.0) * self.kept_share / 10))

    def _peek(self) -> Any:
        share = 1.0 if self.is_answer else 1 - QUOTA_FOR_ANSWERS
        with transaction(self.engine) as connection:
            return queries("pace").peek(connection, page_id=self.page_row_id, share=share, age_s=RECKONED_S)

    def _reckon(self) -> None:
        """Reckon the quota anew; in a transaction of its own, as counting people takes a while."""
        with transaction(self.engine) as connection:
            queries("pace").add_page(connection, page_id=self.page_row_id)
            mine = queries("pace").claim_reckoning(connection, page_id=self.page_row_id, age_s=RECKONED_S)
        if mine:
            with transaction(self.engine) as connection:
                queries("pace").reckon_quota(
                    connection, page_id=self.page_row_id, calls_per_person=self.calls_per_person
                )


def _book(engine: Engine, query: Callable[..., object], **values: Any) -> None:
    """A statement that may fail: its sender holds a claim, and goes on."""
    try:
        with transaction(engine) as connection:
            query(connection, **values)
    except DatabaseError as error:
        log.warning("the page's pace could not be booked (%s)", error.sqlstate)


def read_quota(connection: PsycopgConnection, page_row_id: int) -> Quota | None:
    """What a page has used of its day's calls; None: no quota is kept for it.

    Args:
        connection: in a transaction.
        page_row_id: ``otn.page.id``.
    """
    row = queries("pace").quota(connection, page_id=page_row_id, share=1 - QUOTA_FOR_ANSWERS)
    if row is None or row.quota is None:
        return None
    return Quota(row.quota, row.used, row.free_at)


def waits_for_quota(quota: Quota | None) -> str | None:
    """Why campaigns of the page wait, for people; None: they do not."""
    if quota is None or quota.free_at is None:
        return None
    return (
        f"The page has used {quota.used:,} of the {quota.allowed:,} calls that the platform allows it in 24 hours;"
        f" what is left is kept for answers. Sending goes on by itself at about {quota.free_at:%Y-%m-%d %H:%M} UTC."
    )
