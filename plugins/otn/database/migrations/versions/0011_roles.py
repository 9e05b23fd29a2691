"""Roles."""

from __future__ import annotations

from otn.database.migrations import run_sql

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Run the plain SQL of the same number."""
    run_sql("0011_roles.sql")
