"""What goes out: rows that nobody works on, doubts that may be settled, and whether somebody would hear of it."""

from __future__ import annotations

from collections.abc import Iterator

from otn.cli.examination import found
from otn.cli.examination.case import Case, Question
from otn.cli.examination.check import Check
from otn.database import queries
from otn.watch import alarms, epoch

STALE_S = 900  # a lease that ended so long ago was taken up by nobody


def doubts(case: Case) -> Iterator[Check]:
    """Recipients that a sender left behind, and those whose end is not known."""
    with case.asking() as connection:
        rows = list(queries("doctor").in_doubt(connection, stale_s=STALE_S))
    stale = [row for row in rows if row.stale]
    for row in stale:
        text = f"{row.stale:,} recipients of {row.key} are in the hands of a sender that is gone."
        advice = f"Trigger the campaign again with the same key; see `./otn report {row.key} --page {row.page}`."
        yield Check("sending.leases", "yellow", text, advice, row.key)
    if not stale:
        yield Check("sending.leases", "green", "No recipient was left behind by a sender.")
    unknown = [row for row in rows if row.unknown]
    for row in unknown:
        text = f"Whether {row.unknown:,} recipients of {row.key} got their message is not known, and may be asked."
        advice = f"Trigger otn_retry with campaign {row.key}, page {row.page}, scope unknown."
        yield Check("sending.unknown", "yellow", text, advice, row.key)
    if not unknown:
        yield Check("sending.unknown", "green", "No recipient is unknown whom asking again would settle.")


def halted(case: Case) -> Iterator[Check]:
    """Whether the database is the one that has made all calls so far."""
    with case.asking() as connection:
        seen = epoch.finding(connection, case.environment)
    yield from found.checks(case, [seen])


def told(case: Case) -> Iterator[Check]:
    """Whether somebody would hear of an alarm."""
    with case.asking() as connection:
        waiting = len(alarms.untold(connection))
    if waiting:
        text = f"Changes of alarms that nobody was told: {waiting}."
        advice = "Define the connection otn_notify, or OTN_NOTIFY, and see that otn_watch is green."
        yield Check("sending.alarms", "yellow", text, advice)
    else:
        yield Check("sending.alarms", "green", "No alarm waits to be told.")


QUESTIONS = (
    *found.group("sending"),
    Question(("sending.epoch",), halted, needs="schema"),
    Question(("sending.leases", "sending.unknown"), doubts, needs="schema"),
    Question(("sending.alarms",), told, needs="schema"),
)
