"""What otn_watch finds, as checks of the doctor's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from otn.cli.examination.case import Case, Question
from otn.cli.examination.check import Check, Level
from otn.watch import finding, installation
from otn.watch.finding import Finding

LEVELS: dict[finding.Level, Level] = {"ok": "green", "warn": "yellow", "alarm": "red"}

# Kinds of the whole installation; those of a page are ``page.<kind>``.
IDS = {
    "partitions": "database.partitions",
    "ingest": "webhooks.backlog",
    "quarantine": "webhooks.quarantine",
    "topics": "webhooks.topics",
    "landing": "webhooks.landing",
    "receiver": "webhooks.receiver",
    "spool": "webhooks.spool",
    "responder": "sending.responder",
    "epoch": "sending.epoch",
    "deletions": "privacy.deletions",
    "pages": "pages.registered",
}


def id_of(kind: str, *, page: bool) -> str:
    """The id of a kind of finding; one that nobody gave an id goes by its own name."""
    return f"page.{kind}" if page else IDS.get(kind, f"sending.{kind}")


def checks(case: Case, found: Iterable[Finding]) -> Iterator[Check]:
    """The same, told as a doctor does."""
    names = {page.id: page.connection_id for page in case.pages}
    for one in found:
        check_id = id_of(one.kind, page=one.page_id is not None)
        subject = names.get(one.page_id, "") if one.page_id is not None else one.subject
        yield Check(check_id, LEVELS[one.level], one.sentence, one.advice, subject)


def question(kind: str) -> Question:
    """A check of the installation as a question of its own."""
    check = installation.CHECKS[kind]

    def look(case: Case) -> Iterator[Check]:
        with case.asking() as connection:
            found = list(check(connection))
        yield from checks(case, found)

    return Question((id_of(kind, page=False),), look, needs="schema")


def group(name: str) -> tuple[Question, ...]:
    """Those of the installation that people read under a heading."""
    return tuple(question(kind) for kind in installation.CHECKS if id_of(kind, page=False).startswith(f"{name}."))
