from __future__ import annotations

import socket

import pytest

from otn.local.ports import HOST, PortClaims, PortTakenError, free_port, is_free


def test_a_port_that_somebody_listens_on_is_not_given() -> None:
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
        assert not is_free(port)
        assert free_port(port) != port
    assert is_free(port)
    assert free_port(None, port) == port
    assert free_port(port, taken={port}) != port


def test_a_port_of_all_interfaces_counts() -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:  # noqa: S104 - that is the case
        assert not is_free(server.getsockname()[1])


def test_no_port_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otn.local.ports.is_free", lambda _: False)
    with pytest.raises(PortTakenError):
        free_port()


def test_two_starts_at_once_choose_different_ports() -> None:
    with PortClaims() as second:
        with PortClaims() as first:
            port = free_port(claims=first)
            assert free_port(port, claims=second) != port
            assert not second.take(port)
        assert second.take(port)
