"""Every route of the receiver, in every method: what is open is open for a reason, the rest asks for a signature."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
import requests
from starlette.routing import Route

from otn.web.receiver.app import create_app
from tests.clean import database, emptied_url  # noqa: F401 - fixtures
from tests.receiver.conftest import APP_SECRET, Receiver, receiver_at, signed  # noqa: F401 - fixtures

BODY = b'{"object":"page","entry":[]}'
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND")
PUBLIC = {
    ("GET", "/healthz"): "asked by health checks and proxies; says no more than whether webhooks are taken",
    ("HEAD", "/healthz"): "likewise",
    ("GET", "/deletion"): "the page for a person who asked for deletion; needs a code of 80 random bits",
    ("HEAD", "/deletion"): "likewise",
}
GUARDED = {
    ("GET", "/webhook"): "verify token",
    ("HEAD", "/webhook"): "verify token",
    ("POST", "/webhook"): "signature over the body",
    ("POST", "/data-deletion"): "signature over the form",
}
NOT_THERE = ("/", "/docs", "/redoc", "/openapi.json", "/metrics", "/debug", "/.env", "/admin", "/webhook/", "/static/x")
TRICKS = (
    "/webhook/../deletion",
    "/%2e%2e/%2e%2e/etc/passwd",
    "//webhook",
    "/webhook%00",
    "/webhook;x=1",
    "/WEBHOOK",
    "/healthz/..%2fwebhook",
)
CODES = (
    "../../etc/passwd",
    "%2e%2e%2f",
    "' OR '1'='1",
    "0" * 19,
    "0" * 21,
    "0" * 20 + "\x00",
    "\uff10" * 20,
    "0" * 20 + "\n",
    "%",
    "_" * 20,
    "<script>alert(1)</script>",
    "0" * 10_000,
)


@pytest.fixture
def database_url(emptied_url: str) -> str:  # noqa: F811 - a fixture
    return emptied_url


@pytest.fixture
def receiver(receiver_at: Callable[..., Receiver], database_url: str) -> Receiver:  # noqa: F811 - a fixture
    return receiver_at(database_url)


def asked(receiver: Receiver, method: str, path: str, **more: Any) -> requests.Response:
    request = requests.Request(method, receiver.url, **more).prepare()
    request.url = receiver.url + path  # as it stands, dots and all
    with requests.Session() as session:
        return session.send(request, timeout=10, allow_redirects=False)


def test_the_routes_are_these_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otn.web.receiver.app.Desk", lambda _line: None)

    class Parts:
        line = show = None

    def page(_request: Any) -> None: ...

    parts: Any = Parts()
    parts.show = page
    app = create_app(parts, parts, parts)
    served = {
        (method, route.path) for route in app.routes if isinstance(route, Route) for method in route.methods or ()
    }
    assert served == PUBLIC.keys() | GUARDED.keys()
    assert len(app.routes) == 5


def test_every_route_in_every_method_asks_or_has_a_reason(receiver: Receiver) -> None:
    paths = {path for _, path in PUBLIC | GUARDED}
    for path in sorted(paths):
        for method in METHODS:
            status = asked(receiver, method, path).status_code
            if (method, path) in PUBLIC:
                assert status in {200, 404}, (method, path)
            elif (method, path) in GUARDED:
                assert status in {400, 403}, (method, path)
            else:
                assert status in {400, 404, 405}, (method, path, status)
    assert receiver.stored() == []


@pytest.mark.parametrize("path", NOT_THERE)
def test_there_is_nothing_else(receiver: Receiver, path: str) -> None:
    assert asked(receiver, "GET", path).status_code in {404, 307}
    assert asked(receiver, "POST", path, data=BODY, headers=signed(BODY)).status_code in {404, 307}


@pytest.mark.parametrize("path", TRICKS)
def test_an_address_is_what_it_says(receiver: Receiver, path: str) -> None:
    answer = asked(receiver, "POST", path, data=BODY, headers=signed(BODY))
    assert answer.status_code in {400, 404}
    assert receiver.stored() == []


@pytest.mark.parametrize("code", CODES)
def test_a_code_that_is_none_is_not_found_and_not_shown(receiver: Receiver, code: str) -> None:
    answer = asked(receiver, "GET", f"/deletion?id={quote(code)}")
    assert answer.status_code == 404
    assert "script" not in answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


@pytest.mark.parametrize(
    "forged",
    [
        lambda body: signed(body + b" "),
        lambda body: signed(json.dumps(json.loads(body)).encode()),
        lambda body: {"X-Hub-Signature": "sha1=" + hmac.new(APP_SECRET.encode(), body, "sha1").hexdigest()},
        lambda _: {"X-Hub-Signature-256": "sha256=" + "0" * 64},
        lambda body: {"X-Hub-Signature-256": "sha256=" + hmac.new(b"", body, "sha256").hexdigest()},
        lambda body: {"X-Hub-Signature-256": hmac.new(APP_SECRET.encode(), body, "sha256").hexdigest()},
        lambda body: {"X_Hub_Signature_256": signed(body)["X-Hub-Signature-256"]},
        lambda _: {"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1"},
    ],
    ids=["other bytes", "said anew", "sha1", "zeros", "empty secret", "no prefix", "underscores", "from within"],
)
def test_who_is_not_the_platform_stores_nothing(receiver: Receiver, forged: Callable[[bytes], dict[str, str]]) -> None:
    assert receiver.post(BODY, forged(BODY)).status_code == 403
    assert receiver.stored() == []


def test_the_host_that_a_request_names_does_not_become_an_address_of_ours(
    receiver_at: Callable[..., Receiver],  # noqa: F811 - a fixture
    database_url: str,
) -> None:
    """The status page's address comes from the setting, which a proxy needs anyway."""
    receiver = receiver_at(database_url, public_url="https://otn.example")
    payload = base64.urlsafe_b64encode(b'{"algorithm":"HMAC-SHA256","user_id":"1"}').rstrip(b"=")
    digest = hmac.new(APP_SECRET.encode(), payload, "sha256").digest()
    form = {"signed_request": f"{base64.urlsafe_b64encode(digest).decode().rstrip('=')}.{payload.decode()}"}
    headers = {"Host": "evil.example", "X-Forwarded-Host": "evil.example"}
    answer = asked(receiver, "POST", "/data-deletion", data=form, headers=headers)
    assert answer.status_code == 200
    assert answer.json()["url"].startswith("https://otn.example/deletion?id=")
