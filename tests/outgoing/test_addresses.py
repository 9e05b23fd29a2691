"""Where results may go, and where they never go."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from otn.errors import ConfigurationError
from otn.outgoing import address, post
from otn.outgoing.address import EndpointUrlError, ForbiddenAddressError, Target, is_public, may_be_private, read_target
from otn.outgoing.post import Outcome
from tests.outgoing.conftest import System

OURS = (
    *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254", "0.1.2.3", "224.0.0.1"),
    *("168.63.129.16", "192.0.0.192", "255.255.255.255", "::1", "::", "fe80::1", "fd00:ec2::254", "ff02::1"),
    *(
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::a00:1",
        "64:ff9b::a9fe:a9fe",
        "2002:a00:1::1",
        "64:ff9b:1::1",
    ),
)


@pytest.mark.parametrize("text", OURS)
def test_an_address_that_only_we_can_reach_is_not_public(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"])
def test_an_address_that_anybody_can_reach_is(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    "url",
    [
        *("http://example.org", "ftp://example.org", "example.org", "https://", "https://user:secret@example.org"),
        *(
            "https://example.org/#part",
            "https://exa mple.org",
            "https://example.org\r\nX: y",
            "https://[::1",
            "//example.org",
        ),
        *(
            "https://example.org:99999",
            f"https://example.org/{'x' * 2000}",
            "https://exämple.org",
            "file:///etc/passwd",
        ),
    ],
)
def test_what_is_no_https_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(EndpointUrlError) as refusal:
        read_target(url, private=False)
    assert "secret" not in str(refusal.value)


def test_an_address_is_taken_apart() -> None:
    assert read_target("https://example.org/a?b=c", private=False) == Target("https", "example.org", 443, "/a?b=c")
    assert read_target("https://example.org:8443", private=False).authority == "example.org:8443"
    assert read_target("http://[::1]:80/", private=True).authority == "[::1]"


@pytest.mark.parametrize(("text", "meant"), [("", False), ("TRUE", True), ("on", True), ("0", False)])
def test_private_addresses_are_off_unless_somebody_says_so(text: str, meant: bool) -> None:
    assert may_be_private({"OTN_OUTGOING_PRIVATE": text}) is meant


def test_a_setting_that_is_neither_yes_nor_no_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="'perhaps'"):
        may_be_private({"OTN_OUTGOING_PRIVATE": "perhaps"})


def looked_up(*addresses: str) -> Callable[..., Any]:
    return lambda _host, port, **_: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in addresses]


def test_a_name_that_leads_inside_too_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    target = read_target("https://example.org", private=False)
    monkeypatch.setattr(socket, "getaddrinfo", looked_up("93.184.216.34", "10.0.0.1"))
    with pytest.raises(ForbiddenAddressError):
        address.resolve(target, private=False)
    assert address.resolve(target, private=True) == "93.184.216.34"


def test_a_name_is_looked_up_once_and_what_was_judged_is_connected_to(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = system.server.server_port
    asked: list[str] = []
    real = socket.getaddrinfo

    def changes_its_mind(host: str, *rest: Any, **more: Any) -> Any:
        asked.append(host)
        return real("127.0.0.1" if host == "crm.example" and len(asked) == 1 else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", changes_its_mind)
    assert post.post(f"http://crm.example:{port}/hook", b"{}", {}, private=True) == Outcome(None)
    assert asked[0] == "crm.example"
    assert asked.count("crm.example") == 1
    assert system.got[0].headers["Host"] == f"crm.example:{port}"


def test_an_inside_address_gets_no_byte_unless_it_may(system: System) -> None:
    url = system.url.replace("http://", "https://")
    assert post.post(url, b"{}", {}, private=False) == Outcome("address_forbidden")
    assert post.post(system.url, b"{}", {}, private=False) == Outcome("address_invalid")
    assert system.got == []


def test_a_certificate_is_asked_for(system: System) -> None:
    outcome = post.post(system.url.replace("http://", "https://"), b"{}", {}, private=True)
    assert outcome.error in {"tls", "connection_cut"}  # the other side speaks no TLS


def test_an_answer_that_drips_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(post, "CONNECT_S", 0.2)
    monkeypatch.setattr(post, "READ_S", 0.3)
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                for byte in b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000:
                    if over.wait(0.05):
                        return
                    try:
                        connection.send(bytes([byte]))
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        began = time.monotonic()
        outcome = post.post(f"http://127.0.0.1:{server.getsockname()[1]}/", b"{}", {}, private=True)
        took = time.monotonic() - began
        over.set()
        thread.join()
    assert outcome.error == "total_timeout"
    assert took < 10
