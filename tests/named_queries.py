"""Every named query of ``sql/queries``, and how Postgres is asked about one without running it."""

from __future__ import annotations

import re
from typing import Any

from otn.database import queries
from otn.settings import sql_folder

SUBJECTS = sorted(path.stem for path in (sql_folder() / "queries").glob("*.sql"))
NAMED = [
    (subject, name)
    for subject in SUBJECTS
    for name in queries(subject).available_queries
    if not name.endswith("_cursor")  # aiosql's second form of each select
]
_EXPLAINABLE = ("select", "insert", "update", "delete", "with")


def sql_of(subject: str, name: str) -> str:
    """The text of a query."""
    return str(getattr(queries(subject), name).sql)


def explainable(sql: str) -> bool:
    """Whether ``EXPLAIN`` takes it."""
    return sql.lstrip(" (\n").lower().startswith(_EXPLAINABLE)


def look_at(cursor: Any, sql: str) -> None:
    """Have Postgres read a query with every parameter null: planned and not run, unless only running can tell.

    Raises:
        psycopg2.Error: it does not fit the schema, or the role may not run it.
    """
    bare = re.sub(r"^\s*--.*$", "", sql, flags=re.MULTILINE)
    nulls = dict.fromkeys(re.findall(r"%\((\w+)\)s", sql))
    cursor.execute(f"{'EXPLAIN ' if explainable(sql) else ''}{bare}", nulls)
