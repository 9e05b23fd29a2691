"""``./otn landing``: what became of files that others dropped, and what is to become of them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from otn.consent import pages
from otn.crypto import read_keyring
from otn.database import Engine, transaction
from tests.cli.conftest import Inside
from tests.consent.inbox import Inbox, page_settings
from tests.consent.shelf import FOLDER, Landing, content, line


@pytest.fixture
def landing(database: Engine, inside: Inside) -> Landing:
    with transaction(database) as connection:
        pages.register(connection, page_settings())
    return Landing(Inbox(database, read_keyring(inside.environ)))


def test_files_are_shown_retried_and_dismissed(landing: Landing, inside: Inside) -> None:
    assert "Nothing has landed" in inside("landing", "list").stdout
    landing.put(f"{FOLDER}/a.jsonl", line("a"), line("b", opted_in_at=None), "{broken")
    landing.shelf.files[f"{FOLDER}/b\x1b[31m.jsonl"] = content(line("c"))
    landing.pull()
    landing.inbox.rows(
        "UPDATE otn.landing_file SET state = 'refused', error = 'truncated', taken_at = NULL WHERE id = 2"
    )
    shown = inside("landing", "list").stdout
    assert "opted_in_at_missing: 1" in shown
    assert "truncated" in shown
    assert "\x1b" not in shown
    found: Any = inside.json("landing", "list", "--state", "taken")
    assert [(one["id"], one["lines"], one["imported"], one["reasons"]) for one in found["files"]] == [
        (1, 3, 1, {"line_unreadable": 1, "opted_in_at_missing": 1})
    ]
    assert [(one["url"], one["taken"], one["refused"]) for one in found["landings"]] == [(landing.shelf.url, 1, 1)]
    rows = list(csv.reader(io.StringIO(inside("landing", "refusals", f"{FOLDER}/a.jsonl").stdout)))
    assert rows == [["line", "reason"], ["2", "opted_in_at_missing"], ["3", "line_unreadable"]]
    assert inside.json("landing", "dismiss") == {"dismissed": 1}
    assert inside.json("landing", "retry", "2", f"{FOLDER}/a.jsonl") == {"retried": 2}
    landing.pull()
    assert {one["state"] for one in inside.json("landing", "list")["files"]} == {"taken"}
    missing = inside("landing", "retry", "nothing.jsonl", code=2)
    assert "No file 'nothing.jsonl' has landed" in missing.stderr
    actions = {row.action for row in landing.inbox.rows("SELECT action FROM otn.audit")}
    assert actions >= {"landed", "landing retried", "landing dismissed"}


def test_a_check_judges_as_the_landing_does(landing: Landing, inside: Inside, tmp_path: Path) -> None:
    path, rejects = tmp_path / "new.jsonl", tmp_path / "rejects.csv"
    path.write_bytes(content(line("a"), line("a"), line("b", page="77"), json.dumps({"object": "page"})))
    figures = inside.json("landing", "check", str(path), "--page", FOLDER, "--rejects", str(rejects))
    assert figures == {
        "lines": 4, "imported": 1, "webhooks": 0, "duplicate": 1, "expired": 0, "refused": {"page_differs": 2}
    }  # fmt: skip
    assert rejects.read_text().splitlines() == ["line,reason", "3,page_differs", "4,page_differs"]
    assert "refused: page_missing" in inside("landing", "check", str(path)).stdout
    assert landing.inbox.counts()["token"] == 0
    assert "cannot be read" in inside("landing", "check", str(tmp_path / "none.jsonl"), code=2).stderr
