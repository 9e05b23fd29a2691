"""Which version of the schema the code was written for, and whether it may run on the one that is there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from otn.database import DatabaseError, Engine, queries, transaction
from otn.errors import ConfigurationError, OtnError
from otn.settings import sql_folder

_UNDEFINED = ("42P01", "3F000")  # Postgres docs, error codes: undefined table, invalid schema name


class SchemaBehindError(OtnError):
    """The database has not the tables of this version. Run `./otn migrate`, then try again."""


class SchemaAheadError(OtnError):
    """The database was migrated to a version that this code is too old for. Run the newer code again, or restore the
    backup of before the upgrade.
    """  # noqa: D205 - the docstring is the message

    def __init__(self) -> None:
        super().__init__(" ".join(str(type(self).__doc__).split()))


@dataclass(frozen=True)
class Migration:
    """One step of the schema.

    Args:
        version: its number, such as ``0007``; the schema has this version once it ran.
        path: the plain SQL.
    """

    version: str
    path: Path

    @property
    def sql(self) -> str:
        """What it runs."""
        return self.path.read_text(encoding="utf-8")

    @property
    def subject(self) -> str:
        """What it is about: the first sentence of its file."""
        return self.sql.partition("\n")[0].removeprefix("--").partition(". ")[0].strip().rstrip(".")


def migrations() -> tuple[Migration, ...]:
    """All that this code knows, in their order.

    Raises:
        ConfigurationError: there are none where ``OTN_SQL_DIR`` points.
    """
    return _migrations(sql_folder() / "migrations")


@cache
def _migrations(folder: Path) -> tuple[Migration, ...]:
    found = tuple(Migration(path.name[:4], path) for path in sorted(folder.glob("[0-9]*.sql")))
    if not found:
        raise ConfigurationError(f"There are no migrations in {folder}. Set OTN_SQL_DIR to the project's sql folder.")
    return found


def check_schema(engine: Engine) -> None:
    """Refuse to work on a schema that this code was not written for.

    An older schema is refused: a call might be made whose result cannot be recorded. A newer one is served as long as
    it says so (``otn.oldest_code``), so that senders go on while a new version is rolled out.

    Raises:
        SchemaBehindError: it must be migrated first.
        SchemaAheadError: it was migrated too far for this code.
    """
    newest = migrations()[-1].version
    try:
        with transaction(engine) as connection:
            have = queries("schema").version(connection)
            ahead = have is not None and have > newest and queries("schema").oldest_code(connection) > newest
    except DatabaseError as error:
        if error.sqlstate in _UNDEFINED:
            raise SchemaBehindError from None
        raise
    if have is None or have < newest:
        raise SchemaBehindError
    if ahead:
        raise SchemaAheadError
