"""People at the console, each in a browser of their own."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from playwright.sync_api import Browser, Locator, Page, expect

from tests.scheduled.browser import PATIENCE_MS, log_in
from tests.system.scenes import Scene

BROADCAST = "otn_broadcast"


class Desk:
    """Somebody at the pages.

    Args:
        page: of the browser.
        url: of Airflow.
    """

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self._url = url

    @classmethod
    def open(cls, browser: Browser, url: str, name: str | None = None, password: str = "", **looks: Any) -> Desk:
        """Sit down, and log in as somebody; None: as nobody.

        Args:
            browser: the browser.
            url: of Airflow.
            name: of the user.
            password: theirs.
            looks: of the browser, such as ``color_scheme``.
        """
        wide = {"width": 1280, "height": 900}
        page = browser.new_context(**{"viewport": wide, "timezone_id": "UTC", "locale": "en-US", **looks}).new_page()
        page.set_default_timeout(PATIENCE_MS)
        if name is not None:
            log_in(page, url, name, password, "/otn/")
        return cls(page, url)

    # ── looking

    def go(self, path: str) -> int:
        """Open a page of the console; answers the HTTP code."""
        answer = self.page.goto(f"{self._url}/otn{path}")
        assert answer is not None
        return answer.status

    def see(self, what: str | re.Pattern[str]) -> None:
        """Wait until some text can be read."""
        expect(self.page.get_by_text(what).first).to_be_visible()

    def figure(self, caption: str, row: str) -> int:
        """What stands behind a word in the table of this caption."""
        table = self.page.get_by_role("table", name=caption)
        line = table.get_by_role("row").filter(has=self.page.get_by_role("rowheader", name=row))
        return int(line.get_by_role("cell").first.inner_text().replace(",", ""))

    def csv(self, campaign_id: int, **query: str) -> bytes:
        """What the browser would store of the recipients' CSV."""
        path = f"{self._url}/otn/campaigns/{campaign_id}/recipients.csv"
        answer = self.page.context.request.get(path, params=query)
        assert answer.ok, answer.status
        return answer.body()

    # ── topics and campaigns

    def make_topic(self, scene: Scene, key: str, title: str) -> None:
        """Register a topic by the form."""
        self.go("/topics")
        self.page.get_by_role("link", name="New topic").click()
        self.page.get_by_label("Page", exact=True).select_option(scene.connection)
        self.page.get_by_label("Title", exact=True).fill(title)
        self.page.get_by_label("Key", exact=True).fill(key)
        self.page.get_by_role("button", name="Register").click()
        self.see("The topic is registered.")

    def compose(self, scene: Scene, topic: str, send_at: datetime | None = None) -> None:
        """Fill the form, and let it count.

        Args:
            scene: whose campaign.
            topic: key of the topic.
            send_at: when to start, in UTC; None: at once.
        """
        self.go("/compose")
        with self.page.expect_navigation():  # the topics are those of the page
            self.page.get_by_label("Page", exact=True).select_option(scene.connection)
        self.page.get_by_label("Topic", exact=True).select_option(topic)
        self.page.get_by_label("Campaign key", exact=True).fill(scene.name)
        self.page.get_by_label("Text", exact=True).last.fill(str(scene.conf()["text"]))
        if send_at is not None:
            self.page.get_by_label("Later", exact=True).check()
            self.page.get_by_label("Start", exact=True).fill(f"{send_at:%Y-%m-%dT%H:%M}")
        self.see(scene.mark.strip())

    def start(self) -> None:
        """Start what was composed; leads to the campaign once Airflow has opened it."""
        self.page.locator("details.confirm > summary", has_text="Start").click()
        self.page.get_by_role("button", name="Start the campaign").click()
        self.page.wait_for_url(re.compile(r"/otn/campaigns/\d+$"))

    def approve(self, question: dict[str, Any]) -> None:
        """Say yes in Airflow's own page of what waits for a person."""
        task = question["task_instance"]
        path = f"dags/{BROADCAST}/runs/{task['dag_run_id']}/tasks/{task['task_id']}/required_actions"
        self.page.goto(f"{self._url}/{path}")
        self.page.get_by_role("button", name="Approve").click()
        self.see("response successful")
        self.page.goto("about:blank")

    # ── one campaign

    def watch(self, campaign_id: int) -> Locator:
        """Open a campaign; answers its progress, which changes by itself."""
        self.go(f"/campaigns/{campaign_id}")
        return self.page.get_by_role("progressbar", name="Progress")

    def press(self, name: str, said: str) -> None:
        """Press a button of the campaign's page and read what it says then."""
        self.page.get_by_role("button", name=name, exact=True).click()
        self.see(said)

    def cancel(self, reason: str) -> None:
        """Cancel the campaign whose page is open."""
        self.page.locator("details.confirm > summary", has_text="Cancel").click()
        self.page.get_by_label("Reason").fill(reason)
        self.press("Cancel the campaign", "Cancelled. Whoever waited was given up")
