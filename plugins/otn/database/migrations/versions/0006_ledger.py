"""Ledger."""

from __future__ import annotations

from otn.database.migrations import run_sql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Run the plain SQL of the same number."""
    run_sql("0006_ledger.sql")
