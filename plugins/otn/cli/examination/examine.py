"""One look at everything: each question by itself, bounded in time; one that fails keeps no other from being asked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from otn.cli.examination import airflow, database, facts, keys, machine, pages, privacy, schema, sending, webhooks
from otn.cli.examination.case import Case, Question
from otn.cli.examination.check import Check
from otn.cli.place import settings
from otn.database import DatabaseError
from otn.errors import ConfigurationError, OtnError
from otn.local.home import Home
from otn.local.progress import Progress
from otn.watch.patience import within

ALL_S = 90  # for everything together
NOT_ALLOWED = "42501"  # Postgres docs, error codes: insufficient_privilege
CANCELLED = "57014"  # likewise: query_canceled, here by our own time limit

STAGES: dict[str, tuple[Question, ...]] = {
    "looking at settings and keys": keys.QUESTIONS,
    "looking at the database": (*database.QUESTIONS, *schema.QUESTIONS, *keys.OF_THE_DATA),
    "looking at webhooks and sending": (
        pages.REGISTERED,
        *webhooks.QUESTIONS,
        *sending.QUESTIONS,
        *privacy.QUESTIONS,
    ),
    "looking at the pages": pages.QUESTIONS,
    "looking at Airflow": airflow.QUESTIONS,
    "looking at this machine": machine.QUESTIONS,
}


def examine(home: Path | None, progress: Progress) -> list[Check]:
    """Look at everything, changing nothing.

    Args:
        home: as given on the command line.
        progress: told what is looked at.
    """
    try:
        environment = settings(home)
    except ConfigurationError as error:
        return [Check("settings.readable", "red", str(error), "Correct it; nothing else was looked at.")]
    case = Case(Home.at(home), environment, progress.stage)
    deadline = time.monotonic() + ALL_S
    _ask_airflow(case)
    checks = []
    for stage, questions in STAGES.items():
        progress.stage(stage)
        for question in questions:
            if is_due(question, case):
                checks += answer(question, case, deadline - time.monotonic())
    if case.engine is not None:
        case.engine.dispose()
    return checks


def _ask_airflow(case: Case) -> None:
    """Connections may stand in Airflow alone; so it is asked first."""
    if not facts.is_known(case.environment):
        return
    case.stage("asking Airflow")
    case.airflow = facts.ask(case.environment)
    told = {f"AIRFLOW_CONN_{name.upper()}": text for name, text in case.airflow.connections.items()}
    case.environment = told | case.environment


def is_due(question: Question, case: Case) -> bool:
    """Whether it makes sense to ask; what stands in the way has been told by then."""
    if question.needs == "database":
        return case.engine is not None
    return not question.needs or (case.engine is not None and case.migrated)


def answer(question: Question, case: Case, left_s: float) -> list[Check]:
    """What there is to say, in any case something about the first of its ids.

    Args:
        question: what to look at.
        case: where.
        left_s: seconds left for everything.
    """
    limit_s = min(question.limit_s, left_s)
    if limit_s <= 0:
        return [Check(question.ids[0], "unseen", "There was no time left to look at it.", "Run `./otn doctor` again.")]
    (future,) = within(limit_s, lambda look: list(look(case)), [question.look])
    if not future.done():
        text = f"This could not be looked at within {limit_s:.0f} s."
        return [Check(question.ids[0], "yellow", text, "See what keeps it waiting, and look again.")]
    error = future.exception()
    return list(failed(question.ids[0], error)) if error is not None else future.result()


def failed(check_id: str, error: BaseException) -> Iterator[Check]:
    """What to say where looking itself failed."""
    state = error.sqlstate if isinstance(error, DatabaseError) else None
    if state == NOT_ALLOWED:
        yield Check(check_id, "unseen", "The database role of otn_db may not see this.")
    elif state == CANCELLED:
        text = "The database took too long to say it."
        yield Check(check_id, "yellow", text, "See what the database is busy with, and look again.")
    elif isinstance(error, OtnError):
        yield Check(check_id, "yellow", f"This could not be looked at. {error}")
    else:  # its text may hold anything
        text = f"This could not be looked at ({type(error).__name__})."
        yield Check(check_id, "yellow", text, "This should not happen: report it with the output of `./otn --version`.")
