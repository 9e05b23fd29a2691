"""The application that Airflow's API server mounts at ``/otn``."""

from __future__ import annotations

import logging
from pathlib import Path

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.middleware.base import RequestResponseEndpoint
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from otn.console import (
    access,
    campaign,
    campaigns,
    compose,
    compose_testing,
    decisions,
    home,
    people,
    person_acts,
    recipients,
    runs,
    topic_adoption,
    topics,
)
from otn.console.showing import show, show_problem
from otn.errors import OtnError, UsageError

log = logging.getLogger(__name__)

STATIC = Path(__file__).with_name("static")
HEADERS = {
    # Airflow frames the pages; nobody else may, and nothing comes from elsewhere.
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data: https:; style-src 'self' 'unsafe-inline'; frame-ancestors 'self';"
        " form-action 'self'; base-uri 'none'; object-src 'none'"
    ),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
ROUTERS = (
    home.router,
    compose.router,
    compose_testing.router,
    topics.router,
    topic_adoption.router,
    campaigns.router,
    campaign.router,
    decisions.router,
    runs.router,
    recipients.router,
    people.router,
    person_acts.router,
)


def create_app() -> FastAPI:
    """The console; every route behind ``access.guard``."""
    app = FastAPI(title="OTN", docs_url=None, redoc_url=None, openapi_url=None, dependencies=[Depends(access.guard)])
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    for router in ROUTERS:
        app.include_router(router)
    app.add_exception_handler(AnyHTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _unreadable)
    app.add_exception_handler(OtnError, _wrong)
    app.middleware("http")(_bound)
    return app


async def _bound(request: Request, call_next: RequestResponseEndpoint) -> Response:
    response = await call_next(request)
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if "/static/" not in request.url.path:
        response.headers.setdefault("Cache-Control", "no-store")  # people stand on these pages
    return response


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, AnyHTTPException)  # noqa: S101 - registered for it
    if error.status_code == 401:
        return show(request, "login.html", status=401)
    return show_problem(request, str(error.detail), status=error.status_code)


def _unreadable(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it
    where = ", ".join(".".join(map(str, one["loc"][1:])) for one in error.errors())
    return show_problem(request, f"This address or form cannot be read: {where}. Go back and try again.", status=400)


def _wrong(request: Request, error: Exception) -> Response:
    if isinstance(error, UsageError):
        return show_problem(request, str(error), status=400)
    log.error("The console could not answer %s: %s", request.url.path, error)
    return show_problem(request, str(error), status=503)
