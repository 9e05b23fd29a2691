"""What the network may do to a call, and what is known afterwards."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import logging
import socket
import ssl
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from otn.messenger.client import SendRequest
from otn.messenger.errors import MessengerError, Outcome
from otn.messenger.transport import Transport, UnansweredError
from tests.messenger.platform import PAGE, SENT, TOKEN, Platform, http

REQUEST = SendRequest({"one_time_notif_token": "one-time-token"}, {"text": "hi"})
HEAD = b"HTTP/1.1 200 OK\r\n"


def nothing_happened(result):
    return result.outcome is Outcome.TRANSIENT and result.wait_s is not None and result.error is None


def nobody_knows(result):
    return result.outcome is Outcome.UNKNOWN and result.message_id is None and result.error is None


# --- before a byte was written


def test_refused_connection_is_proven_without_effect(connect):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    result = connect(f"http://127.0.0.1:{port}").send(REQUEST)
    assert nothing_happened(result)
    assert result.reason == "connection_refused"


def test_unknown_name_is_proven_without_effect(connect):
    result = connect("https://no-such-host.invalid").send(REQUEST)
    assert nothing_happened(result)
    assert result.reason == "name_not_resolved"


def test_connecting_is_bounded(connect):
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(8):  # fill the backlog: the next one is left waiting
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        result = connect(f"http://127.0.0.1:{listener.getsockname()[1]}", connect_timeout_s=0.3).send(REQUEST)
    assert nothing_happened(result)
    assert result.reason == "connect_timeout"


def test_tls_that_does_not_come_about_is_proven_without_effect(connect, platform):
    platform.script = lambda _request, sock: sock.sendall(b"HTTP/1.1 400 plain text here\r\n\r\n")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer_in_plain():
            sock, _ = listener.accept()
            with sock:
                sock.recv(100)
                sock.sendall(b"this is no TLS at all" * 10)
                sock.recv(100)

        thread = threading.Thread(target=answer_in_plain)
        thread.start()
        result = connect(f"https://127.0.0.1:{listener.getsockname()[1]}").send(REQUEST)
        thread.join(10)
    assert nothing_happened(result)
    assert result.reason == "tls"


def test_certificate_of_a_stranger_gets_no_byte_of_the_request(connect, tls_platform):
    result = connect(tls_platform.url).send(REQUEST)
    assert nothing_happened(result)
    assert result.reason == "tls"
    assert tls_platform.received == []


def test_proxy_that_refuses_the_tunnel_is_proven_without_effect(connect, platform, monkeypatch):
    platform.says(http(503, "no"))
    monkeypatch.setenv("https_proxy", platform.url)
    result = connect("https://graph.invalid").send(REQUEST)
    assert nothing_happened(result)
    assert [request.method for request in platform.received] == ["CONNECT"]
    assert "authorization" not in platform.received[0].headers


def test_socks_proxies_are_refused_rather_than_used_unwatched(connect, platform, monkeypatch):
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:9")
    assert nothing_happened(connect(platform.url).send(REQUEST))


# --- after


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"", "connection_cut"),
        (b"HTT", "malformed_http"),
        (b"HTTP/1.1 abc\r\n\r\n", "malformed_http"),
        (b"220 mail.example ESMTP\r\n", "malformed_http"),
        (b"\x00\xff" * 5000, "malformed_http"),
        (HEAD, "unparsable_answer"),
        (HEAD + b"Content-Length: 100\r\n\r\n" + SENT[:40], "connection_cut"),
        (HEAD + b"\r\n" + SENT[:40], "unparsable_answer"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", "connection_cut"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab", "connection_cut"),
        (HEAD + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nabcde", "malformed_http"),
        (HEAD + b"Content-Length: 1, 2\r\n\r\nab", "malformed_http"),
        (HEAD + b"X: y\r\n" * 200 + b"\r\n", "malformed_http"),
        (HEAD + b"X: " + b"y" * 100_000 + b"\r\n\r\n", "malformed_http"),
    ],
)
def test_a_cut_or_garbage_after_the_request_leaves_a_doubt(platform, client, said, reason):
    def script(_request, sock):
        sock.sendall(said)
        sock.shutdown(socket.SHUT_RDWR)
        sock.close()

    platform.script = script
    result = client.send(REQUEST)
    assert nobody_knows(result)
    assert result.reason == reason
    assert len(platform.received) == 1


def test_reset_after_the_request_leaves_a_doubt(platform, client):
    def script(_request, sock):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        socket.close(sock.detach())

    platform.script = script
    result = client.send(REQUEST)
    assert nobody_knows(result)
    assert result.reason == "connection_cut"
    assert len(platform.received) == 1


def test_silence_is_bounded_and_leaves_a_doubt(platform, connect):
    platform.script = lambda _request, _sock: platform.released.wait()
    result = connect(platform.url, read_timeout_s=0.2).send(REQUEST)
    assert nobody_knows(result)
    assert result.reason == "read_timeout"
    assert len(platform.received) == 1


def drip(platform, start, piece):
    def script(_request, sock):
        sock.sendall(start)
        while not platform.released.wait(0.02):
            sock.sendall(piece)

    return script


@pytest.mark.parametrize(
    ("start", "piece", "status"),
    [
        (b"", b"H", None),
        (HEAD, b"X-Drip: 1\r\n", None),
        (HEAD + b"X-Drip: ", b"1", None),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n", None),
        (HEAD + b"Content-Length: 9999\r\n\r\n", b"{", 200),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n{\r\n", 200),
        (HEAD + b"\r\n", b" ", 200),
    ],
)
def test_a_drip_cannot_hold_a_call_longer_than_both_limits(platform, connect, start, piece, status):
    platform.script = drip(platform, start, piece)
    result = connect(platform.url, connect_timeout_s=0.1, read_timeout_s=0.3).send(REQUEST)
    assert nobody_knows(result)
    assert result.reason in {"total_timeout", "malformed_http"}  # a hundred headers may come first
    assert result.http_status == status


def test_a_server_that_does_not_read_cannot_hold_a_call(platform):
    platform._request = lambda *_: platform.released.wait()
    transport = Transport(platform.url, TOKEN, connect_timeout_s=0.5, read_timeout_s=0.5, pool_size=1)
    more_than_buffers_take = {"filedata": ("file", bytes(25_000_000), "video/mp4")}
    with pytest.raises(UnansweredError) as caught:
        transport.call("POST", "/", files=more_than_buffers_take)
    transport.close()
    assert (caught.value.reason, caught.value.written) == ("total_timeout", True)


def test_an_endless_answer_is_not_kept_in_memory(platform, client):
    def script(_request, sock):
        sock.sendall(HEAD + b"\r\n")
        with contextlib.suppress(OSError):
            while True:
                sock.sendall(b"[" * 65536)

    platform.script = script
    result = client.send(REQUEST)
    assert nobody_knows(result)
    assert result.reason == "answer_too_large"


@pytest.mark.parametrize("location", ["/elsewhere", "//other.invalid/", "http://[", "javascript:x", "\x80", ""])
def test_redirects_are_not_followed(platform, client, location):
    platform.says(http(302, b"{}", headers={"Location": location}))
    result = client.send(REQUEST)
    assert nobody_knows(result)
    assert result.reason == "redirect"
    assert len(platform.received) == 1


# --- connections


def test_connections_are_kept(platform, client):
    for _ in range(5):
        assert client.send(REQUEST).outcome is Outcome.SENT
    assert platform.accepted == 1


def test_a_connection_that_was_closed_meanwhile_is_replaced(platform, client):
    def script(_request, sock):
        sock.sendall(http(200, SENT))
        sock.shutdown(socket.SHUT_RDWR)
        sock.close()

    platform.script = script
    assert client.send(REQUEST).outcome is Outcome.SENT
    assert platform.hung_up.wait(10)
    assert client.send(REQUEST).outcome is Outcome.SENT
    assert platform.accepted == 2


def test_a_kept_connection_that_dies_under_the_request_is_not_tried_again(platform, client):
    assert client.send(REQUEST).outcome is Outcome.SENT
    platform.script = lambda _request, sock: (sock.shutdown(socket.SHUT_RDWR), sock.close())
    assert nobody_knows(client.send(REQUEST))
    assert len(platform.received) == 2
    assert platform.accepted == 1


def test_a_connection_left_idle_is_not_trusted(platform, client, monkeypatch):
    assert client.send(REQUEST).outcome is Outcome.SENT
    monkeypatch.setattr("otn.messenger.transport._IDLE_LIMIT_S", -1.0)
    assert client.send(REQUEST).outcome is Outcome.SENT
    assert platform.accepted == 2


def test_threads_share_a_client(platform, client):
    def script(request, sock):
        sock.sendall(http(200, {"message_id": request.form["recipient"]}))

    platform.script = script
    wrong = []

    def work(number):
        for turn in range(20):
            request = SendRequest({"id": f"{number}-{turn}"}, {"text": "hi"})
            if client.send(request).message_id != f'{{"id":"{number}-{turn}"}}':
                wrong.append((number, turn))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    assert len(platform.received) == 160
    assert platform.accepted <= 8


def test_cookies_are_not_kept(platform, client):
    platform.says(http(200, SENT, headers={"Set-Cookie": "a=b; Path=/"}))
    client.send(REQUEST)
    client.send(REQUEST)
    assert "cookie" not in platform.received[1].headers


# --- secrets


def test_netrc_of_the_machine_does_not_replace_the_token(platform, client, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    client.send(REQUEST)
    assert platform.received[0].headers["authorization"] == f"Bearer {TOKEN}"


def test_a_proxy_is_used_and_the_token_survives_it(platform, connect, monkeypatch):
    monkeypatch.setenv("http_proxy", platform.url)
    assert connect("http://127.0.0.2").send(REQUEST).outcome is Outcome.SENT
    assert platform.received[0].target == f"http://127.0.0.2/v25.0/{PAGE}/messages"
    assert platform.received[0].headers["authorization"] == f"Bearer {TOKEN}"


def test_debug_logs_name_no_person_and_no_token(platform, connect, caplog):
    caplog.set_level(logging.DEBUG)
    platform.says(http(200, {"first_name": "Ann"}), HEAD + b"Content-Length: 2\r\nodd\r\n\r\n{}")
    client = connect(platform.url, app_secret="app-secret")
    client.profile("28777805391819468")
    client.profile("28777805391819468")
    client.send(REQUEST)
    for secret in ("28777805391819468", TOKEN, "one-time-token", "app-secret", "appsecret_proof"):
        assert secret not in caplog.text


def test_errors_that_are_raised_name_no_person(platform, connect):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(MessengerError) as caught:
        connect(f"http://127.0.0.1:{port}").profile("28777805391819468")
    assert caught.value.outcome is Outcome.TRANSIENT
    shown = caught.getrepr(style="native", chain=True)
    assert "connection_refused" in str(shown)
    assert "/28777805391819468" not in str(shown)
    assert caught.value.__cause__ is None


# --- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return str(path)


@pytest.fixture
def tls_platform(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    platform = Platform(tls=context)
    platform.start()
    yield platform
    platform.stop()


def test_sending_over_tls(tls_platform, certificate, connect, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certificate)
    client = connect(tls_platform.url)
    big = SendRequest({"id": "1"}, {"text": "x" * 100_000})
    assert [client.send(request).outcome for request in (REQUEST, big, REQUEST)] == [Outcome.SENT] * 3
    assert tls_platform.accepted == 1


def test_a_drip_over_tls_is_bounded(tls_platform, certificate, connect, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certificate)
    tls_platform.script = drip(tls_platform, HEAD, b"X")
    result = connect(tls_platform.url, connect_timeout_s=0.5, read_timeout_s=0.5).send(REQUEST)
    assert nobody_knows(result)
    assert result.reason == "total_timeout"


def test_a_tls_connection_that_is_never_answered_is_proven_without_effect(platform, connect):
    platform._request = lambda *_: platform.released.wait()
    url = platform.url.replace("http://", "https://")
    result = connect(url, connect_timeout_s=0.2).send(REQUEST)
    assert nothing_happened(result)
    assert result.reason == "connect_timeout"
