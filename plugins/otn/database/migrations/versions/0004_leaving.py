"""Leaving."""

from __future__ import annotations

from otn.database.migrations import run_sql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Run the plain SQL of the same number."""
    run_sql("0004_leaving.sql")
