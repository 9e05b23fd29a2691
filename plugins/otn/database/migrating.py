"""Apply the plain SQL of ``sql/migrations`` by Alembic."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import NullPool, create_engine, text

SCHEMA = "otn"
_LOCK = 7_065_874  # any number that nobody else locks: two migrating processes wait for each other


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


def migrate(url: str) -> None:
    """Bring the schema to the newest version; safe twice, and from two processes at once.

    Args:
        url: ``postgresql+psycopg2://…`` of the project's database.
    """
    config = _config()
    engine = create_engine(url, poolclass=NullPool, connect_args={"options": "-c timezone=UTC"}, hide_parameters=True)
    try:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.execute(
                text("SELECT otn.make_webhook_partitions((clock_timestamp() AT TIME ZONE 'UTC')::date - 1, 10)")
            )
    finally:
        engine.dispose()


def schema_version(url: str) -> tuple[str | None, str | None]:
    """The version that the database has, and the newest that the code knows."""
    engine = create_engine(url, poolclass=NullPool, hide_parameters=True)
    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"version_table_schema": SCHEMA})
            return context.get_current_revision(), ScriptDirectory.from_config(_config()).get_current_head()
    finally:
        engine.dispose()
