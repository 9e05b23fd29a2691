"""Who has no mouse, a thumb, or a sheet of paper."""

from __future__ import annotations

from typing import Any

import pytest

from tests.looks.gallery import PAGES

SMALLEST = 24  # pixels: WCAG 2.2, target size
SMALL = """least => [...document.querySelectorAll('main :is(button, .button, input, select, summary), .bar a')]
  .map(one => [one, one.getBoundingClientRect()])
  .filter(([one, box]) => box.width && (box.height < least || box.width < least) && !one.closest('label'))
  .map(([one, box]) => `${one.outerHTML.slice(0, 80)} ${box.width}x${box.height}`)"""
HEIGHTS = """() => [...document.querySelectorAll('.chart svg text')]
  .map(one => one.getBoundingClientRect().height).filter(Boolean)"""
# What has the focus, where it is, and whether a ring is drawn about it.
FOCUS = """() => {
  const one = document.activeElement, box = one.getBoundingClientRect(), style = getComputedStyle(one);
  return {what: one.tagName, text: one.innerText?.trim(),
          ring: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2,
          seen: box.width > 0 && box.height > 0 && box.bottom > 0 && box.top < innerHeight};
}"""


@pytest.mark.parametrize("name", ["home", "compose", "campaign-sending", "recipients", "person", "topics"])
def test_a_thumb_meets_what_it_aims_at(page: Any, site: Any, name: str) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(site.address(PAGES[name]))
    assert page.evaluate(SMALL, SMALLEST) == []


@pytest.mark.parametrize("name", ["campaign-sending", "compose"])
def test_tab_leads_everywhere_and_is_seen(page: Any, site: Any, name: str) -> None:
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto(site.address(PAGES[name]))
    page.wait_for_load_state("networkidle")
    page.keyboard.press("Tab")
    assert page.evaluate(FOCUS)["text"] == "To the content"
    steps = []
    for _ in range(60):
        page.keyboard.press("Tab")
        steps.append(page.evaluate(FOCUS))
        if steps[-1]["what"] == "BODY":
            break
    met = [step for step in steps if step["what"] != "BODY"]
    assert [step for step in met if not (step["ring"] and step["seen"])] == []
    wanted = {"campaign-sending": {"Pause", "Cancel…", "Recipients"}, "compose": {"Start …", "Personal fields"}}[name]
    assert wanted <= {step["text"] for step in met}


def test_the_keys_alone_pause_and_cancel(page: Any, site: Any) -> None:
    page.goto(site.address("/campaigns/{pressed}"))
    page.locator("#pause").focus()
    page.keyboard.press("Enter")
    page.get_by_text("Paused. Calls under way end").wait_for()
    page.locator("#cancel > summary").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.type("It rains.")
    page.keyboard.press("Enter")
    page.get_by_text("Cancelled. Whoever waited was given up").wait_for()


def test_on_paper_the_report_stands_alone(page: Any, site: Any) -> None:
    page.goto(site.address("/campaigns/{spring}"))
    page.evaluate("document.documentElement.classList.add('dark')")
    page.emulate_media(media="print")
    try:
        assert page.get_by_role("table", name="How many came how far").is_visible()
        assert page.locator(".chart svg").first.is_visible()
        for one in (".bar", ".actions", "main .button"):
            assert not page.locator(one).first.is_visible(), one
        assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
    finally:
        page.emulate_media(media="screen")


def test_labels_of_a_chart_can_be_read_at_any_width(page: Any, site: Any) -> None:
    for name in ("home", "campaign"):
        page.goto(site.address(PAGES[name]))
        for across in (360, 1280):
            page.set_viewport_size({"width": across, "height": 800})
            heights = page.evaluate(HEIGHTS)
            assert heights, "one of the two drawings shows"
            assert min(heights) >= 10, f"{name} at {across} px"


def test_what_stands_beside_a_campaign_follows_it(page: Any, site: Any) -> None:
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto(site.address("/campaigns/{waiting}"))
    page.evaluate("document.querySelector('#about').innerHTML = '<dt>Old</dt><dd>figures</dd>'")
    page.evaluate("refresh(document.querySelector('#about'))")
    page.locator("#about").get_by_text("Approval").wait_for()
