"""Who comes in and what he may: asked of every route that the console has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from otn.console.app import HEADERS, create_app

FOREIGN = (
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": ""},
    {"origin": "http://testserver", "sec-fetch-site": "cross-site"},
    {"origin": "http://testserver", "sec-fetch-site": "same-site"},
)


def routes() -> list[tuple[str, str]]:
    return [
        (method, route.path.replace("{", "1").replace("}", ""))  # type: ignore[attr-defined]
        for route in create_app().routes
        if hasattr(route, "methods")
        for method in sorted(route.methods)
    ]


ROUTES = routes()


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_nobody_is_let_in_without_a_login(visit: Callable[..., TestClient], method: str, path: str) -> None:
    answer = visit(role=None).request(method, path)
    assert answer.status_code == 401
    assert "Log in to Airflow" in answer.text


@pytest.mark.parametrize(("method", "path"), [one for one in ROUTES if one[0] not in {"GET", "HEAD"}])
def test_who_may_only_look_changes_nothing(visit: Callable[..., TestClient], method: str, path: str) -> None:
    answer = visit("viewer").request(method, path)
    assert answer.status_code == 403
    assert "You may look" in answer.text


@pytest.mark.parametrize(("method", "path"), [one for one in ROUTES if one[0] not in {"GET", "HEAD"}])
@pytest.mark.parametrize("headers", FOREIGN)
def test_a_page_of_another_origin_changes_nothing(
    visit: Callable[..., TestClient], method: str, path: str, headers: dict[str, str]
) -> None:
    answer = visit("admin").request(method, path, headers=headers)
    assert answer.status_code == 403
    assert "another origin" in answer.text


def test_every_answer_says_what_a_browser_may_do_with_it(visit: Callable[..., TestClient]) -> None:
    for answer in (visit("viewer").get("/"), visit(role=None).get("/"), visit("viewer").get("/static/console.css")):
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert visit("viewer").get("/").headers["cache-control"] == "no-store"


def test_there_is_no_description_of_the_routes(visit: Callable[..., TestClient]) -> None:
    client: Any = visit("admin")
    assert {client.get(path).status_code for path in ("/docs", "/redoc", "/openapi.json")} == {404}
