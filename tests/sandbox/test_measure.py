"""The measure itself works; its figure is for `python -m sandbox.measure` on a quiet machine."""

from __future__ import annotations

import pytest

from sandbox.measure import measure


@pytest.mark.parametrize("form", [True, False])
def test_every_batched_send_of_the_measure_is_in_the_ledger(form):
    figures = measure(sends=2000, threads=2, form=form)
    assert figures["accepted"] == figures["in_ledger"] == 2000
    assert figures["sends_per_cpu_s"] > 1000
