"""Read the figures of the metrics from Postgres."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from otn.campaign.model import CampaignState
from otn.consent.topics import EXPIRING_DAYS
from otn.database import Engine, PsycopgConnection, queries, transaction
from otn.errors import ConfigurationError
from otn.watch.labels import NOBODY, UNREGISTERED, code_label, page_label, topic_labels
from otn.watch.metrics import Figure

MINUTELY_MS = 20_000  # for each statement
QUARTERLY_MS = 240_000
SLOT_S = 300  # of call_count
OUTCOMES = ("waiting", "sending", "sent", "refused", "unknown", "skipped", "cancelled")
LEVELS = ("warn", "alarm")


def measure(engine: Engine, rate_of: Callable[[str], float | None]) -> list[Figure]:
    """What is cheap to read: each minute.

    Args:
        engine: the project's database.
        rate_of: messages a second of a page, by its connection; None: no pace. May raise ConfigurationError.

    Raises:
        DatabaseError: Postgres is away, or needs too long.
    """
    with transaction(engine) as connection:
        _begin(connection, MINUTELY_MS)
        pages = list(queries("metric").pages(connection))
        backlog = queries("watch").backlog(connection)
        campaigns = list(queries("metric").campaigns(connection))
        alarms = list(queries("metric").alarms(connection))
        moment = queries("metric").moment(connection)
    names = {row.id: page_label(row.id, row.page_id) for row in pages}
    found = [
        Figure("otn.ingest.waiting", backlog.waiting),
        Figure("otn.ingest.lag_seconds", max(backlog.oldest_s or 0, 0)),
        Figure("otn.quarantine", backlog.quarantined),
    ]
    for row in pages:
        found += _pace(row, {"page": names[row.id]}, rate_of)
    found += [*_campaigns(campaigns, names), *_alarms(alarms, names)]
    return [*found, Figure("otn.measured_at", moment)]  # last: it says that the others came before


def count(engine: Engine) -> list[Figure]:
    """What takes a walk over people and consents, a second or two for a million: each quarter of an hour.

    Raises:
        DatabaseError: Postgres is away, or needs too long.
    """
    with transaction(engine) as connection:
        _begin(connection, QUARTERLY_MS)
        pages = {row.id: page_label(row.id, row.page_id) for row in queries("metric").pages(connection)}
        topics = list(queries("metric").topics(connection))
        recipients = list(queries("metric").recipients(connection))
        stock = list(queries("metric").stock(connection, days=EXPIRING_DAYS))
        moment = queries("metric").moment(connection)
    labels = topic_labels(topics)
    places = {(pages[row.page_id], labels[row.id]) for row in topics}
    planned = Counter[tuple[str, ...]](dict.fromkeys(places, 0))
    outcomes = Counter[tuple[str, ...]]({(*place, outcome): 0 for place in places for outcome in OUTCOMES})
    refused, unspent, dying = Counter[tuple[str, ...]](), planned.copy(), planned.copy()
    for row in recipients:
        place = (pages[row.page_id], labels.get(row.topic_id, UNREGISTERED))
        planned[place] += row.people
        outcomes[*place, row.state] += row.people
        if row.state == "refused":
            refused[place[0], code_label(row.code, row.subcode)] += row.people
    for row in stock:
        place = (pages[row.page_id], labels.get(row.topic_id, UNREGISTERED))
        unspent[place] += row.unspent
        dying[place] += row.dying
    return [
        *_figures("otn.planned", ("page", "topic"), planned),
        *_figures("otn.recipients", ("page", "topic", "outcome"), outcomes),
        *_figures("otn.refused", ("page", "code"), refused),
        *_figures("otn.consents", ("page", "topic"), unspent),
        *_figures("otn.consents_dying", ("page", "topic"), dying),
        Figure("otn.counted_at", moment),
    ]


def _begin(connection: PsycopgConnection, ms: int) -> None:
    """One moment for all figures, so that they add up; and an end."""
    connection.cursor().execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    queries("metric").give_up_after(connection, ms=ms)


def _pace(row: Any, tags: Mapping[str, str], rate_of: Callable[[str], float | None]) -> Iterable[Figure]:
    yield Figure("otn.page.halted", int(row.halted), tags)
    yield Figure("otn.pace.booked_seconds", round(row.booked_s, 3), tags)
    yield Figure("otn.quota.used", row.used, tags)
    if row.quota:
        yield Figure("otn.quota.allowed", row.quota, tags)
    try:
        rate = rate_of(row.connection_id)
    except ConfigurationError:  # otn_watch has an alarm for it
        return
    if rate:
        yield Figure("otn.pace.used", round(row.lately / (rate * SLOT_S), 4), tags)


def _campaigns(rows: Iterable[Any], pages: Mapping[int, str]) -> Iterable[Figure]:
    states = Counter[tuple[str, ...]]({(page, str(state)): 0 for page in pages.values() for state in CampaignState})
    late = Counter[tuple[str, ...]]({(page,): 0 for page in pages.values()})
    for row in rows:
        states[pages[row.page_id], row.state] += row.campaigns
        late[(pages[row.page_id],)] += row.late
    yield from _figures("otn.campaigns", ("page", "state"), states)
    yield from _figures("otn.campaigns_late", ("page",), late)


def _alarms(rows: Iterable[Any], pages: Mapping[int, str]) -> Iterable[Figure]:
    found = Counter[tuple[str, ...]]()
    for row in rows:
        page = NOBODY if row.page_id is None else pages[row.page_id]
        for level in LEVELS:
            found[page, row.kind, level] += getattr(row, level)
    return _figures("otn.alarms", ("page", "kind", "level"), found)


def _figures(metric: str, tags: tuple[str, ...], counts: Mapping[tuple[str, ...], int]) -> Iterable[Figure]:
    for values, number in sorted(counts.items()):
        yield Figure(metric, number, dict(zip(tags, values, strict=True)))
