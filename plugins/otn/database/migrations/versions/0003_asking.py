"""Asking."""

from __future__ import annotations

from otn.database.migrations import run_sql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Run the plain SQL of the same number."""
    run_sql("0003_asking.sql")
