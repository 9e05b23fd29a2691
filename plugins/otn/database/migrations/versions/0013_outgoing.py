"""Results that go out to other systems."""

from __future__ import annotations

from otn.database.migrations import run_sql

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Run the plain SQL of the same number."""
    run_sql("0013_outgoing.sql")
