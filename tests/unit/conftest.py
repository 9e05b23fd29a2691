"""Most of these tests need no database; those that do share one."""

from __future__ import annotations

from tests.clean import database, emptied_url

__all__ = ["database", "emptied_url"]
