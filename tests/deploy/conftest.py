"""A ``.env`` as the command makes it, and the compose file with its values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from otn.local.env_file import write_env
from tests.deploy import compose_file


@pytest.fixture(scope="session")
def dotenv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dotenv") / ".env"
    write_env(path)
    return path


@pytest.fixture(scope="session")
def compose(dotenv: Path) -> dict[str, Any]:
    return compose_file.filled(dotenv)


@pytest.fixture(scope="session")
def services(compose: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = compose["services"]
    return found
