"""Tests of a message."""

from __future__ import annotations

from otn.database.migrations import run_sql

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Run the plain SQL of the same number."""
    run_sql("0014_test_message.sql")
