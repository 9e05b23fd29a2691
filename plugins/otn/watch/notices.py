"""Notices: what people are told of a campaign once, as it happens. A state that lasts is an alarm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from otn.database import Engine, queries, transaction

OLD_DAYS = 7  # nobody is told of what happened so long ago
KEEP_DAYS = 365
CLAIM_S = 600.0
MOST = 40  # in one message
TEXT_LIMIT = 200  # characters of a key

Link = Callable[[int], str | None]


def tell(engine: Engine, notify: Callable[[str, str], None], link: Link) -> int:
    """Tell people what happened to campaigns since they were told last; answers of how many campaigns.

    At least once: marked after the notifier has returned. What is no longer so is told to nobody, and an end that says
    the same as the one before it (a run was cleared) is not told again.

    Args:
        engine: the project's database.
        notify: takes a title and a text; raises when nobody got it.
        link: address of a campaign for people, by ``otn.campaign.id``; None: there is none.
    """
    with transaction(engine) as connection:
        queries("notice").settle_overtaken(connection, days=OLD_DAYS)
        rows = list(queries("notice").claim_notices(connection, most=MOST, claim_s=CLAIM_S))
    said = {row.id: sentence(row) for row in rows}
    news = [row for row in rows if row.kind != "finished" or said[row.id] != row.told_before]
    if news:
        try:
            notify(title(news), "\n\n".join(_block(row, said[row.id], link) for row in news))
        except BaseException:
            with transaction(engine) as connection:
                queries("notice").release_notices(connection, ids=list(said))
            raise
    if rows:
        new = {row.id for row in news}
        told = [said[number] if number in new else None for number in said]
        with transaction(engine) as connection:
            queries("notice").settle_notices(connection, ids=list(said), told=told)
    return len(news)


def waiting(engine: Engine) -> int:
    """How many campaigns there is something to tell of."""
    with transaction(engine) as connection:
        queries("notice").settle_overtaken(connection, days=OLD_DAYS)
        return int(queries("notice").count_open(connection))


def forget(engine: Engine) -> None:
    """Forget what people were told of long ago."""
    with transaction(engine) as connection:
        queries("notice").forget_notices(connection, days=KEEP_DAYS)


def title(rows: Sequence[Any]) -> str:
    """Such as ``OTN: spring is finished``, or ``OTN: news of 3 campaigns``."""
    if len(rows) > 1:
        return f"OTN: news of {len(rows)} campaigns"
    (row,) = rows
    return f"OTN: {_plain(row.campaign)} {'is finished' if row.kind == 'finished' else 'awaits approval'}"


def sentence(row: Any) -> str:
    """What happened, with the honest end."""
    name = f"The campaign {_plain(row.campaign)} of the page {_plain(row.page)}"
    if row.kind == "awaiting_approval":
        when = f" It is to start at {row.send_at:%Y-%m-%d %H:%M} UTC." if row.send_at else ""
        return f"{name} awaits approval: nothing is sent before somebody says yes.{when}"
    counts = {"refused": row.refused, "unconfirmed": row.unknown, "skipped": row.skipped}
    parts = [f"{row.sent:,} sent", *(f"{number:,} {word}" for word, number in counts.items() if number)]
    return f"{name} is finished: {', '.join(parts)}."


def _block(row: Any, said: str, link: Link) -> str:
    way = link(row.campaign_id) or f"`./otn report {_plain(row.campaign)} --page {_plain(row.page)}`"
    act = "To look at it and to answer" if row.kind == "awaiting_approval" else "Its report"
    return f"{said}\n→ {act}: {way}"


def _plain(text: str) -> str:
    """What an operator typed, in one line: it stands in the subject of a mail too."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)[:TEXT_LIMIT]
