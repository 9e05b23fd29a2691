"""Recipients are counted anew after a large plan."""

from __future__ import annotations

from otn.database.migrations import run_sql

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Run the plain SQL of the same number."""
    run_sql("0017_statistics.sql")
