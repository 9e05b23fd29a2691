"""The main job."""

from __future__ import annotations

from otn.database.migrations import run_sql

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Run the plain SQL of the same number."""
    run_sql("0001_main_job.sql")
