from __future__ import annotations

import pytest
import requests

from .conftest import VERIFY_TOKEN, Receiver


def ask(receiver: Receiver, **changed: str | None) -> requests.Response:
    query = {"hub.mode": "subscribe", "hub.challenge": "1158201444", "hub.verify_token": VERIFY_TOKEN}
    names = {"mode": "hub.mode", "challenge": "hub.challenge", "token": "hub.verify_token"}
    query |= {names[name]: value for name, value in changed.items()}
    return requests.get(f"{receiver.url}/webhook", params=query, timeout=30)


@pytest.mark.parametrize("challenge", ["1158201444", "any text <b>&amp;</b> ä 🎉", "x" * 1_024])
def test_the_bare_challenge_comes_back_unchanged(receiver: Receiver, challenge: str) -> None:
    answer = ask(receiver, challenge=challenge)
    assert (answer.status_code, answer.content) == (200, challenge.encode())
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "changed",
    [
        {"token": "another"},
        {"token": VERIFY_TOKEN + " "},
        {"token": ""},
        {"token": None},
        {"token": "ä\x00🎉"},
        {"mode": "unsubscribe"},
        {"mode": None},
        {"challenge": None},
        {"challenge": "x" * 1_025},
    ],
)
def test_whoever_does_not_know_the_token_gets_403_and_no_echo(receiver: Receiver, changed: dict[str, str]) -> None:
    answer = ask(receiver, **changed)
    assert answer.status_code == 403
    assert "1158201444" not in answer.text
    assert "xxx" not in answer.text


def test_nothing_else_is_served(receiver: Receiver) -> None:
    for path in ("/", "/docs", "/openapi.json", "/deletion/x"):
        assert requests.post(f"{receiver.url}{path}", timeout=30).status_code == 404
    assert requests.put(f"{receiver.url}/webhook", timeout=30).status_code == 405
