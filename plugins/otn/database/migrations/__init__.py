"""Alembic's side of the plain SQL in ``sql/migrations``."""
