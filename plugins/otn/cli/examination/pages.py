"""Each page: what the tables say of it, what its connection says, and what the platform says."""

from __future__ import annotations

from collections.abc import Iterator

from otn.campaign import token_rules
from otn.cli.examination import found
from otn.cli.examination.case import Case, Question
from otn.cli.examination.check import Check
from otn.consent import pages as registered
from otn.settings import page_settings, read_connection
from otn.watch import look, pages

PLATFORM_S = 20


def connections(case: Case) -> Iterator[Check]:
    """Which pages there are, and what their connections say; the other questions wait for this."""
    with case.asking() as connection:
        case.pages = tuple(registered.listing(connection))
    case.asked, told = look.connections(case.pages, _around(case))
    yield from found.checks(case, [*look.registration(case.pages), *told])


def _around(case: Case) -> look.Surroundings:
    return look.Surroundings(
        settings=lambda name: page_settings(read_connection(name, case.environment)),
        stage=case.stage,
        limit_s=PLATFORM_S,
    )


def platform(case: Case) -> Iterator[Check]:
    """What the platform says, asked for all pages at the same time."""
    yield from found.checks(case, look.platform(case.asked, _around(case)))


def question(kind: str) -> Question:
    """A question to the tables about all pages."""
    check = pages.CHECKS[kind]

    def ask(case: Case) -> Iterator[Check]:
        with case.asking() as connection:
            told = list(check(connection, case.pages))
        yield from found.checks(case, told)

    return Question((found.id_of(kind, page=True),), ask, needs="schema")


def calibrated(case: Case) -> Iterator[Check]:
    """Whether it is known what the platform answers for a used token, page by page."""
    for page in case.pages:
        if page.id not in case.asked:
            continue  # its connection was told already
        version = case.asked[page.id].api_version
        with case.asking() as connection:
            learned_at = token_rules.learned_at(connection, page.id, version)
        if learned_at is not None:
            text = f"What the platform ({version}) answers for a used token is known."
            yield Check("page.calibration", "green", text, subject=page.connection_id)
            continue
        yield Check(
            "page.calibration",
            "yellow",
            f"What the platform ({version}) answers for a used token was not learnt.",
            f"Run `./otn calibrate --page {page.connection_id} --psid STAFF` with somebody of yours who opted in."
            " Until then some doubtful recipients may stay unknown.",
            page.connection_id,
        )


REGISTERED = Question(("pages.registered", "page.connection"), connections, needs="schema")
QUESTIONS = (
    Question(
        ("page.platform", "page.token", "page.subscription", "page.features", "page.secrets"),
        platform,
        needs="schema",
        limit_s=PLATFORM_S + 5,
    ),
    *(question(kind) for kind in pages.CHECKS),
    Question(("page.calibration",), calibrated, needs="schema"),
)
