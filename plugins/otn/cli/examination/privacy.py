"""People's rights: whether they can be erased, and stay so."""

from __future__ import annotations

from collections.abc import Iterator

from otn.cli.examination import found
from otn.cli.examination.case import Case, Question
from otn.cli.examination.check import Check
from otn.database import queries
from otn.errors import ConfigurationError
from otn.journal import is_writable
from otn.privacy.journal import VARIABLE, JournalError, read_journal
from otn.watch import silences
from otn.watch.finding import Finding


def journal(case: Case) -> Iterator[Check]:
    """Whether the files that outlive a restored backup can be written, and are whole."""
    try:
        here = read_journal(case.environment)
        if here is None:
            text = f"{VARIABLE} is not set: nobody can be erased."
            yield Check("privacy.journal", "red", text, "Set it to a file that is not on the database's disk.")
            return
        if not is_writable(here.path):
            text = f"The erasure journal {here.path} cannot be written: nobody can be erased."
            yield Check("privacy.journal", "red", text, f"Correct {VARIABLE}, or the file's rights and disk.")
            return
        content = here.read()
    except (ConfigurationError, JournalError) as error:
        yield Check("privacy.journal", "red", str(error), "Until then nobody can be erased.")
        return
    buried, silent = 0, silences.of_file(case.environment)
    if case.engine is not None and case.migrated:
        with case.asking() as connection:
            buried = int(queries("doctor").buried(connection))
            silent = silent or silences.of_database(connection)
    known = len(content.erasures)
    if silent is not None and silent.level == "alarm":
        yield _told(silent)
    elif known < buried:
        text = f"The erasure journal {here.path} knows {known:,} of {buried:,} erased people."
        advice = "Put its newest copy back, or run `./otn migrate`, which writes down who is missing."
        yield Check("privacy.journal", "yellow", text, advice)
    elif content.unreadable:
        text = f"{content.unreadable:,} lines of the erasure journal {here.path} cannot be read."
        yield Check("privacy.journal", "yellow", text, "Put its newest copy back, and see what damaged it.")
    elif silent is not None and silent.level == "warn":
        yield _told(silent)
    else:
        text = f"The journals of erasures and silences can be written; {known:,} erased people are known."
        yield Check("privacy.journal", "green", text)


def _told(one: Finding) -> Check:
    return Check("privacy.journal", found.LEVELS[one.level], one.sentence, one.advice)


QUESTIONS = (*found.group("privacy"), Question(("privacy.journal",), journal))
