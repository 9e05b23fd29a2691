"""What people get to see on terminals of different widths."""

from __future__ import annotations

import pytest
from rich.console import Console

from otn.cli import screen

COLUMNS = ("key", "opted_in_at", "unspent")
ROWS = (("restock", "2027-03-01 09:00:00+00:00", 1), ("a-very-long-key-without-any-space", "", True))


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (
            80,
            [
                "key                                opted_in_at                unspent",
                "restock                            2027-03-01 09:00:00+00:00        1",
                "a-very-long-key-without-any-space                                 yes",
            ],
        ),
        (
            40,
            [
                "key          restock",
                "opted_in_at  2027-03-01 09:00:00+00:00",
                "unspent      1",
                "",
                "key          a-very-long-key-without-any",
                "             -space",
                "unspent      yes",
            ],
        ),
    ],
)
def test_a_table_that_does_not_fit_becomes_blocks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int, shown: list[str]
) -> None:
    monkeypatch.setattr(screen, "out", lambda: Console(width=width))
    screen.print_table(COLUMNS, ROWS, right=["unspent"])
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == shown


def test_a_table_without_headings_has_no_empty_line(capsys: pytest.CaptureFixture[str]) -> None:
    screen.print_table(("", ""), [("key", "restock")])
    assert capsys.readouterr().out.split() == ["key", "restock"]
    screen.print_table(("", ""), [])
    screen.print_table(("", "people"), [("sent", "2")], right=["people"])
    assert "people" in capsys.readouterr().out
