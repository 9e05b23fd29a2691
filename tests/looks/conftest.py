"""The console's pages in a real browser, with a shop that has something of everything, and one that has nothing yet."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from otn.database import make_engine
from tests.programs import require

from tests import airflow_home  # isort: skip - Airflow reads its environment once

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of other people's imports
    import pygments.formatters.html  # noqa: F401
    from airflow.api_fastapi.app import create_auth_manager

    from tests.looks.site import open_site

from tests.looks.goods import fill

SHOP, NEW = "shop", "new"

__all__ = ["airflow_home"]


@dataclass(frozen=True)
class Site:
    """The console.

    Args:
        url: without a path.
        places: name to number, of what the shop has.
    """

    url: str
    places: dict[str, Any]

    def address(self, path: str, database: str = SHOP) -> str:
        """Of a page.

        Args:
            path: of the console, with names of ``places`` in braces.
            database: ``shop``, or ``new`` for an installation that has nothing.
        """
        return f"{self.url}/{database}/otn{path.format(**self.places)}"


@pytest.fixture(scope="session")
def site(postgres: str) -> Iterator[Site]:
    require("chromium", "chromium")
    create_auth_manager()
    engines = {}
    administrator = create_engine(postgres, isolation_level="AUTOCOMMIT")
    with administrator.connect() as connection:
        for name in (SHOP, NEW):
            connection.execute(text(f'CREATE DATABASE "looks_{name}" TEMPLATE otn_template STRATEGY FILE_COPY'))
            url = make_url(postgres).set(database=f"looks_{name}").render_as_string(hide_password=False)
            engines[name] = make_engine(url, pool_size=10)
    places = fill(engines[SHOP])
    with open_site(engines) as url:
        yield Site(url, places)
    for engine in engines.values():
        engine.dispose()
    administrator.dispose()


@pytest.fixture(scope="module")
def browser(site: Site) -> Iterator[Any]:
    """No longer than needed: while it is open an event loop runs in this thread, and other tests have their own."""
    from tests.scheduled.browser import chromium

    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def page(browser: Any) -> Iterator[Any]:
    """A window of somebody who may do everything."""
    from tests.looks.site import ROLE

    headers = {ROLE: "admin"}
    made = browser.new_context(timezone_id="UTC", locale="en-US", extra_http_headers=headers, reduced_motion="reduce")
    yield made.new_page()
    made.close()
