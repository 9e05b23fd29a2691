"""Every page of the console: no serious fault that axe-core finds, in light and dark; nothing wider than a phone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from otn.settings import ROOT
from tests.operators.story import TOPIC, Story
from tests.system.machinery import System

pytestmark = [pytest.mark.system, pytest.mark.timeout(600), pytest.mark.usefixtures("story")]

IMAGES = ROOT / "docs" / "images" / "console"
WRITE = "WRITE_IMAGES"
SHADES = ("light", "dark")
WIDTHS = {"wide": (1280, 900), "phone": (390, 844)}
LONGEST = 2_400  # pixels of a picture, from the top
TOO_BAD = {"serious", "critical"}
# Name of a page, and its address with what the system knows in braces.
PAGES = {
    "home": "/",
    "topics": "/topics",
    "topic": "/topics/{topic}",
    "topic-form": "/topics/new",
    "topic-edit": "/topics/{topic}/edit",
    "compose": "/compose?from={spring}",
    "campaigns": "/campaigns",
    "campaign": "/campaigns/{spring}",
    "campaign-cancelled": "/campaigns/{summer}",
    "recipients": "/campaigns/{spring}/recipients",
    "recipient": "/campaigns/{spring}/recipients/{person}",
    "left-out": "/campaigns/{spring}/left-out",
    "people": "/people",
    "person": "/people/{person}",
    "run": "/runs?dag_id=otn_broadcast&run_id=none",
    "not-found": "/campaigns/9999",
}


@pytest.fixture(scope="module")
def places(system: System, story: Story) -> dict[str, int]:
    return {
        "topic": system.one("SELECT id FROM otn.topic WHERE key = %s", TOPIC),
        "person": story.refused["numbers"][0],
        **{name: system.campaign_id(scene) for name, scene in system.scenes.items()},
    }


@pytest.fixture(scope="module", params=SHADES)
def shade(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def desk(system: System, browser: Any, shade: str) -> Iterator[Any]:
    from tests.operators.desk import Desk

    password = system.home.passwords()["admin"]
    found = Desk.open(browser, str(system.status.api_url), "admin", password, color_scheme=shade)
    yield found
    found.page.context.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_readable_by_everybody(desk: Any, shade: str, name: str, places: dict[str, int]) -> None:
    path = PAGES[name].format(**places)
    for width, (across, down) in WIDTHS.items():
        desk.page.set_viewport_size({"width": across, "height": down})
        assert desk.go(path) in (200, 404)
        desk.page.wait_for_load_state("networkidle")
        assert faults(desk.page) == []
        assert desk.page.evaluate("document.documentElement.classList.contains('dark')") == (shade == "dark")
        assert desk.page.locator("h1").count() == 1
        wide, room = desk.page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert wide <= room, f"{name}: {wide} px on a screen of {room} px"
        picture(desk.page, f"{name}-{width}-{shade}", across)


@pytest.mark.parametrize("shade", SHADES)
def test_the_locked_door_is_readable_too(system: System, browser: Any, shade: str) -> None:
    from tests.operators.desk import Desk

    stranger = Desk.open(browser, str(system.status.api_url), color_scheme=shade)
    for width, (across, down) in WIDTHS.items():
        stranger.page.set_viewport_size({"width": across, "height": down})
        assert stranger.go("/") == 401
        assert faults(stranger.page) == []
        picture(stranger.page, f"login-{width}-{shade}", across)
    stranger.page.context.close()


def faults(page: Any) -> list[tuple[str, str, list[str]]]:
    """What axe-core finds that keeps people out: rule, what it wants, and where."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        (one["id"], one["help"], [str(node["target"]) for node in one["nodes"]])
        for one in found
        if one["impact"] in TOO_BAD
    ]


def picture(page: Any, name: str, across: int) -> None:
    """Keep how a page looks, where somebody wants to have it; of a long list the beginning."""
    if os.environ.get(WRITE) == "1":
        IMAGES.mkdir(parents=True, exist_ok=True)
        down = min(LONGEST, page.evaluate("document.documentElement.scrollHeight"))
        clip = {"x": 0, "y": 0, "width": across, "height": down}
        page.screenshot(path=IMAGES / f"{name}.png", full_page=True, clip=clip)
