"""Who did what to a campaign, in words."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from otn.console import words
from otn.console.airflow_run import Run
from otn.database import PsycopgConnection, queries

MOST = 100
_BY_RUN = re.compile(r"(?P<name>.*) \((?P<dag_id>\S+) (?P<run_id>\S+)\)", re.DOTALL)
_NAMELESS = {
    "airflow": "Airflow",
    "run": "the run",
    "stop rule": "a stop rule",
    "platform": "the platform",
    "schedule": "the schedule",
}
_SCOPES = {"waiting": "people who wait", "refused": "refused people", "unknown": "unconfirmed people"}


@dataclass(frozen=True)
class Entry:
    """One decision.

    Args:
        at: when.
        who: a person, or what acts by itself.
        run: of Airflow, in which it was done; None: in none.
        what: a sentence.
    """

    at: datetime
    who: str
    run: Run | None
    what: str


def entries(connection: PsycopgConnection, row: Any) -> list[Entry]:
    """The latest decisions about a campaign, newest first.

    Args:
        connection: in a transaction.
        row: the campaign's.
    """
    found = [_entry(one) for one in queries("console").audit_of(connection, campaign_id=row.id, most=MOST)]
    if row.planned_at is not None:
        planned = Entry(row.planned_at, _NAMELESS["run"], None, "Planned, and began to send.")
        found.append(planned)
    return sorted(found, key=lambda one: one.at, reverse=True)


def _entry(row: Any) -> Entry:
    by_run = _BY_RUN.fullmatch(row.actor)
    name = by_run["name"] if by_run else row.actor
    run = Run(by_run["dag_id"], by_run["run_id"]) if by_run else None
    return Entry(row.at, _NAMELESS.get(name, name), run, said(row.action, row.detail))


def said(action: str, detail: Mapping[str, Any]) -> str:
    """An action of the audit as a sentence."""
    make = _SENTENCES.get(action)
    if make is None:
        return f"{action.replace('_', ' ').capitalize()}."
    return make(detail)


def _opened(detail: Mapping[str, Any]) -> str:
    if detail.get("calibration"):
        return "Opened, to learn what the platform says for a used token."
    then = ": it awaits approval" if detail.get("state") == "awaiting_approval" else ""
    return f"Opened{then}."


def _approved(detail: Mapping[str, Any]) -> str:
    late = ", and to a late start" if detail.get("late") else ""
    return f"Approved for up to {words.people(detail.get('cap', 0))}{late}."


def _rejected(detail: Mapping[str, Any]) -> str:
    reason = detail.get("reason")
    return f"Not approved{_because(reason if reason != 'rejected' else None)}."


def _cancelled(detail: Mapping[str, Any]) -> str:
    reason = detail.get("reason")
    if reason == "covered":
        return f"Cancelled: {detail.get('by')} covers the same time."
    given_up = f" {words.people(detail['waiting'])} who waited: given up." if detail.get("waiting") else ""
    return f"Cancelled{_because(reason)}.{given_up}"


def _retried(detail: Mapping[str, Any]) -> str:
    scope = _SCOPES.get(str(detail.get("scope")), str(detail.get("scope")))
    return f"Took up {scope} again: {detail.get('rows', 0):,}."


def _ended(detail: Mapping[str, Any]) -> str:
    unknown = detail.get("unknown") or 0
    return f"The run ended: finished{f', {unknown:,} unconfirmed' if unknown else ''}."


def _interrupted(detail: Mapping[str, Any]) -> str:
    left = (detail.get("waiting") or 0) + (detail.get("sending") or 0)
    return f"The run ended while {words.people(left)} still {'waits' if left == 1 else 'wait'}: interrupted."


def _because(reason: Any) -> str:
    return f": {str(reason).rstrip('.')}" if reason else ""


_SENTENCES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "opened": _opened,
    "approved": _approved,
    "rejected": _rejected,
    "asked": lambda detail: f"Asked for a yes for up to {words.people(detail.get('cap', 0))}.",
    "yes not taken": lambda detail: f"Said yes, which did not count{_because(detail.get('why'))}.",
    "paused": lambda detail: f"Paused{_because(detail.get('reason'))}.",
    "resumed": lambda detail: f"Resumed; it was {words.state(str(detail.get('from')))}.",
    "cancelled": _cancelled,
    "halted": lambda detail: (
        f"Halted{' with the whole page' if detail.get('page') else ''}{_because(detail.get('reason'))}."
    ),
    "retried": _retried,
    "finished": _ended,
    "interrupted": _interrupted,
    "rescheduled": lambda detail: f"Moved from {detail.get('from')} to {detail.get('to')}.",
    "read file": lambda detail: (
        f"The file {detail.get('file')} was read"
        + (", and its new content left for later campaigns." if detail.get("content_kept") else ".")
    ),
    "token_spent_elsewhere": lambda detail: f"{detail.get('people', 0):,} consents had been spent elsewhere.",
    "calibrated": lambda _: "Learnt what the platform says for a used token.",
    "not calibrated": lambda _: "The platform's answers could not be told apart.",
}
