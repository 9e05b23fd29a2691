"""Checks of the whole installation, asked of the database without changing anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from otn.consent import pages
from otn.database import PsycopgConnection, queries
from otn.watch import landing
from otn.watch.finding import Finding

DAYS_AHEAD = 3
BACKLOG_SECONDS = 600
MANY_UNREADABLE = 10  # events in an hour
DAY_S = 86_400


def findings(conn: PsycopgConnection) -> list[Finding]:
    """How the installation is.

    Args:
        conn: a connection in a transaction.
    """
    return [finding for check in CHECKS.values() for finding in check(conn)]


def ingest_lags(conn: PsycopgConnection) -> bool:
    """Whether webhooks have waited so long that nothing can be said about what did not come."""
    backlog = queries("watch").backlog(conn)
    return bool(backlog.waiting) and backlog.oldest_s > BACKLOG_SECONDS


def _partitions(conn: PsycopgConnection) -> Iterator[Finding]:
    ahead = queries("watch").partitions(conn).ahead
    text = f"Partitions for webhooks exist for {ahead} days from today on."
    if ahead < DAYS_AHEAD:
        yield Finding("partitions", "warn", text, "See that otn_purge runs, or run `./otn migrate`.")
    else:
        yield Finding("partitions", "ok", text)


def _ingest(conn: PsycopgConnection) -> Iterator[Finding]:
    backlog = queries("watch").backlog(conn)
    if ingest_lags(conn):
        text = f"{backlog.waiting} webhooks wait for ingest, the oldest for {backlog.oldest_s // 60} minutes."
        yield Finding("ingest", "alarm", text, "See that otn_ingest is unpaused and its runs are green.")
    else:
        yield Finding("ingest", "ok", f"Webhooks that wait for ingest: {backlog.waiting}.")


def _quarantine(conn: PsycopgConnection) -> Iterator[Finding]:
    backlog = queries("watch").backlog(conn)
    advice = "Look at the reasons in otn.quarantine; replay what a newer version can read."
    if not backlog.quarantined:
        yield Finding("quarantine", "ok", "Every event could be read.")
    elif backlog.lately >= MANY_UNREADABLE:
        text = f"The quarantine grows: {backlog.lately} events of the last hour could not be read."
        yield Finding("quarantine", "alarm", text, advice)
    else:
        text = f"Events that could not be read and are kept in quarantine: {backlog.quarantined}."
        yield Finding("quarantine", "warn", text, advice)


def _topics(conn: PsycopgConnection) -> Iterator[Finding]:
    unknown = queries("watch").unregistered_topics(conn)
    if unknown:
        text = f"Topics that people opted in to and that are not registered: {unknown}."
        advice = "`./otn topics list` shows them. Register them by `./otn topics add`, or `adopt` what is misspelt."
        yield Finding("topics", "warn", text, advice)
    else:
        yield Finding("topics", "ok", "Every topic that people opted in to is registered.")


def _responder(conn: PsycopgConnection) -> Iterator[Finding]:
    if queries("watch").has_responder(conn):
        yield Finding("responder", "ok", "The responder is at work.")
        return
    if not pages.listing(conn):
        yield Finding("responder", "ok", "No page is registered, so there is nobody to answer.")
        return
    text = "No responder is connected: rules are answered by otn_ask only, minutes later."
    advice = (
        "Run `./otn down` and `./otn up`, which starts it where a page's connection is given, or `./otn responder`."
    )
    yield Finding("responder", "warn", text, advice)


def _deletions(conn: PsycopgConnection) -> Iterator[Finding]:
    row = queries("watch").open_deletions(conn)
    if row.open and row.oldest_s > DAY_S:
        text = f"{row.open} requests of people to be deleted are open, the oldest for {row.oldest_s // DAY_S} days."
        yield Finding("deletions", "alarm", text, "See that otn_watch runs, and read the log of its task deletions.")
    else:
        yield Finding("deletions", "ok", f"Open requests of people to be deleted: {row.open}.")


def _delivery(conn: PsycopgConnection) -> Iterator[Finding]:
    row = queries("outgoing").waiting_outcomes(conn)
    if row.oldest_s > BACKLOG_SECONDS:
        text = f"Results wait to be packed for other systems, the oldest for {row.oldest_s // 60} minutes."
        yield Finding("delivery", "warn", text, "See that otn_deliver is unpaused and its runs are green.")
    else:
        yield Finding("delivery", "ok", "Results are packed for the systems that want them.")


# By kind, so that whoever looks may look at one alone: a check that fails is told by its name.
CHECKS: dict[str, Callable[[PsycopgConnection], Iterator[Finding]]] = {
    "partitions": _partitions,
    "ingest": _ingest,
    "quarantine": _quarantine,
    "topics": _topics,
    "responder": _responder,
    "deletions": _deletions,
    "landing": landing.findings,
    "delivery": _delivery,
}
