"""Alembic's entry: the connection comes from ``otn.database.migrating``, which holds the lock."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"], version_table_schema="otn")
context.run_migrations()
