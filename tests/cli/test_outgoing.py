"""``./otn outgoing``: where results go, and how a system that should have them is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from otn.crypto import read_keyring
from otn.database import Engine
from otn.outgoing import delivering, packing, signing
from tests.cli.conftest import Inside
from tests.outgoing.conftest import House, System, make_house

PRIVATE = {"OTN_OUTGOING_PRIVATE": "true"}


@pytest.fixture
def system() -> Iterator[System]:
    made = System()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def house(database: Engine, inside: Inside) -> House:
    return make_house(database, read_keyring(inside.environ), 3)


@pytest.fixture
def say(inside: Inside) -> Callable[..., Any]:
    inside.environ |= PRIVATE
    return lambda *words, **more: inside("outgoing", *words, **more)


def test_a_system_is_named_tried_rotated_replayed_and_removed(
    house: House, inside: Inside, say: Callable[..., Any], system: System
) -> None:
    assert "Results go nowhere" in say("list").stdout
    added = say("add", "crm", system.url)
    secret = next(word for word in added.stdout.split() if word.startswith("otns_"))
    assert "not shown again" in added.stderr
    say("test", "crm")
    (request,) = system.got
    assert request.event["type"] == "test"
    signing.verify(request.body, request.headers["OTN-Signature"], secret)
    house.settle()
    packing.pack(house.engine)
    delivering.deliver(house.engine, house.keyring, house.endpoint().id, private=True)
    (row,) = inside.json("outgoing", "list", "--page", "shop")
    assert (row["key"], row["delivered"], row["waiting"], row["page"]) == ("crm", 1, 0, "shop")
    assert not {"secret", "secret_before"} & set(row)
    assert secret not in say("list").stdout
    new = inside.json("outgoing", "rotate", "crm", "--hours", "1")["secret"]
    say("test", "crm")
    for key in (secret, new):
        signing.verify(system.got[-1].body, system.got[-1].headers["OTN-Signature"], key)
    assert inside.json("outgoing", "replay", "crm", "--since", "2000-01-01")["events"] == 1
    house.sql("UPDATE otn.endpoint SET disabled_at = now(), tries = 1, error = 'status 500', failed_since = now()")
    assert "given up on (status 500)" in say("list").stdout
    say("enable", "crm")
    assert house.endpoint().disabled_at is None
    say("remove", "crm")
    assert inside.json("outgoing", "list") == []
    actions = [row.action for row in house.sql("SELECT action FROM otn.audit ORDER BY id")]
    assert actions == [f"outgoing {did}" for did in ("added", "rotated", "replayed", "enabled", "removed")]
    assert secret not in str(house.sql("SELECT detail FROM otn.audit"))


def test_one_that_takes_nothing_is_told_by_the_exit_code(
    house: House, inside: Inside, say: Callable[..., Any], system: System
) -> None:
    say("add", "crm", system.url)
    system.status = 500
    assert "did not take it: status 500" in say("test", "crm", code=1).stdout
    assert inside.json("outgoing", "test", "crm", code=1)["taken"] is False


WRONG = {
    "a second of the name": (("add", "crm", "https://example.org"), "has an endpoint of this name"),
    "an unknown event": (("add", "new", "https://example.org", "--event", "weather"), "weather cannot be asked for"),
    "no address": (("add", "new", "example"), "Give one such as"),
    "an unknown endpoint": (("test", "nobody"), "no such endpoint"),
    "no time": (("replay", "crm", "--since", "yesterday"), "that is no time"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_said_and_what_to_do(house: House, say: Callable[..., Any], system: System, what: str) -> None:
    say("add", "crm", system.url)
    words, sentence = WRONG[what]
    ended = say(*words, code=None)
    assert ended.returncode in {1, 2}
    assert sentence in ended.stderr


def test_without_leave_nothing_goes_to_a_house(house: House, inside: Inside) -> None:
    refused = inside("outgoing", "add", "crm", "http://crm.internal/hook?key=abc", code=None)
    assert refused.returncode == 1
    assert "OTN_OUTGOING_PRIVATE" in refused.stderr
    assert "abc" not in refused.stderr
