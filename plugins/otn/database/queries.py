"""Named queries: one file of ``sql/queries`` per subject, loaded once."""

from __future__ import annotations

from functools import cache
from typing import Any

import aiosql

from otn.errors import ConfigurationError
from otn.settings import sql_folder

Queries = Any  # aiosql makes one method a query; there is nothing a type checker could know


@cache
def queries(subject: str) -> Queries:
    """The queries of one subject, such as ``queries("campaign").plan(connection, campaign_id=1)``.

    Args:
        subject: name of a file in ``sql/queries``, without its ending.

    Raises:
        ConfigurationError: there is no such file where ``OTN_SQL_DIR`` points.
    """
    path = sql_folder() / "queries" / f"{subject}.sql"
    if not path.is_file():
        raise ConfigurationError(
            f"There is no {path.name} in {path.parent}. Set OTN_SQL_DIR to the project's sql folder."
        )
    return aiosql.from_path(path, "psycopg2", mandatory_parameters=False)
