"""The epoch."""

from __future__ import annotations

from otn.database.migrations import run_sql

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Run the plain SQL of the same number."""
    run_sql("0009_epoch.sql")
