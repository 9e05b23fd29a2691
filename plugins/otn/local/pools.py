"""Airflow's pools that our tasks run in."""

from __future__ import annotations

from otn.database import PsycopgConnection
from otn.local.airflow_settings import POOLS


def missing_pools(connection: PsycopgConnection) -> dict[str, dict[str, object]]:
    """Pools that are not there, as `airflow pools import` reads them; those that an operator has resized stay.

    Args:
        connection: to Airflow's own database, which is migrated.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pool FROM slot_pool")
        there = {row[0] for row in cursor.fetchall()}
    return {name: pool for name, pool in POOLS.items() if name not in there}
