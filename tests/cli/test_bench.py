from __future__ import annotations

from .conftest import Shell


def test_a_benchmark_that_does_not_exist_is_told_with_those_that_do(otn: Shell) -> None:
    said = otn("bench", "nonsense", code=2)
    assert said.stdout == ""
    assert "receiver" in said.stderr
