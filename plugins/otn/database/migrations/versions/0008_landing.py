"""Landing."""

from __future__ import annotations

from otn.database.migrations import run_sql

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Run the plain SQL of the same number."""
    run_sql("0008_landing.sql")
