"""Killed a hundred times between webhook and answer: nobody gets a second card, and what nobody knows is said."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from sqlalchemy.engine import Engine

from otn.asking.sending import Limits
from otn.responder.loop import Responder
from otn.settings import ROOT
from tests.asking.desk import Desk
from tests.clean import database, emptied_url
from tests.responder.hand import echo, finish, say, store

__all__ = ["database", "emptied_url"]

OUTSIDE = ("before ingest", "inside ingest", "after ingest", "before claim", "after record")
INSIDE = ("after claim", "before effect", "inside the call", "after effect", "before record")
TIMES = 10
SLOW_ANSWER_MS = 1_000
KILLED = "9"
KILLED_SOON = Limits(lease_s=2.5, call_s=1.5)  # these leases are waited for
PATIENCE_S = 60.0


@pytest.fixture
def nursery(emptied_url: str, environ: dict[str, str]) -> Iterator[Callable[[str], str]]:
    """Lets a responder live until it kills itself at a point; tells how it ended."""
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("killed.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT}", "PATH": ""},
    )
    assert process.stdin
    assert process.stdout
    words, answers = process.stdin, process.stdout

    def ask(line: str) -> str:
        words.write(line + "\n")
        words.flush()
        return answers.readline().strip()

    config = {"database": emptied_url, "environ": environ, "limits": asdict(KILLED_SOON)}
    assert ask(json.dumps(config)) == "warm"
    yield ask
    words.close()
    process.wait(30)
    answers.close()


@pytest.mark.usefixtures("word_rule")
def test_a_hundred_kills_between_webhook_and_answer(
    desk: Desk, nursery: Callable[[str], str], make_responder: Callable[..., Responder]
) -> None:
    restarted = make_responder()
    points = [point for point in (*OUTSIDE, *INSIDE) for _ in range(TIMES)]
    people = dict(zip(desk.people(len(points)), points, strict=True))
    began = time.monotonic()
    for psid, point in people.items():
        if point == "inside the call":
            desk.fault("delay", delay_ms=SLOW_ANSWER_MS, psid=psid)
        say(desk, psid, "restock")
        assert nursery(point) == KILLED, point
        finish(restarted, desk)
    seen, states = desk.seen(), state_of(desk.engine)
    for psid, point in people.items():
        if point in OUTSIDE:
            assert (seen[psid], states[psid]) == (1, "sent"), point
        else:
            assert seen[psid] == (0 if point in {"after claim", "before effect"} else 1), point
            assert states[psid] in {"sending", "unknown"}, point

    # The leases end, the restarted responder looks again and again: it calls nobody a second time.
    before = sum(seen.values())
    deadline = time.monotonic() + PATIENCE_S
    while "sending" in state_of(desk.engine).values():
        assert time.monotonic() < deadline
        finish(restarted, desk)
        time.sleep(0.2)
    for _ in range(3):
        finish(restarted, desk)
    assert desk.seen() == seen
    assert sum(desk.seen().values()) == before
    told = Counter((people[psid] in OUTSIDE, state) for psid, state in state_of(desk.engine).items())
    assert told == {(True, "sent"): len(OUTSIDE) * TIMES, (False, "unknown"): len(INSIDE) * TIMES}
    reasons = {row.reason for row in desk.sql("SELECT DISTINCT reason FROM otn.window_message WHERE state = 'unknown'")}
    assert reasons == {"lease_lost"}

    # What the platform echoes is known to be sent; the others stay unknown for ever.
    store(desk, *(echo(row) for row in desk.sandbox.ledger(desk.settings.page_id)))
    finish(restarted, desk)
    after = state_of(desk.engine)
    assert {psid for psid, state in after.items() if state == "sent"} == set(desk.seen())
    unheard = {psid for psid, point in people.items() if point in {"after claim", "before effect"}}
    assert {psid for psid, state in after.items() if state == "unknown"} == unheard
    print(f"{len(points)} kills in {time.monotonic() - began:.1f} s: {dict(told)}")


def state_of(engine: Engine) -> dict[str, str]:
    from otn.database import transaction

    with transaction(engine) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT s.psid, m.state::text FROM otn.window_message m JOIN otn.subscriber s ON s.id = m.subscriber_id"
        )
        rows = cursor.fetchall()
    assert len({psid for psid, _ in rows}) == len(rows), "one row for each word"
    return dict(rows)
