"""Checks of the landing: whether files of others come in."""

from __future__ import annotations

from collections.abc import Iterator

from otn.database import PsycopgConnection, queries
from otn.watch.finding import Finding

PATIENCE_S = 600  # a store that is away for a few minutes


def findings(conn: PsycopgConnection) -> Iterator[Finding]:
    """How the landing is; nothing where there never was one.

    Args:
        conn: a connection in a transaction.
    """
    trouble = queries("landing").trouble(conn, patience_s=PATIENCE_S)
    if not trouble.landings:
        return
    if trouble.unlisted:
        text = "The landing cannot be listed in full."
        advice = "Read the log of the task land in otn_ingest; check OTN_LANDING_URL and the rights of its connection."
        yield Finding("landing", "alarm", text, advice)
    elif trouble.refused:
        text = f"Landed files that could not be taken, and that nobody tries again: {trouble.refused}."
        advice = (
            "`./otn landing list --state refused` says why. Correct the cause, then `./otn landing retry` or `dismiss`."
        )
        yield Finding("landing", "alarm", text, advice)
    elif trouble.failing:
        text = f"Landed files that could not be read and are tried again: {trouble.failing}."
        yield Finding("landing", "warn", text, "`./otn landing list --state waiting` says why.")
    elif trouble.lines:
        text = f"Lines of the last day's landed files that were refused: {trouble.lines}, in {trouble.files} files."
        advice = (
            "`./otn landing list` has the reasons, `./otn landing refusals FILE` the lines. Tell whoever writes them."
        )
        yield Finding("landing", "warn", text, advice)
    else:
        yield Finding("landing", "ok", "Landed files were taken in.")
