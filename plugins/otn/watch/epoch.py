"""Whether the database is the one that has made all calls so far."""

from __future__ import annotations

from collections.abc import Mapping

from otn.database import PsycopgConnection
from otn.epoch import guard
from otn.epoch.file import EpochFileError
from otn.errors import ConfigurationError
from otn.watch.finding import Finding

KIND = "epoch"


def finding(conn: PsycopgConnection, environ: Mapping[str, str] | None = None) -> Finding:
    """How the guard against restored and cloned databases is.

    Args:
        conn: a connection in a transaction.
        environ: where the file's name stands; the process's environment by default.
    """
    try:
        state = guard.state(conn, environ)
    except (EpochFileError, ConfigurationError) as error:
        return Finding(KIND, "alarm", str(error), "Until then nothing is sent from here.")
    if state.halted:
        return Finding(KIND, "alarm", f"Nothing is sent: {state.halted}", guard.WAY_OUT)
    if state.doubt:
        advice = "Set OTN_EPOCH_FILE to a file that all senders share and that is not on the database's disk."
        return Finding(KIND, "warn", state.doubt, advice if state.file is None else "")
    return Finding(KIND, "ok", f"The database knows of all calls so far (claim {state.number}).")
