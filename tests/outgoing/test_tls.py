"""https to an address that was looked up before: the certificate must still be the name's."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from otn.outgoing import post
from otn.outgoing.post import Outcome
from tests.outgoing.conftest import System


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "crm.example")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("crm.example")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path: Path = tmp_path_factory.mktemp("tls") / "crm.pem"
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return str(path)


@pytest.fixture
def secure(certificate: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[System]:
    """A system that speaks TLS, to which every name leads."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    system = System(tls=context)
    real = socket.getaddrinfo

    def here(host: str, *rest: Any, **more: Any) -> Any:
        return real("127.0.0.1" if host.endswith(".example") else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", here)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certificate)
    yield system
    system.server.shutdown()
    system.server.server_close()


def send(system: System, host: str) -> Outcome:
    return post.post(f"https://{host}:{system.server.server_port}/hook?key=1", b"{}", {}, private=True)


def test_the_name_of_the_address_is_the_one_that_is_proven(secure: System) -> None:
    assert send(secure, "crm.example") == Outcome(None)
    assert secure.got[0].path == "/hook?key=1"


@pytest.mark.parametrize("host", ["other.example", "127.0.0.1"])
def test_a_certificate_of_another_name_gets_no_byte(secure: System, host: str) -> None:
    assert send(secure, host) == Outcome("tls")
    assert secure.got == []


def test_a_certificate_that_nobody_vouches_for_gets_no_byte(secure: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    assert send(secure, "crm.example") == Outcome("tls")
    assert secure.got == []
