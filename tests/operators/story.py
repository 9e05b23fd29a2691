"""One story: a topic is made, a campaign composed, approved, paused, resumed; a second one is cancelled."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from playwright.sync_api import Browser, expect

from tests.operators.desk import BROADCAST, Desk
from tests.system.accounts import seen
from tests.system.machinery import System, eventually
from tests.system.scenes import Scene

TOPIC = "lamp"
TITLE = "When the lamp is back"
SILENT = 3  # people who opted in, and then asked to be left alone
ENOUGH = 5  # messages, until it is plain that it sends


@dataclass
class Story:
    """What was read on the pages, and how things stood then.

    Args:
        strangers: HTTP code and words of the page that nobody in particular sees.
        viewer: what the viewer's pages offer, and what her own attempt is answered.
        counted: people and those left out, as the form had it, before and with a bound.
        asked: what Airflow asked whoever approves.
        scheduled: what the page said after the yes and before the start, and the platform's messages by then.
        progress: values of the progress bar, in order.
        held: platform's messages once the pause had come into effect, and right before the resumption.
        spared: likewise of the cancelled campaign, and its unspent consents before and after.
    """

    strangers: tuple[int, str] = (0, "")
    viewer: dict[str, Any] = field(default_factory=dict)
    counted: dict[str, str] = field(default_factory=dict)
    asked: dict[str, Any] = field(default_factory=dict)
    scheduled: tuple[str, int] = ("", 0)
    progress: list[float] = field(default_factory=list)
    held: dict[str, int] = field(default_factory=dict)
    refused: dict[str, Any] = field(default_factory=dict)
    csv: dict[str, bytes] = field(default_factory=dict)
    spared: dict[str, Any] = field(default_factory=dict)


class Teller:
    """Tells the story.

    Args:
        system: where.
        browser: in which everybody works.
    """

    def __init__(self, system: System, browser: Browser) -> None:
        self._system = system
        self._browser = browser
        self._story = Story()
        self._ann, self._bob, self._vera, self._admin = map(self._sit_down, ("ann", "bob", "vera", "admin"))

    def tell(self) -> Story:
        """From the locked door to the second campaign's end."""
        spring, summer = (self._system.scenes[name] for name in ("spring", "summer"))
        self._nobody_comes_in()
        self._topic(spring)
        self._compose(spring, TOPIC, self._soon())
        self._approve(spring)
        self._waits_for_its_time(spring)
        self._compose(summer, summer.name)
        self._pause_and_resume(spring)
        self._approve(summer)
        self._cancel(summer)
        self._ends_well(spring)
        self._look_up(spring)
        return self._story

    def _sit_down(self, name: str | None) -> Desk:
        passwords = self._system.home.passwords()
        return Desk.open(self._browser, str(self._system.status.api_url), name, passwords.get(name or "", ""))

    def _nobody_comes_in(self) -> None:
        stranger = self._sit_down(None)
        code = stranger.go("/campaigns")
        self._story.strangers = (code, stranger.page.inner_text("body"))
        stranger.page.get_by_role("link", name="Log in to Airflow").click()
        expect(stranger.page.locator("input[name=password]")).to_be_visible()
        stranger.page.context.close()

    def _topic(self, scene: Scene) -> None:
        self._ann.make_topic(scene, TOPIC, TITLE)
        sandbox = self._system.sandbox
        silent = sandbox.people(scene.page_id, SILENT, profiles="plain")
        people = [*scene.people, *silent]
        sandbox.optins(scene.page_id, TOPIC, psids=people, tokens_per_person=[1, 2], age_s=60, spread_s=30 * 86_400)
        for psid in silent:
            sandbox.say(scene.page_id, psid, "stop")
        self._system.settle()

    def _soon(self) -> datetime:
        """A full minute, as the form knows no seconds; far enough for a person to say yes."""
        at: datetime = self._system.one("SELECT date_trunc('minute', clock_timestamp() + interval '150 seconds')")
        return at.astimezone(UTC)

    def _waits_for_its_time(self, scene: Scene) -> None:
        """Read what the campaign's page says before it starts."""
        self._ann.go(f"/campaigns/{self._system.campaign_id(scene)}")
        self._story.scheduled = (self._ann.page.locator(".verdict").inner_text(), seen(self._system, scene).total())

    def _compose(self, scene: Scene, topic: str, send_at: datetime | None = None) -> None:
        self._ann.compose(scene, topic, send_at)
        self._story.counted[scene.name] = self._ann.page.locator("#look").inner_text()
        self._ann.start()

    def _approve(self, scene: Scene) -> None:
        def agreed() -> bool:
            # Airflow asks again where the answer comes before it has noted that the task rests.
            for question in self._system.airflow.open_questions(BROADCAST, "~"):
                if question["task_instance"]["state"] == "awaiting_input":
                    self._story.asked.setdefault(scene.name, question)
                    self._bob.approve(question)
            return self._system.campaign_state(scene) != "awaiting_approval"

        eventually(agreed, f"a yes to {scene.name}")

    def _viewer_looks(self, scene: Scene) -> None:
        vera = self._vera
        found: dict[str, Any] = {"home": vera.go("/")}
        found["menu"] = vera.page.get_by_role("navigation", name="Console").inner_text().split()
        found["compose"] = vera.go("/compose")
        found["campaign"] = vera.go(f"/campaigns/{self._system.campaign_id(scene)}")
        found["buttons"] = vera.page.locator("main button").all_inner_texts()
        path = f"/otn/campaigns/{self._system.campaign_id(scene)}/resume"
        found["resume"] = vera.page.evaluate("path => fetch(path, {method: 'POST'}).then(a => a.status)", path)
        found["state"] = self._system.campaign_state(scene)
        self._story.viewer = found

    def _pause_and_resume(self, scene: Scene) -> None:
        system, ann = self._system, self._ann
        progress = ann.watch(system.campaign_id(scene))
        eventually(lambda: len(seen(system, scene)) >= ENOUGH, "the first messages")
        expect(progress).to_have_attribute("value", re.compile(r"[1-9]"))
        first = float(progress.get_attribute("value") or 0)
        expect(progress).not_to_have_attribute("value", f"{first:g}")  # by itself: nobody loads the page again
        self._story.progress = [first, float(progress.get_attribute("value") or 0)]
        ann.press("Pause", "Paused. Calls under way end")
        self._ends(scene)
        self._story.held["then"] = seen(system, scene).total()
        self._viewer_looks(scene)
        self._story.held["before_resuming"] = seen(system, scene).total()
        ann.press("Resume", "Resumed. The run")

    def _ends_well(self, scene: Scene) -> None:
        number = self._system.campaign_id(scene)
        self._ann.go(f"/campaigns/{number}")
        eventually(lambda: self._system.campaign_state(scene) == "finished", f"the end of {scene.name}")
        expect(self._ann.page.locator(".verdict .finished")).to_be_visible()  # by itself, again

    def _ends(self, scene: Scene) -> None:
        """No run of the campaign is at work any more, and every webhook of it is read."""
        run = self._story.asked[scene.name]["task_instance"]["dag_run_id"]
        self._system.end_of(run)
        self._system.settle()

    def _cancel(self, scene: Scene) -> None:
        system, ann = self._system, self._ann
        eventually(lambda: len(seen(system, scene)) >= ENOUGH, "the first messages")
        ann.watch(system.campaign_id(scene))
        ann.cancel("The lamp is broken.")
        self._ends(scene)
        self._story.spared["told"] = seen(system, scene).total()
        ann.go("/topics")
        self._story.spared["topics"] = ann.page.get_by_role("table", name="Registered topics").inner_text()

    def _look_up(self, scene: Scene) -> None:
        self._system.settle()
        number = self._system.campaign_id(scene)
        ann = self._ann
        ann.go(f"/campaigns/{number}/recipients")
        ann.page.get_by_label("State").select_option("refused")
        ann.page.get_by_role("button", name="Show", exact=True).click()
        ann.page.wait_for_url("**state=refused**")
        people = ann.page.locator("table.stack tbody th a")
        found: dict[str, Any] = {"numbers": [int(one) for one in people.all_inner_texts()]}
        people.first.click()
        ann.see("Every call")
        found["calls"] = ann.page.locator("ol.calls").inner_text()
        found["person"] = ann.go(f"/people/{found['numbers'][0]}")
        self._story.refused = found
        self._story.csv = {"ann": ann.csv(number), "admin": self._admin.csv(number, psid="yes")}
        page = self._vera.page
        found["viewer_with_psid"] = page.context.request.get(
            f"{self._system.status.api_url}/otn/campaigns/{number}/recipients.csv", params={"psid": "yes"}
        ).status


def tell(system: System, browser: Browser) -> Story:
    """Let it happen."""
    return Teller(system, browser).tell()
