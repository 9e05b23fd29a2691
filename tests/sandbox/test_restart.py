"""The ledger, the log of calls, and what a journal keeps over kill -9."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
import requests

from sandbox import process
from sandbox.control_client import SandboxError
from sandbox.process import ROOT


def spend(handle, page, token, **message):
    return requests.post(
        f"{handle.url}/me/messages",
        headers={"Authorization": f"Bearer {page['access_token']}"},
        json={"recipient": {"one_time_notif_token": token}, "message": {"text": "x", **message}},
        timeout=30,
    )


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "journal"


def test_kill_loses_nothing_that_was_answered(journal, receiver):
    handle = process.start(journal, seed=3)
    control = handle.control
    page = control.page(webhook_url=receiver.url)
    control.people(page["page_id"], 20)
    control.faults(mix={"unreachable": 0.3})
    control.delivery(entries_per_post=7)
    control.token_answers(alike=True)
    rows = control.optins(page["page_id"], "news", list_tokens=True)["rows"]
    control.block(page["page_id"], [rows[0]["psid"]], family="551")
    control.expire([rows[1]["token"]])
    for row in rows:
        spend(handle, page, row["token"], metadata=row["psid"])
    kept = [list(control.rows(name)) for name in ("ledger", "calls", "tokens", "people")]
    summary = control.summary()
    assert handle.kill() < 0

    with process.start(journal, seed=3) as again:
        control = again.control
        assert [list(control.rows(name)) for name in ("ledger", "calls", "tokens", "people")] == kept
        assert control.summary() == summary
        assert control.pages() == [page]
        assert control.faults()["mix"] == {"unreachable": 0.3}
        assert control.delivery()["entries_per_post"] == 7
        assert control.token_answers()["alike"]
        control.clear_faults()
        spent = next(row["token"] for row in kept[0])
        assert spend(again, page, spent).status_code == 400
        fresh = next(row["token"] for row in kept[2] if row["mid"] is None and row["token"] != rows[1]["token"])
        control.unblock(page["page_id"])
        mid = spend(again, page, fresh).json()["message_id"]
        assert mid not in {row["mid"] for row in kept[0]}


def test_kill_in_the_middle_of_sending_keeps_every_accepted_message(journal):
    handle = process.start(journal)
    page = handle.control.page()
    handle.control.people(page["page_id"], 5000, profiles="empty")
    rows = handle.control.optins(page["page_id"], "x", list_tokens=True)["rows"]
    accepted: list[str] = []
    enough, killed = threading.Event(), threading.Event()

    def send(some):
        for at in range(0, len(some), 10):
            items = [
                {
                    "method": "POST",
                    "relative_url": "me/messages",
                    "body": f'recipient={{"one_time_notif_token":"{row["token"]}"}}&message={{"text":"x"}}',
                }
                for row in some[at : at + 10]
            ]
            try:
                body = {"batch": items, "access_token": page["access_token"]}
                answer = requests.post(f"{handle.url}/", json=body, timeout=30).json()
            except requests.RequestException:
                return
            accepted.extend(json.loads(part["body"])["message_id"] for part in answer)
            if len(accepted) > 500:
                enough.set()
            if len(accepted) > 1500:
                killed.wait(60)

    threads = [threading.Thread(target=send, args=(rows[number::3],), daemon=True) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        assert enough.wait(60)
    finally:
        handle.kill()
        killed.set()
    for thread in threads:
        thread.join(60)
    assert len(accepted) < 5000, "the sandbox was killed too late to show anything"
    with process.start(journal) as again:
        seen = {row["mid"]: row["token"] for row in again.control.ledger()}
        assert set(accepted) <= set(seen)
        assert len(set(seen.values())) == len(seen)
        spent = {row["token"] for row in again.control.tokens() if row["mid"] is not None}
        assert spent == set(seen.values())


def test_optins_not_acknowledged_before_the_kill_are_delivered_after_it(journal, receiver):
    handle = process.start(journal)
    page = handle.control.page(webhook_url="http://127.0.0.1:9/webhook", handshake=False)
    handle.control.people(page["page_id"], 30)
    handle.control.optins(page["page_id"], "news")
    handle.kill()
    with process.start(journal) as again:
        again.control.page(page["page_id"], webhook_url=receiver.url)
        again.control.flush()
        told = [event["optin"]["one_time_notif_token"] for event in receiver.of("optin")]
        assert sorted(told) == sorted(row["token"] for row in again.control.tokens())
    with process.start(journal) as third:
        assert third.control.outbox()["pending"] == 0


def test_torn_last_line_is_cut_off(journal):
    with process.start(journal) as handle:
        page = handle.control.page()
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'["people","' + b"1" * 10)
    with process.start(journal) as again:
        assert [row["page_id"] for row in again.control.pages()] == [page["page_id"]]
        again.control.people(page["page_id"], 1)
    with process.start(journal) as third:
        assert len(list(third.control.persons())) == 1


def test_reset_forgets_the_journal_too(journal):
    with process.start(journal) as handle:
        page = handle.control.page()
        handle.control.people(page["page_id"], 3)
        handle.control.reset()
        assert handle.control.pages() == []
    with process.start(journal) as again:
        assert again.control.health()["people"] == 0


def test_journal_is_for_its_owner_only(journal):
    with process.start(journal) as handle:
        handle.control.page()
    assert journal.stat().st_mode & 0o077 == 0


def test_port_file_and_orderly_end(tmp_path):
    file = tmp_path / "port"
    command = [sys.executable, "-m", "sandbox", "--port", "0", "--port-file", str(file)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as started:
        url = started.stdout.readline().removeprefix(process.SAID).strip()
        assert url == f"http://127.0.0.1:{int(file.read_text())}"
        requests.get(f"{url}/_sandbox/health", timeout=30).raise_for_status()
        started.terminate()
        assert started.wait(20) == 0


def test_caller_that_breaks_off_leaves_no_sandbox_behind():
    code = "from sandbox import process; handle = process.start(); print(handle.process.pid); raise SystemExit(3)"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == 3
    assert not psutil.pid_exists(int(ended.stdout))


def test_port_in_use_is_told(tmp_path):
    with process.start() as handle, pytest.raises(RuntimeError, match="did not listen"):
        process.start(port=int(handle.url.rpartition(":")[2]))


def test_calls_are_in_the_order_they_were_taken_up(sandbox, caller, tokens):
    for row in (tokens[2], tokens[0], tokens[2]):
        caller.spend(row["token"], {"text": "x", "metadata": row["psid"]})
    caller.send({"id": tokens[1]["psid"]})
    rows = list(sandbox.control.calls())
    assert [row["token"] for row in rows] == [tokens[2]["token"], tokens[0]["token"], tokens[2]["token"]]
    assert [row["effect"] for row in rows] == [True, True, False]
    assert [row["answer"]["status"] for row in rows] == [200, 200, 400]
    assert [row["at_ms"] for row in rows] == sorted(row["at_ms"] for row in rows)
    assert rows[0]["psid"] == rows[0]["metadata"] == tokens[2]["psid"]
    assert len(list(sandbox.control.calls(every=True))) == 4


def test_call_with_a_bad_access_token_is_logged_too(sandbox, caller, tokens):
    caller.post(headers={}, json={"recipient": {"one_time_notif_token": tokens[0]["token"]}, "message": {"text": "x"}})
    [row] = sandbox.control.calls()
    assert (row["token"], row["page_id"], row["effect"], row["answer"]["code"]) == (
        tokens[0]["token"],
        None,
        False,
        190,
    )


def test_summary_counts_what_the_ledger_holds(sandbox, caller, tokens):
    sandbox.control.window(caller.page_id)
    for row in tokens[:3]:
        caller.spend(row["token"], {"text": "same"})
    caller.send({"id": tokens[0]["psid"]}, {"text": "same"})
    summary = sandbox.control.summary()
    assert (summary["messages"], summary["people"], summary["tokens_spent"]) == (4, 3, 3)
    assert (summary["most_per_token"], summary["most_per_person"]) == (1, 1)
    assert summary["most_same_message_per_person"] == 2
    assert sandbox.control.summary("1")["messages"] == 0
    assert len(list(sandbox.control.ledger(caller.page_id, kind="text"))) == 4


@pytest.mark.parametrize(
    ("method", "name", "values", "says"),
    [
        ("POST", "people", {}, "page_id"),
        ("POST", "people", {"page_id": "1"}, "no page"),
        ("POST", "pages", {"colour": 1}, "no colour"),
        ("POST", "pages", {"app_id": "abc"}, "digits"),
        ("POST", "say", {"page_id": "1", "psid": "2", "text": "x"}, "no page"),
        ("POST", "expire", {"tokens": ["x"]}, "unknown"),
        ("POST", "token-answers", {"stale": {}}, "unknown"),
        ("POST", "delivery", {"entries_per_post": 1001}, "1000"),
        ("POST", "delivery", {"speed": 1}, "speed"),
        ("GET", "weather", None, "no GET"),
        ("POST", "tap", {"page_id": "1"}, "psid"),
    ],
)
def test_wrong_control_calls_are_refused_in_a_sentence(sandbox, method, name, values, says):
    with pytest.raises(SandboxError, match=says):
        sandbox.control.call(method, name, values)


def test_twenty_thousand_people_are_all_different_and_drawn_by_the_shares(sandbox, caller):
    control = sandbox.control
    psids = control.people(caller.page_id, 20_000, blocked_share=0.1)
    made = control.optins(caller.page_id, "x", tokens_per_person=[1, 3])
    assert len(set(psids)) == made["people"] == 20_000
    assert 36_000 < made["tokens"] < 44_000
    assert 1_500 < sum(person["blocked"] is not None for person in control.persons()) < 2_500
    assert min(int(psid) for psid in psids) > 2**53


def test_hostile_names_survive_profile_and_journal(journal):
    names = ["\u0000", "\u202e", "{{ 7*7 }}", "😀" * 50, '"', "\\", "</script>", ""]
    with process.start(journal) as handle:
        page = handle.control.page()
        for name in names:
            handle.control.people(page["page_id"], profiles={"first_name": name})
    with process.start(journal) as again:
        for person, name in zip(again.control.persons(), names, strict=True):
            query = {"fields": "first_name", "access_token": page["access_token"]}
            answer = requests.get(f"{again.url}/{person['psid']}", params=query, timeout=30)
            assert answer.json()["first_name"] == name
            assert answer.text.isascii()


def test_house_stands_alone():
    imported = [
        line
        for path in Path(ROOT, "sandbox").glob("*.py")
        for line in path.read_text().splitlines()
        if line.strip().startswith(("import otn", "from otn", "import airflow", "from airflow"))
    ]
    assert imported == []
