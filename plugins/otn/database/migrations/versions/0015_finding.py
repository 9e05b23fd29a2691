"""Finding people by name, and those whom a campaign did not reach."""

from __future__ import annotations

from otn.database.migrations import run_sql

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Run the plain SQL of the same number."""
    run_sql("0015_finding.sql")
