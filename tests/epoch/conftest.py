"""A page on the sandbox, its database, and the file that says how far it has called."""

from __future__ import annotations

from pathlib import Path

import pytest

from otn.epoch.file import VARIABLE, EpochFile
from tests.asking.conftest import make_desk
from tests.campaign.conftest import make_stage, sandbox, stage

__all__ = ["make_desk", "make_stage", "sandbox", "stage"]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EpochFile:
    """The epoch's file of this process; it is made by the first claim."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "kept" / "epoch.json"))
    return EpochFile(tmp_path / "kept" / "epoch.json")
