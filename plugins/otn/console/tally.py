"""What became of every opt-in, topic by topic: counted in one walk over the consents, and not again at each look."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from otn.consent.topics import EXPIRING_DAYS
from otn.console.counting import Kept
from otn.database import Engine, queries, transaction
from otn.errors import OtnError

FIRST_S = 60.0
ALL = 0  # there is one count, of all topics


class UncountedError(OtnError):
    """The opt-ins are being counted, and that takes long. Look again in a minute."""


@dataclass
class TopicTally:
    """A topic's figures: ``opt_ins`` = unspent + reserved + spent + expired.

    Args:
        asked: cards that reached people.
        tapped: of those, with *Notify Me* tapped.
        unspent: may be sent to.
        dying: of the unspent, those that end within 30 days.
        reserved: planned, or with an unconfirmed end.
        spent: sent, or refused as used.
        expired: ended, or wiped, before they were spent.
        months: month as ``2026-11`` to the unspent that end in it.
    """

    asked: int = 0
    tapped: int = 0
    unspent: int = 0
    dying: int = 0
    reserved: int = 0
    spent: int = 0
    expired: int = 0
    months: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    @property
    def opt_ins(self) -> int:
        """Consents ever given."""
        return self.unspent + self.reserved + self.spent + self.expired


@dataclass(frozen=True)
class Tally:
    """The figures of all topics at one moment.

    Args:
        at: when they were counted.
        months: the present month and the twelve after it, as ``2026-11``.
        topics: ``otn.topic.id`` to its figures; a topic without any is not in it.
    """

    at: datetime
    months: list[str]
    topics: Mapping[int, TopicTally]

    def of(self, topic_id: int) -> TopicTally:
        """One topic's figures."""
        return self.topics.get(topic_id) or TopicTally()


def tally(engine: Engine) -> Tally:
    """The latest count; the first one is waited for.

    Raises:
        UncountedError: it takes too long.
    """
    known = _TALLIES.get(engine, ALL) or _TALLIES.get(engine, ALL, patience_s=FIRST_S)
    if known is None:
        raise UncountedError
    return known.figures


def forget(engine: Engine) -> None:
    """Count again at the next look: opt-ins were moved."""
    _TALLIES.forget(engine, ALL)


def count(engine: Engine) -> Tally:
    """Walk over all consents: a second or two for a million."""
    topics: dict[int, TopicTally] = defaultdict(TopicTally)
    with transaction(engine) as connection:
        months = [row.month for row in queries("console").coming_months(connection)]
        for row in queries("console").consents_by_month(connection, days=EXPIRING_DAYS):
            topic = topics[row.topic_id]
            setattr(topic, row.fate, getattr(topic, row.fate) + row.opt_ins)
            if row.fate == "unspent":
                topic.dying += row.dying
                topic.months[f"{row.month:%Y-%m}"] += row.opt_ins
        for row in queries("console").cards_by_topic(connection):
            topics[row.topic_id].asked, topics[row.topic_id].tapped = row.asked, row.tapped
    return Tally(datetime.now(UTC), months, dict(topics))


_TALLIES: Kept[int, Tally] = Kept(lambda engine, _: count(engine))
