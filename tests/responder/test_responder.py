from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from otn.crypto import new_key, read_keyring
from otn.intake.ingest import ingest_pending
from otn.local.logins import SENDER
from otn.responder import loop
from otn.responder.loop import Responder
from otn.settings import ROOT
from tests.asking.desk import Desk
from tests.awaiting import eventually
from tests.clean import database, emptied_url
from tests.consent.inbox import Inbox, body, message
from tests.logins import url_of
from tests.responder.conftest import connection
from tests.responder.hand import finish, say, store, tap

__all__ = ["database", "emptied_url"]

MakeResponder = Callable[..., Responder]
PATIENCE_S = 60.0


@contextmanager
def running(*responders: Responder) -> Iterator[None]:
    """Each in a thread of its own, told to end whatever becomes of the test."""
    stop = threading.Event()
    threads = [threading.Thread(target=one.run, args=(stop,), daemon=True) for one in responders]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(PATIENCE_S)
    assert not any(thread.is_alive() for thread in threads), "a responder does not end"


@pytest.mark.usefixtures("word_rule")
def test_a_word_gets_a_card_the_tap_is_thanked_and_the_word_again_finds_the_token(
    desk: Desk, make_responder: MakeResponder
) -> None:
    desk.sql('UPDATE otn.topic SET reply = \'{"text": "Thank you!"}\'')
    responder, psid = make_responder(), desk.people()[0]
    say(desk, psid, " Restock! ")
    finish(responder, desk)
    assert [row["kind"] for row in desk.sandbox.ledger(desk.settings.page_id)] == ["one_time_notif_req"]
    token = desk.sandbox.tap(desk.settings.page_id, psid, webhook=False)
    tap(desk, psid, token)
    finish(responder, desk)
    assert [row["text"] for row in desk.sandbox.ledger(desk.settings.page_id)][1:] == ["Thank you!"]
    assert desk.sql("SELECT count(*) FROM otn.window_message WHERE tapped_at IS NOT NULL")[0][0] == 1
    say(desk, psid, "restock")
    finish(responder, desk)
    assert desk.seen() == {psid: 2}
    assert desk.sql("SELECT reason FROM otn.window_message ORDER BY id DESC LIMIT 1") == [("has_token",)]


@pytest.mark.usefixtures("word_rule")
def test_a_stop_word_right_after_the_word(desk: Desk, make_responder: MakeResponder) -> None:
    responder, psid = make_responder(), desk.people()[0]
    say(desk, psid, "restock")
    time.sleep(0.01)
    say(desk, psid, "STOP")
    finish(responder, desk)
    shown = [row["kind"] for row in desk.sandbox.ledger(desk.settings.page_id)]
    assert shown == ["text"], "the confirmation, and no card"


@pytest.mark.usefixtures("word_rule")
def test_the_same_webhook_twice_is_answered_once(desk: Desk, make_responder: MakeResponder) -> None:
    responder, psid = make_responder(), desk.people()[0]
    said = message("restock", psid=psid, page=desk.settings.page_id)
    store(desk, said)
    store(desk, said, said)
    finish(responder, desk)
    assert desk.seen() == {psid: 1}


@pytest.mark.usefixtures("word_rule")
def test_two_responders_at_once_answer_each_word_once(desk: Desk, make_responder: MakeResponder) -> None:
    people = desk.people(40)
    with running(make_responder(), make_responder()):
        for psid in people:
            say(desk, psid, "restock")
        eventually(lambda: len(desk.seen()) == len(people), "an answer to everybody")
    assert desk.seen() == dict.fromkeys(people, 1)
    assert desk.states() == {"sent": len(people)}


@pytest.mark.usefixtures("word_rule")
def test_a_page_without_a_connection_does_not_silence_the_others(
    desk: Desk, make_desk: Any, make_responder: MakeResponder
) -> None:
    silent = make_desk(connection_id="not_defined")
    wrong = make_desk(connection_id="wrong_page")
    answered, theirs, others = desk.people()[0], silent.people()[0], wrong.people()[0]
    silent.answer(theirs)
    wrong.answer(others)
    responder = make_responder(AIRFLOW_CONN_WRONG_PAGE=connection(desk)["AIRFLOW_CONN_MESSENGER_DEFAULT"])
    say(desk, answered, "restock")
    for _ in range(3):
        responder.step()
        time.sleep(0.05)
    eventually(desk.seen, "an answer")
    assert desk.seen() == {answered: 1}
    assert not silent.seen()
    assert not wrong.seen()


@pytest.mark.usefixtures("word_rule")
def test_a_webhook_of_a_lost_key_does_not_hold_up_the_others(desk: Desk, make_responder: MakeResponder) -> None:
    responder, psid = make_responder(), desk.people()[0]
    other = read_keyring({"OTN_ENCRYPTION_KEYS": new_key(), "OTN_HASH_KEY": new_key()})
    Inbox(desk.engine, desk.keyring).put(body(message("restock", psid="1"), page=desk.settings.page_id), keyring=other)
    say(desk, psid, "restock")
    responder.step()
    eventually(lambda: desk.seen() == {psid: 1}, "an answer")
    assert not responder._is_due("ingest", 0.0), "it is not tried at each look"


def test_asks_are_left_to_their_run(desk: Desk, make_responder: MakeResponder) -> None:
    desk.people(1)
    desk.open()
    finish(make_responder(), desk)
    assert desk.states() == {"waiting": 1}


@pytest.mark.usefixtures("word_rule")
def test_postgres_goes_away_and_comes_back(
    desk: Desk, make_responder: MakeResponder, monkeypatch: pytest.MonkeyPatch
) -> None:
    responder, psid = make_responder(), desk.people()[0]
    real, away = ingest_pending, [3]

    def broken(*arguments: Any, **named: Any) -> Any:
        if away[0]:
            away[0] -= 1
            desk.sql("SELECT pg_terminate_backend(pg_backend_pid())")
        return real(*arguments, **named)

    monkeypatch.setattr(loop, "ingest_pending", broken)
    monkeypatch.setattr(loop, "AWAY_S", (0.01, 0.02))
    with running(responder):
        say(desk, psid, "restock")
        eventually(lambda: desk.seen() == {psid: 1}, "an answer after the outage")
    assert away == [0]


@pytest.mark.usefixtures("word_rule")
def test_the_process_answers_within_two_seconds_and_finishes_its_call_when_it_is_told_to_end(
    desk: Desk, environ: dict[str, str], emptied_url: str
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", "from otn.responder import serve; serve()"],
        env={
            **environ,
            SENDER.variable: url_as_connection(url_of(SENDER, emptied_url)),
            "PYTHONPATH": str(ROOT / "plugins"),
            "PATH": "",
        },
        stderr=subprocess.PIPE,
        text=True,
    )
    here = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'otn responder'"
    try:
        eventually(lambda: desk.sql(here)[0][0], "the start of the responder")
        *people, second = desk.people(4)
        waited = []
        for psid in people:
            say(desk, psid, "restock")
            said = time.monotonic()
            eventually(lambda psid=psid: desk.seen()[psid], "an answer")  # type: ignore[misc]
            waited.append(time.monotonic() - said)
        print("from the stored webhook to the card:", ", ".join(f"{seconds:.2f} s" for seconds in waited))
        desk.fault("delay", delay_ms=600, psid=second)
        say(desk, second, "restock")
        eventually(lambda: desk.seen()[second], "an answer")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        _, log = process.communicate()
    assert min(waited) < 2.0
    assert desk.states() == {"sent": 4}
    assert "stopped" in log
    assert not [psid for psid in (*people, second) if psid in log]
    assert desk.settings.access_token not in log


def url_as_connection(url: str) -> str:
    from sqlalchemy import make_url

    parts = make_url(url)
    values = {"host": parts.host, "port": parts.port, "login": parts.username, "password": parts.password}
    return json.dumps({"conn_type": "postgres", "schema": parts.database, **values})
