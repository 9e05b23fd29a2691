"""Whoever takes a landed file is killed in its midst: afterwards everything is there, once, and counted exactly."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from otn.crypto import Keyring, new_key, read_keyring
from otn.settings import ROOT
from tests.clean import database, emptied_url
from tests.consent.inbox import body, optin
from tests.consent.killed_landing import POINTS
from tests.consent.shelf import FOLDER, Landing, line

__all__ = ["database", "emptied_url"]  # in place of a fresh database for each test

FILES = 8
LINES = 24
KEYS = {"OTN_ENCRYPTION_KEYS": new_key(), "OTN_HASH_KEY": new_key()}


@pytest.fixture
def keyring() -> Keyring:
    return read_keyring(KEYS)


@pytest.fixture
def landing(inbox: Any) -> Landing:
    """Each fourth line is bad, each fifth a webhook, each sixth there twice."""
    landing = Landing(inbox)
    for file in range(FILES):
        lines: list[Any] = []
        for number in range(LINES):
            token = f"{file}-{number:03}"
            if number % 4 == 3:
                lines.append(line(token, opted_in_at=None))
            elif number % 5 == 4:
                lines.append(body(optin(token, psid=f"7{number}")).decode())
            else:
                lines.append(lines[number - 1] if number % 6 == 1 else line(token))
        landing.put(f"{FOLDER}/{file}.jsonl", *lines)
    return landing


@pytest.fixture
def kill_at(landing: Landing, emptied_url: str) -> Iterator[Callable[[str], int]]:
    """Lets a reader die at a point; answers the signal that ended it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.consent.killed_landing"],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT}", "PATH": "/usr/bin:/bin"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = process.stdin, process.stdout
    files = {name: data.decode() for name, data in landing.shelf.files.items() if isinstance(data, bytes)}
    stdin.write(json.dumps({"url": emptied_url, "keys": KEYS, "files": files}) + "\n")

    def kill_at(point: str) -> int:
        stdin.write(f"{point}\n")
        stdin.flush()
        said = stdout.readline()
        while said and not said.strip().isdigit():  # what a reader logs
            said = stdout.readline()
        return int(said)

    yield kill_at
    stdin.close()
    process.wait(30)
    stdout.close()


def test_a_reader_that_is_killed_anywhere_loses_nothing_and_repeats_nothing(landing, inbox, kill_at):
    deaths = []
    for _ in range(2):
        for point in POINTS:
            landing.pass_time()
            deaths.append((point, kill_at(point)))
    assert deaths == [(point, signal.SIGKILL) for point in POINTS] * 2
    assert {row.state for row in inbox.rows("SELECT state FROM otn.landing_file")} == {"waiting", "taken"}
    landing.pass_time()
    landing.pull()
    bad, raw = LINES // 4, sum(n % 4 != 3 and n % 5 == 4 for n in range(LINES))
    for file in range(FILES):
        state, lines, imported, webhooks, duplicate, expired, reasons = landing.figures(f"{FOLDER}/{file}.jsonl")
        assert (state, lines, webhooks, expired, reasons) == ("taken", LINES, raw, 0, {"opted_in_at_missing": bad})
        assert duplicate > 0
        assert imported + duplicate == LINES - raw - bad
    imported = inbox.value("SELECT sum(imported) FROM otn.landing_file")
    assert inbox.counts()["token"] == imported
    assert inbox.value("SELECT count(*) FROM otn.webhook_event") == FILES * raw
    assert inbox.ingest().optins_new == FILES * raw
    assert inbox.value("SELECT count(*) FROM otn.audit WHERE action = 'landed'") == FILES
    assert inbox.value("SELECT count(*) FROM otn.landing_refusal") == FILES * bad
