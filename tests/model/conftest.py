"""How long the model runs: the same short examples in the suite, ever new ones on demand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import create_engine, make_url, text

from otn.database import Engine, make_engine

LONG = "long"
SHORT = settings(
    max_examples=60,
    stateful_step_count=40,
    derandomize=True,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
settings.register_profile(LONG, SHORT, max_examples=5_000, stateful_step_count=60, derandomize=False)


@pytest.fixture
def database(database_url: str) -> Iterator[Engine]:
    """As everywhere, without waiting for the disk: no example cuts the power."""
    url = make_url(database_url)
    server = create_engine(url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f'ALTER DATABASE "{url.database}" SET synchronous_commit = off'))
    server.dispose()
    engine = make_engine(database_url, pool_size=3)
    yield engine
    engine.dispose()
