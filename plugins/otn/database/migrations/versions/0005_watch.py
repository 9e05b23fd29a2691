"""Watch."""

from __future__ import annotations

from otn.database.migrations import run_sql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Run the plain SQL of the same number."""
    run_sql("0005_watch.sql")
