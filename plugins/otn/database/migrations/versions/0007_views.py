"""Views, roles, calibration."""

from __future__ import annotations

from otn.database.migrations import run_sql

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Run the plain SQL of the same number."""
    run_sql("0007_views.sql")
