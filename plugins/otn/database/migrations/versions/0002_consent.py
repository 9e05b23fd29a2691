"""Consent: references, rules, window messages, silence by topic, erasure."""

from __future__ import annotations

from otn.database.migrations import run_sql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Run the plain SQL of the same number."""
    run_sql("0002_consent.sql")
