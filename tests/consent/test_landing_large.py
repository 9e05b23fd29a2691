"""A hundred thousand lines, a tenth of them bad in ten ways: landed, and imported."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from otn.intake.import_lines import ImportFile
from otn.intake.importing import ImportResult, import_file
from tests.clean import database, emptied_url
from tests.consent.inbox import NOW
from tests.consent.shelf import FOLDER, Landing

__all__ = ["database", "emptied_url"]  # in place of a fresh database for each test

LINES = 100_000
EACH = 1000
BAD: dict[str, Callable[[int], str]] = {
    "line_unreadable": lambda number: '{"psid": "1", "token": "t' + str(number),
    "psid_missing": lambda number: good(number, psid=""),
    "psid_unusable": lambda number: good(number, psid=f"{number} {number}"),
    "token_missing": lambda number: good(number, token=None),
    "payload_missing": lambda number: good(number, payload=""),
    "opted_in_at_missing": lambda number: good(number, opted_in_at=None),
    "opted_in_at_unreadable": lambda number: good(number, opted_in_at="yesterday"),
    "opted_in_at_too_early": lambda number: good(number, opted_in_at="1999-12-31"),
    "opted_in_at_in_future": lambda number: good(number, opted_in_at=(NOW + timedelta(days=3)).isoformat()),
    "page_differs": lambda number: good(number, page="77"),
}


def good(number: int, **changes: Any) -> str:
    fields = {"psid": str(10**15 + number % 60_000), "token": f"token-{number}", "payload": f"show-{number % 7}"}
    return json.dumps(fields | {"opted_in_at": NOW.isoformat(), "source": "crm"} | changes)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of each hundred lines ten are bad, each in another way; of the good ones each ninth is there twice."""
    ways = list(BAD.values())
    file: Path = tmp_path_factory.mktemp("large") / "optins.jsonl"
    with file.open("w", encoding="utf-8") as stream:
        for number in range(LINES):
            place = number % 100
            bad, twin = place < 10, place % 9 == 1
            text = ways[place](number) if bad else good(number - 1 if twin and place > 10 else number)
            stream.write(text + "\n")
    return file


REFUSED = dict.fromkeys(sorted(BAD), EACH)
DUPLICATES = EACH * sum(place % 9 == 1 for place in range(11, 100))
FRESH = LINES - EACH * len(BAD) - DUPLICATES


def test_a_large_file_lands_once_and_each_line_is_accounted_for(inbox, path):
    landing = Landing(inbox)
    name = f"{FOLDER}/optins.jsonl"
    landing.shelf.files[name] = path.read_bytes()
    started = time.process_time()
    pulled = landing.pull()
    print(f"{LINES / (time.process_time() - started):,.0f} lines a second of our own time")
    assert (pulled.lines, pulled.imported, pulled.left_out) == (LINES, FRESH, EACH * len(BAD))
    assert landing.figures(name) == ("taken", LINES, FRESH, 0, DUPLICATES, 0, REFUSED)
    kept = inbox.rows("SELECT line, reason FROM otn.landing_refusal")
    assert len({row.line for row in kept}) == EACH * len(BAD)
    assert Counter(row.reason for row in kept) == REFUSED
    before = inbox.counts()
    assert before["token"] == FRESH
    assert landing.pull().lines == 0  # it lies there as it did
    landing.shelf.files[f"{FOLDER}/again.jsonl"] = path.read_bytes()
    landing.pull()
    assert landing.figures(f"{FOLDER}/again.jsonl") == ("taken", LINES, 0, 0, FRESH + DUPLICATES, 0, REFUSED)
    assert inbox.counts() == before


def test_a_large_file_is_imported_once_and_its_dry_run_says_the_same(inbox, page, path):
    def take(*, dry_run: bool = False) -> ImportResult:
        return import_file(inbox.database, inbox.keyring, page, ImportFile.at(path), actor="test", dry_run=dry_run)

    dry = take(dry_run=True)
    assert (dry.lines, dry.imported, dry.duplicate, dry.expired, dry.refused) == (LINES, FRESH, DUPLICATES, 0, REFUSED)
    assert inbox.counts()["token"] == 0
    assert take() == ImportResult(**{**vars(dry), "dry_run": False})
    before = inbox.counts()
    assert before["token"] == FRESH
    again = take()
    assert (again.imported, again.duplicate, again.refused) == (0, FRESH + DUPLICATES, REFUSED)
    assert inbox.counts() == before
