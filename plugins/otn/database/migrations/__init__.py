"""Alembic's side of the plain SQL in ``sql/migrations``."""

from __future__ import annotations

from alembic import op

from otn.settings import sql_folder


def run_sql(name: str) -> None:
    """Run a file of ``sql/migrations`` inside the migration's transaction.

    Args:
        name: of the file, such as ``0001_main_job.sql``.
    """
    sql = (sql_folder() / "migrations" / name).read_text(encoding="utf-8")
    # exec_driver_sql with no parameters: colons and percent signs are SQL's own here.
    op.get_bind().exec_driver_sql(sql.replace("%", "%%"))
