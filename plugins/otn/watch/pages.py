"""Checks of each page, asked of the database without changing anything."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from otn.consent.pages import Page
from otn.database import PsycopgConnection, queries
from otn.pace import read_quota, waits_for_quota
from otn.watch.finding import Finding, Level
from otn.watch.installation import ingest_lags
from otn.watch.traffic import is_unusual

LATE_SECONDS = 300
FEW_CALLS = 10
DOUBTFUL_SHARE = 0.1
FAILING_MINUTES = 60
QUOTA_NEAR = 0.8  # of the calls of a day

_Check = Callable[[PsycopgConnection, Sequence[Page]], Iterator[Finding]]


def findings(conn: PsycopgConnection, pages: Sequence[Page]) -> list[Finding]:
    """How the pages are; every kind is found at every page that was looked at.

    Args:
        conn: a connection in a transaction.
        pages: all that are registered.
    """
    return [finding for check in CHECKS.values() for finding in check(conn, pages)]


def _rest(pages: Sequence[Page], told: set[int], kind: str, sentence: str) -> Iterator[Finding]:
    """The pages of which there is nothing to tell."""
    for page in pages:
        if page.id not in told:
            yield Finding(kind, "ok", sentence, page_id=page.id)


def _halts(_conn: PsycopgConnection, pages: Sequence[Page]) -> Iterator[Finding]:
    for page in pages:
        if page.halted:
            yield Finding(
                "halt", "alarm", f"Nothing is sent for the page: {page.halt_reason}", _way_out(page), page_id=page.id
            )
        else:
            yield Finding("halt", "ok", "The page may send.", page_id=page.id)


def _way_out(page: Page) -> str:
    resume = f"`./otn pages resume {page.connection_id}`"
    if page.blocked_at is not None:
        return f"Read why in the page's Support Inbox and wait until the platform unblocks it; then run {resume}."
    if page.halt_held:
        return f"When it may send again, run {resume} and trigger its campaigns again."
    return f"Repair the cause, then run {resume}; a campaign of the page that is triggered again resumes it too."


def _warnings(conn: PsycopgConnection, pages: Sequence[Page]) -> Iterator[Finding]:
    told = set()
    for row in queries("watch").warned_pages(conn):
        told.add(row.page_id)
        yield Finding(
            "policy",
            "alarm",
            f"The platform warned the page at {row.occurred_at:%Y-%m-%d %H:%M} UTC ({row.detail});"
            " its campaigns were paused.",
            "Read why in the page's Support Inbox; then trigger the campaigns again that should go on.",
            page_id=row.page_id,
        )
    yield from _rest(pages, told, "policy", "No warning of the platform in the last seven days.")


def _silence(conn: PsycopgConnection, pages: Sequence[Page]) -> Iterator[Finding]:
    if ingest_lags(conn):
        return
    told = set()
    for row in queries("watch").silence(conn):
        if is_unusual(row.silent_s, row.usual):
            told.add(row.page_id)
            known = [events for events in row.usual if events is not None]
            text = (
                f"No webhook of the page has come for {row.silent_s / 3600:.1f} h; on other days about"
                f" {sum(known) // len(known)} came in these hours."
            )
            advice = "See that the receiver can be reached from outside, and look at the app's webhooks."
            yield Finding("silence", "alarm", text, advice, page_id=row.page_id)
    yield from _rest(pages, told, "silence", "No unusual silence.")


def _answers(conn: PsycopgConnection, pages: Sequence[Page]) -> Iterator[Finding]:
    told = set()
    for row in queries("watch").late_answers(conn, late_s=LATE_SECONDS):
        told.add(row.page_id)
        text = f"{row.waiting} answers to people wait, the oldest for {row.oldest_s // 60} minutes."
        advice = "See that the responder runs and that otn_ask is unpaused."
        yield Finding("answers", "alarm", text, advice, page_id=row.page_id)
    yield from _rest(pages, told, "answers", "No answer to anybody is late.")


def _doubts(conn: PsycopgConnection, pages: Sequence[Page]) -> Iterator[Finding]:
    told = set()
    for row in queries("watch").doubtful_answers(conn):
        if row.doubtful < FEW_CALLS or row.doubtful < DOUBTFUL_SHARE * row.called:
            continue
        told.add(row.page_id)
        text = f"Of {row.called} cards and answers of the last day, {row.doubtful} came back without a clear answer."
        advice = "See whether the platform is well. They are not sent again; an echo may still settle them."
        yield Finding("doubts", "warn", text, advice, page_id=row.page_id)
    yield from _rest(pages, told, "doubts", "Cards and answers come back with a clear answer.")


def _campaigns(conn: PsycopgConnection, pages: Sequence[Page]) -> Iterator[Finding]:
    told = set()
    for row in queries("watch").stopped_campaigns(conn):
        told.add(row.page_id)
        why = f" {row.halt_reason}" if row.halt_reason else ""
        text = f"The campaign {row.key} is {row.state}.{why}"
        advice = f"See `./otn report {row.key} --page {row.page}`; trigger it again with the same key to go on."
        yield Finding("campaign", "warn", text, advice, row.key, row.page_id)
    yield from _rest(pages, told, "campaign", "No campaign waits for a person.")


def _late(conn: PsycopgConnection, pages: Sequence[Page]) -> Iterator[Finding]:
    told = set()
    for row in queries("notice").late_campaigns(conn):
        told.add(row.page_id)
        text = (
            f"The campaign {row.key} was to start at {row.send_at:%Y-%m-%d %H:%M} UTC, and it is"
            f" {row.state.replace('_', ' ')}."
        )
        advice = "Answer its question in Airflow or the console, or see that its run is alive: trigger it again if not."
        yield Finding("late", "alarm", text, advice, row.key, row.page_id)
    yield from _rest(pages, told, "late", "No campaign is late.")


def _outgoing(conn: PsycopgConnection, pages: Sequence[Page]) -> Iterator[Finding]:
    told = set()
    for row in queries("outgoing").troubled_endpoints(conn, minutes=FAILING_MINUTES):
        told.add(row.page_id)
        since = f"since {row.failed_since:%Y-%m-%d %H:%M} UTC ({row.error})" if row.failed_since else ""
        if row.disabled:
            text = f"The endpoint {row.key} was given up on: it took no result {since}."
            advice = f"Repair it, then run `./otn outgoing enable {row.key}`: what is younger than 30 days goes to it."
            yield Finding("outgoing", "alarm", text, advice, row.key, row.page_id)
        else:
            text = f"The endpoint {row.key} has taken no result {since}; {row.tries} tries."
            advice = f"See what is wrong with it. `./otn outgoing test {row.key}` tries it at once."
            yield Finding("outgoing", "warn", text, advice, row.key, row.page_id)
    yield from _rest(pages, told, "outgoing", "Every endpoint takes its results.")


def _dying(conn: PsycopgConnection, pages: Sequence[Page]) -> Iterator[Finding]:
    told: set[int] = set()
    people: dict[tuple[int, str], int] = {}
    for row in queries("watch").dying_tokens(conn):
        told.add(row.page_id)
        # Earlier weeks die earlier: a campaign takes those first, so they count for the later ones.
        people[row.page_id, row.topic] = people.get((row.page_id, row.topic), 0) + row.people
        text = (
            f"Unspent opt-ins of {row.people:,} people to the topic {row.topic} end in the week of {row.week},"
            f" from {row.first_end:%Y-%m-%d} on."
        )
        advice = _campaign_for(row, people[row.page_id, row.topic])
        yield Finding("dying", "warn", text, advice, f"{row.topic} {row.week}", row.page_id)
    yield from _rest(pages, told, "dying", "No opt-in ends unspent within 30 days.")


def _campaign_for(row: Any, people: int) -> str:
    # Those whose tokens end first are taken when max_recipients leaves somebody out: design of otn.audience.
    conf = {
        "campaign": f"{row.topic}-{row.week}",
        "page": row.page,
        "topic": row.topic,
        "text": "YOUR TEXT",
        "max_recipients": people,
        "dry_run": True,
    }
    quoted = json.dumps(conf, ensure_ascii=False).replace("'", "'\\''")
    return (
        "To reach them, trigger otn_broadcast; this shows whom, and sends when dry_run is taken out: "
        f"`./otn airflow dags trigger otn_broadcast --conf '{quoted}'`"
    )


def _quotas(conn: PsycopgConnection, pages: Sequence[Page]) -> Iterator[Finding]:
    for page in pages:
        quota = read_quota(conn, page.id)
        if quota is None:
            yield Finding("quota", "ok", "No quota is kept for the page.", page_id=page.id)
            continue
        level: Level = "alarm" if quota.share >= QUOTA_NEAR else "ok"
        text = f"Of {quota.allowed:,} calls that the platform allows in 24 hours, {quota.used:,} are used."
        advice = f"{waits_for_quota(quota) or 'Campaigns wait from nine tenths on.'} See who calls so often, and why."
        yield Finding("quota", level, text, advice if level == "alarm" else "", page_id=page.id)


# By kind, as for the installation.
CHECKS: dict[str, _Check] = {
    "halt": _halts,
    "policy": _warnings,
    "silence": _silence,
    "answers": _answers,
    "doubts": _doubts,
    "campaign": _campaigns,
    "late": _late,
    "outgoing": _outgoing,
    "dying": _dying,
    "quota": _quotas,
}
