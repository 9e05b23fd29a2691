"""The desk of asking, with a rule that answers a word by a card, and what a responder finds in its environment."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from otn.asking.sending import Limits
from otn.crypto import Keyring, new_key, read_keyring
from otn.responder.loop import Responder
from otn.responder.pages import Voices
from tests.asking.conftest import desk, make_desk, sandbox
from tests.asking.desk import Desk

__all__ = ["desk", "make_desk", "sandbox"]

LIMITS = Limits(lease_s=60, call_s=16)


@pytest.fixture
def keys() -> dict[str, str]:
    return {"OTN_ENCRYPTION_KEYS": new_key(), "OTN_HASH_KEY": new_key(), "OTN_PROFILE_FIELDS": "none"}


@pytest.fixture
def keyring(keys: dict[str, str]) -> Keyring:
    return read_keyring(keys)


@pytest.fixture
def environ(keys: dict[str, str], desk: Desk) -> dict[str, str]:
    """Keys and the page's connection."""
    return keys | connection(desk)


def connection(desk: Desk) -> dict[str, str]:
    settings = desk.settings
    value = {
        "conn_type": "messenger",
        "host": settings.base_url,
        "login": settings.page_id,
        "password": settings.access_token,
        "extra": {"app_secret": settings.app_secret, "messages_per_second": 0},
    }
    return {f"AIRFLOW_CONN_{settings.connection_id.upper()}": json.dumps(value)}


@pytest.fixture
def make_responder(desk: Desk, environ: dict[str, str]) -> Iterator[Callable[..., Responder]]:
    made: list[Responder] = []

    def make(**more: str) -> Responder:
        found = environ | more
        made.append(Responder(desk.engine, desk.keyring, Voices(desk.engine, found, LIMITS), found))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def word_rule(desk: Desk) -> None:
    desk.sql(
        "INSERT INTO otn.rule (page_id, key, trigger, pattern, topic_id) VALUES (%s, 'restock', 'word', 'restock', %s)",
        desk.page_row,
        desk.topic_row,
    )
