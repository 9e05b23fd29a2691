from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from otn.database import Engine, transaction

from .conftest import APP_SECRET, ENVIRON, Receiver
from .test_outage import gate, through_gate

__all__ = ["gate", "through_gate"]
PERSON = {"algorithm": "HMAC-SHA256", "issued_at": 1_700_000_000, "expires": 0, "user_id": "218471"}


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def signed_request(payload: Any = PERSON, secret: str = APP_SECRET) -> str:
    text = encoded(json.dumps(payload).encode())
    return f"{encoded(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest())}.{text}"


def ask(receiver: Receiver, text: str | None = None, **options: Any) -> requests.Response:
    form = {"signed_request": signed_request() if text is None else text}
    return requests.post(f"{receiver.url}/data-deletion", data=form, timeout=30, **options)


def rows(database: Engine) -> list[Any]:
    with transaction(database) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT code, user_id, user_hash, state FROM otn.deletion_request ORDER BY received_at")
        return list(cursor.fetchall())


def finish(database: Engine, people: int) -> None:
    with transaction(database) as connection, connection.cursor() as cursor:
        cursor.execute(
            "UPDATE otn.deletion_request SET state = 'done', user_id = NULL, people = %s, done_at = clock_timestamp()",
            [people],
        )


def test_a_request_is_written_down_and_answered_with_an_address_and_its_code(receiver: Receiver) -> None:
    answer = ask(receiver)
    assert answer.status_code == 200
    code = answer.json()["confirmation_code"]
    assert answer.json() == {"url": f"{receiver.url}/deletion?id={code}", "confirmation_code": code}
    (row,) = rows(receiver.database)
    assert (row.code, row.state) == (code, "received")
    assert receiver.keyring.decrypt(row.user_id, "deletion") == b"218471"
    assert bytes(row.user_hash) == receiver.keyring.digest("asid", "218471")
    page = requests.get(answer.json()["url"], timeout=30)
    assert page.status_code == 200
    assert "will be deleted" in page.text
    assert "218471" not in page.text
    assert "script" not in page.text
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert page.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("people", "said"), [(0, "no data were found"), (1, "the data held about you were erased."), (3, "3 conversations")]
)
def test_the_page_says_what_became_of_it(receiver: Receiver, people: int, said: str) -> None:
    url = ask(receiver).json()["url"]
    finish(receiver.database, people)
    page = requests.get(url, timeout=30)
    assert page.status_code == 200
    assert said in page.text


@pytest.mark.parametrize("code", ["", "0" * 20, "<script>alert(1)</script>", "ä\x00", "a" * 10_000])
def test_a_code_that_nobody_has_is_404_and_not_echoed(receiver: Receiver, code: str) -> None:
    page = requests.get(f"{receiver.url}/deletion", params={"id": code}, timeout=30)
    assert page.status_code == 404
    assert "alert" not in page.text


def test_asked_again_before_it_is_done_it_is_the_same_request(receiver: Receiver) -> None:
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda _: ask(receiver), range(16)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["confirmation_code"] for answer in answers}) == 1
    finish(receiver.database, 0)
    assert ask(receiver).json()["confirmation_code"] != answers[0].json()["confirmation_code"]
    assert [row.state for row in rows(receiver.database)] == ["done", "received"]


def test_a_number_is_the_same_person_as_its_digits(receiver: Receiver) -> None:
    codes = [ask(receiver, signed_request(PERSON | {"user_id": one})).json()["confirmation_code"] for one in ("7", 7)]
    assert codes[0] == codes[1]


def test_another_secret_is_403(receiver: Receiver) -> None:
    genuine = signed_request()
    for text in (
        signed_request(secret="another"),
        signed_request(secret=""),
        f"{'A' * 43}.{genuine.partition('.')[2]}",
    ):
        assert ask(receiver, text).status_code == 403
    assert rows(receiver.database) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no dot",
        ".",
        "ä.ö",
        signed_request([1]),
        signed_request({"user_id": "1"}),
        signed_request(PERSON | {"algorithm": "none"}),
        *(
            signed_request(PERSON | {"user_id": one})
            for one in (None, "", True, 1.5, "x", ["1"], "\uff11", "1" * 41, "1\n")
        ),
    ],
)
def test_what_cannot_be_read_is_400_and_nothing_is_kept(receiver: Receiver, text: str) -> None:
    assert ask(receiver, text).status_code == 400
    assert rows(receiver.database) == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"\xff\xfe", 400),
        (b"signed_request=a.b&signed_request=c.d", 400),
        (b"&".join(b"a=b" for _ in range(100)), 400),
        (b"x" * 65_537, 413),
    ],
)
def test_a_form_that_is_none_is_refused(receiver: Receiver, body: bytes, status: int) -> None:
    assert requests.post(f"{receiver.url}/data-deletion", data=body, timeout=30).status_code == status


def test_the_public_address_is_the_one_that_was_set(receiver_at: Callable[..., Receiver], database_url: str) -> None:
    receiver = receiver_at(database_url, ENVIRON, public_url="https://example.org/otn")
    answer = ask(receiver, headers={"Host": "evil.example"}).json()
    assert re.fullmatch(r"https://example\.org/otn/deletion\?id=[0-9a-f]{20}", answer["url"])


def test_without_the_database_both_ask_to_come_back(through_gate: Receiver, gate: Any) -> None:
    code = ask(through_gate).json()["confirmation_code"]
    gate.shut()
    refused = [ask(through_gate), requests.get(f"{through_gate.url}/deletion?id={code}", timeout=30)]
    assert [(one.status_code, one.headers["retry-after"]) for one in refused] == [(503, "60")] * 2
    gate.reopen()
    assert ask(through_gate).json()["confirmation_code"] == code
