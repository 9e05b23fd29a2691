from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator

import pytest

from sandbox import process
from sandbox.control_client import SandboxError
from sandbox.process import Handle

from .conftest import APP_SECRET, VERIFY_TOKEN, Receiver


@pytest.fixture
def platform() -> Iterator[Handle]:
    with process.start(seed=3) as handle:
        yield handle


def test_the_stand_in_for_the_platform_is_understood(receiver: Receiver, platform: Handle) -> None:
    page = platform.control.page(
        app_secret=APP_SECRET, verify_token=VERIFY_TOKEN, webhook_url=f"{receiver.url}/webhook", handshake=True
    )["page_id"]
    people = platform.control.people(page, 30)
    platform.control.optins(page, "Zurück im Lager 🎉 a/b", psids=people)
    assert platform.control.flush()["failed"] == 0
    events = [
        event for body in receiver.stored() for entry in json.loads(body)["entry"] for event in entry["messaging"]
    ]
    tokens = {event["optin"]["one_time_notif_token"] for event in events if "optin" in event}
    assert tokens == {row["token"] for row in platform.control.tokens(page)}
    assert all(body.isascii() for body in receiver.stored())


def test_a_stored_body_still_carries_its_signature(receiver: Receiver) -> None:
    raw = b'{"text":"\\u00e4\\/"}'
    header = "sha256=" + hmac.new(APP_SECRET.encode(), raw, hashlib.sha256).hexdigest()
    assert receiver.post(raw, {"X-Hub-Signature-256": header}).status_code == 200
    assert receiver.stored_in_the_end(1) == [raw]


def test_another_verify_token_keeps_the_stand_in_from_subscribing(receiver: Receiver, platform: Handle) -> None:
    with pytest.raises(SandboxError):
        platform.control.page(
            app_secret=APP_SECRET, verify_token="other", webhook_url=f"{receiver.url}/webhook", handshake=True
        )
