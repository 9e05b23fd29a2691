"""What became of people is noted by statement."""

from __future__ import annotations

from otn.database.migrations import run_sql

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Run the plain SQL of the same number."""
    run_sql("0016_outcomes.sql")
