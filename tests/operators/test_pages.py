"""The console where people meet it: in Airflow's frame, in Airflow's colours, and at the locked door."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.looks.gallery import SHADES, keep
from tests.operators.story import Story
from tests.system.machinery import System

pytestmark = [pytest.mark.system, pytest.mark.timeout(600), pytest.mark.usefixtures("story")]

FRAME = "iframe"


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


def test_airflow_frames_it_in_its_own_colours(desk: Any, system: System, shade: str) -> None:
    desk.page.goto(f"{system.status.api_url}/plugin/otn")
    inside = desk.page.frame_locator(FRAME)
    inside.get_by_role("heading", name="Lately ended").wait_for()
    assert inside.locator("html.dark").count() == (shade == "dark")
    box = desk.page.locator(FRAME).bounding_box()
    assert box["y"] + box["height"] >= 0.97 * desk.page.viewport_size["height"], "it fills the frame"
    inside.locator(".chart svg").first.wait_for()
    keep(desk.page, f"airflow-{shade}-wide", "wide")


def test_a_run_has_its_campaign_beside_it(desk: Any, system: System, story: Story) -> None:
    run = story.asked["spring"]["task_instance"]["dag_run_id"]
    desk.page.goto(f"{system.status.api_url}/dags/otn_broadcast/runs/{run}/plugin/otn_campaign")
    desk.page.frame_locator(FRAME).get_by_role("heading", name="spring", exact=True).wait_for()


def test_the_locked_door_is_readable_too(system: System, browser: Any, shade: str) -> None:
    from tests.looks.test_pages import look
    from tests.operators.desk import Desk

    stranger = Desk.open(browser, str(system.status.api_url), color_scheme=shade)
    assert stranger.go("/") == 401
    look(stranger.page, shades=(shade,))
    stranger.page.context.close()
