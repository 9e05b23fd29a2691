"""Silences."""

from __future__ import annotations

from otn.database.migrations import run_sql

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Run the plain SQL of the same number."""
    run_sql("0012_silences.sql")
