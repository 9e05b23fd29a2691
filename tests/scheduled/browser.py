"""An operator at Airflow's pages, in a real browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from urllib.parse import urlencode

from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from otn.local.home import ADMIN
from tests.system.machinery import System

CHROMIUM = "chromium"
FLAGS = (
    "--no-sandbox",  # Chromium refuses its own as root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
)
PATIENCE_MS = 90_000.0  # for a click to show; the machine may be busy


def log_in(page: Page, url: str, name: str, password: str, there: str = "/") -> None:
    """By the form that Airflow shows.

    Args:
        page: of the browser.
        url: of Airflow.
        name: of the user.
        password: theirs.
        there: path to which Airflow leads then.
    """
    page.goto(f"{url}/auth/login/?{urlencode({'next': url + there})}")
    page.locator("input[name=username]").fill(name)
    page.locator("input[name=password]").fill(password)
    page.keyboard.press("Enter")
    page.wait_for_url(url + there)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser of this machine."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which(CHROMIUM), args=FLAGS)
        expect.set_options(timeout=PATIENCE_MS)
        yield browser
        browser.close()


class Operator:
    """Whoever clicks.

    Args:
        page: of the browser.
        url: of Airflow.
    """

    def __init__(self, page: Page, url: str) -> None:
        self._page = page
        self._url = url

    def backfill(self, dag_id: str, first: datetime, last: datetime, reprocess: str) -> None:
        """Trigger → Backfill → Run Backfill.

        Args:
            dag_id: whose page.
            first: logical date of the first run, UTC.
            last: of the last.
            reprocess: as the form calls it, such as ``All Runs``.
        """
        self._page.goto(f"{self._url}/dags/{dag_id}")
        self._page.get_by_role("button", name="Trigger").first.click()
        form = self._page.get_by_role("dialog")
        form.get_by_text("Run this Dag for a range of dates").click()
        for moment in (first, last):
            self._choose(form, moment)
        form.get_by_text(reprocess, exact=True).click()
        form.locator("input[name=max_active_runs]").fill("5")
        days = (last - first).days + 1
        expect(form.get_by_text(f"{days} runs will be triggered.")).to_be_visible()
        form.get_by_role("button", name="Run Backfill").click()
        expect(form).to_be_hidden()
        self._page.goto("about:blank")  # a page of a DAG asks for news every few seconds

    def _choose(self, form: Locator, moment: datetime) -> None:
        form.get_by_text("Select date and time").first.click()
        self._page.get_by_placeholder("YYYY/MM/DD").last.fill(f"{moment:%Y/%m/%d}")
        self._page.get_by_placeholder("HH:mm").last.fill(f"{moment:%H:%M}")
        self._page.keyboard.press("Escape")
        expect(form.get_by_text(f"{moment:%b} {moment.day}, {moment:%Y %H:%M}")).to_be_visible()


@contextmanager
def operator(system: System) -> Iterator[Operator]:
    """Somebody who has logged in."""
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900}, timezone_id="UTC", locale="en-US")
        page.set_default_timeout(PATIENCE_MS)
        url = str(system.status.api_url)
        log_in(page, url, ADMIN, system.home.passwords()[ADMIN])
        yield Operator(page, url)
