"""Whether silences reach their journal: a restored backup would bring back whoever is missing in it."""

from __future__ import annotations

from collections.abc import Mapping

from otn.consent.silence import FILE
from otn.database import PsycopgConnection, queries
from otn.errors import ConfigurationError
from otn.journal import VARIABLE, erasure_path, is_writable
from otn.watch.finding import Finding

KIND = "silences"
LONG_S = 3600


def finding(conn: PsycopgConnection, environ: Mapping[str, str] | None = None) -> Finding:
    """How the journal of silences is.

    Args:
        conn: a connection in a transaction.
        environ: where the journal's name stands; the process's environment by default.
    """
    return of_file(environ) or of_database(conn)


def of_file(environ: Mapping[str, str] | None = None) -> Finding | None:
    """What is wrong with its file; None: nothing, or none is known here.

    Args:
        environ: likewise.
    """
    try:
        path = erasure_path(environ)
    except ConfigurationError as error:
        return Finding(KIND, "alarm", str(error), "Until then no silence is written down, and nobody can be erased.")
    if path is None or is_writable(path.with_name(FILE)):
        return None
    text = (
        f"The journal of silences {path.with_name(FILE)} cannot be written: a restored backup would bring back who asks"
        " for silence now."
    )
    return Finding(
        KIND, "alarm", text, f"Correct {VARIABLE}, beside whose file it lies, or the file's rights and disk."
    )


def of_database(conn: PsycopgConnection) -> Finding:
    """Whether something stands in the database that the file may lack; it is made up for within a minute.

    Args:
        conn: likewise.
    """
    row = queries("watch").owed_silences(conn, kind=KIND, long_s=LONG_S)
    if not row.owed:
        return Finding(KIND, "ok", "The journal of silences has what stands in the database.")
    text = "Silences stand in the database that their journal may lack: a restored backup would not know of them."
    advice = f"See that otn_ingest runs and that {VARIABLE} is set there: it writes them down, or its log says why not."
    return Finding(KIND, "alarm" if row.lasts else "warn", text, advice)
