"""People's rights: whether they can be erased, and stay so."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from otn.cli.examination import found
from otn.cli.examination.case import Case, Question
from otn.cli.examination.check import Check
from otn.database import queries
from otn.errors import ConfigurationError
from otn.privacy.journal import VARIABLE, JournalError, read_journal


def journal(case: Case) -> Iterator[Check]:
    """Whether the file that outlives a restored backup can be written, and is whole."""
    try:
        here = read_journal(case.environment)
        if here is None:
            text = f"{VARIABLE} is not set: nobody can be erased."
            yield Check("privacy.journal", "red", text, "Set it to a file that is not on the database's disk.")
            return
        if not _writable(here.path):
            text = f"The erasure journal {here.path} cannot be written: nobody can be erased."
            yield Check("privacy.journal", "red", text, f"Correct {VARIABLE}, or the file's rights and disk.")
            return
        content = here.read()
    except (ConfigurationError, JournalError) as error:
        yield Check("privacy.journal", "red", str(error), "Until then nobody can be erased.")
        return
    buried = 0
    if case.engine is not None and case.migrated:
        with case.asking() as connection:
            buried = int(queries("doctor").buried(connection))
    known = len(content.erasures)
    if known < buried:
        text = f"The erasure journal {here.path} knows {known:,} of {buried:,} erased people."
        advice = "Put its newest copy back, or run `./otn migrate`, which writes down who is missing."
        yield Check("privacy.journal", "yellow", text, advice)
    elif content.unreadable:
        text = f"{content.unreadable:,} lines of the erasure journal {here.path} cannot be read."
        yield Check("privacy.journal", "yellow", text, "Put its newest copy back, and see what damaged it.")
    else:
        yield Check("privacy.journal", "green", f"The erasure journal can be written; it knows {known:,} people.")


def _writable(path: Path) -> bool:
    """Without writing: the file itself, or where it will be made."""
    if path.exists():
        return path.is_file() and os.access(path, os.W_OK)
    above = path.parent
    while not above.exists() and above != above.parent:
        above = above.parent
    return above.is_dir() and os.access(above, os.W_OK)


QUESTIONS = (*found.group("privacy"), Question(("privacy.journal",), journal))
