from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from otn.messenger.client import MessengerClient, PageCredentials
from tests.messenger.platform import PAGE, TOKEN, Platform


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def platform() -> Iterator[Platform]:
    platform = Platform()
    platform.start()
    yield platform
    platform.stop()


@pytest.fixture
def connect() -> Iterator[Callable[..., MessengerClient]]:
    """Make clients with limits short enough to be reached in a test."""
    clients = []

    def make(
        url: str, *, app_secret: str | None = None, api_version: str = "v25.0", **options: object
    ) -> MessengerClient:
        limits = {"connect_timeout_s": 2.0, "read_timeout_s": 10.0, **options}
        client = MessengerClient(PageCredentials(url, PAGE, TOKEN, app_secret, api_version), **limits)
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def client(platform: Platform, connect: Callable[..., MessengerClient]) -> MessengerClient:
    return connect(platform.url)
