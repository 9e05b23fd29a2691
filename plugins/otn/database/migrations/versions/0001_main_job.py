"""The main job."""

from __future__ import annotations

from alembic import op

from otn.settings import sql_folder

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Run the plain SQL of the same number."""
    sql = (sql_folder() / "migrations" / "0001_main_job.sql").read_text(encoding="utf-8")
    # exec_driver_sql with no parameters: colons and percent signs are SQL's own here.
    op.get_bind().exec_driver_sql(sql.replace("%", "%%"))
