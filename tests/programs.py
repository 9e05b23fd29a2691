"""Programs of the system that a few tests need beside Python."""

from __future__ import annotations

import os
import shutil

import pytest


def require(program: str, package: str) -> None:
    """Skip the test, with the reason, where a program is not installed; under ``CI=true`` fail it.

    Args:
        program: looked for on the PATH.
        package: of the system, which brings it.
    """
    if shutil.which(program) is not None:
        return
    reason = f"the program {program} is not installed (package {package})"
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}; .ci/run installs it")
    pytest.skip(reason)
