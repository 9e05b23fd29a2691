"""Alarms: findings that lasted, and what people were told of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from otn.database import Engine, PsycopgConnection, queries, transaction
from otn.watch.finding import Finding

KEEP_DAYS = 365
TEXT_LIMIT = 2_000  # characters of a sentence
MOST_LINES = 40  # changes in one message


@dataclass(frozen=True)
class Merged:
    """What a look did to the alarms.

    Args:
        open: alarms that it found.
        ended: alarms that it found no more.
    """

    open: int
    ended: int


@dataclass(frozen=True)
class Change:
    """What people were not told yet.

    Args:
        id: of the alarm.
        page: connection of the page; None: the installation.
        kind: what was looked at.
        subject: which of its kind.
        change: ``warn``, ``alarm`` or ``ended``.
        told_as: what they were told last; None: nothing.
        sentence: how it is, or was.
        advice: what to do.
        since: when it began.
        ended_at: when it ended.
    """

    id: int
    page: str | None
    kind: str
    subject: str
    change: str
    told_as: str | None
    sentence: str
    advice: str
    since: datetime
    ended_at: datetime | None


def merge(conn: PsycopgConnection, findings: Sequence[Finding]) -> Merged:
    """Open, change and end alarms after a look.

    Args:
        conn: a connection in a transaction.
        findings: everything that was looked at, what is fine too: only that ends an alarm.
    """
    rows = [
        {
            **asdict(one),
            "sentence": _stored(one.sentence),
            "advice": _stored(one.advice),
            "subject": _stored(one.subject),
        }
        for one in findings
    ]
    row = queries("alarm").merge_findings(conn, findings=json.dumps(rows))
    queries("alarm").forget_alarms(conn, days=KEEP_DAYS)
    return Merged(row.open, row.ended)


def _stored(text: str) -> str:
    # Keys of topics come from outside, and jsonb refuses the zero character.
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)[:TEXT_LIMIT]


def untold(conn: PsycopgConnection) -> list[Change]:
    """What changed since people were told last."""
    return [Change(**row._asdict()) for row in queries("alarm").untold(conn)]


def tell(engine: Engine, notify: Callable[[str, str], None]) -> int:
    """Tell people what changed, and remember it once the notifier has returned; answers how many changes.

    At least once: if it is lost between the two, they are told again.

    Args:
        engine: the project's database.
        notify: takes a title and a text; raises when nobody got it.
    """
    with transaction(engine) as connection:
        changes = untold(connection)
    if not changes:
        return 0
    notify(title(changes), text(changes))
    with transaction(engine) as connection:
        queries("alarm").mark_told(connection, ids=[one.id for one in changes], changes=[one.change for one in changes])
    return len(changes)


def title(changes: Sequence[Change]) -> str:
    """Such as ``OTN: 2 alarms, 1 warning, 3 ended``."""
    counts = {
        "alarm": sum(one.change == "alarm" for one in changes),
        "warning": sum(one.change == "warn" for one in changes),
    }
    parts = [f"{number} {name}{'s' if number > 1 else ''}" for name, number in counts.items() if number]
    ended = sum(one.change == "ended" for one in changes)
    return "OTN: " + ", ".join([*parts, *([f"{ended} ended"] if ended else [])])


def text(changes: Sequence[Change]) -> str:
    """The worst first, each with what to do; what would make it too long is counted."""
    order = {"alarm": 0, "warn": 1, "ended": 2}
    ranked = sorted(changes, key=lambda one: (order[one.change], one.id))
    blocks = [_block(one) for one in ranked[:MOST_LINES]]
    if len(ranked) > MOST_LINES:
        blocks.append(f"… and {len(ranked) - MOST_LINES} more: `./otn alarms list`.")
    return "\n\n".join(blocks)


def _block(one: Change) -> str:
    place = f"page {one.page}" if one.page else "installation"
    since = f"since {one.since:%Y-%m-%d %H:%M} UTC"
    if one.change == "ended":
        return f"ENDED · {place} · {one.kind} ({since}): {one.sentence}"
    word = "ALARM" if one.change == "alarm" else "WARNING"
    eased = " (it was an alarm)" if (one.told_as, one.change) == ("alarm", "warn") else ""
    advice = f"\n→ {one.advice}" if one.advice else ""
    return f"{word}{eased} · {place} · {one.kind} ({since}): {one.sentence}{advice}"


def listing(engine: Engine, *, ended: bool = False, most: int = 200) -> list[dict[str, Any]]:
    """Alarms, open ones first.

    Args:
        engine: the project's database.
        ended: those that ended too.
        most: so many at most.
    """
    with transaction(engine) as connection:
        return [row._asdict() for row in queries("alarm").list_alarms(connection, ended=ended, most=most)]
