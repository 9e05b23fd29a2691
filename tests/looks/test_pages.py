"""Every page of the console: axe-core finds nothing in light and dark, wide and on a phone; and its picture is kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.looks.gallery import PAGES, SHADES, WIDTHS, keep

AXE = "axe.run({resultTypes: ['violations']}).then(found => found.violations)"
FITS = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
# Forms that were sent with something wrong in them: path, and what was typed.
WRONG_FORMS = {
    "topic": ("/topics/new", {"page": "messenger_default", "title": "x" * 90, "key": "a b"}),
    "compose": (
        "/compose",
        {"do": "start", "page": "messenger_default", "topic": "restock", "campaign": "", "text": "{{ oops"},
    ),
    "cancel": ("/campaigns/{running}/cancel", {"reason": ""}),
    "people": ("/people", {"text": "x"}),
    "erase": ("/people/{person}/erase", {"number": "1", "reason": ""}),
}
UNUSUAL = {
    "a topic whose title is read from the right": "/topics/{foreign}",
    "a payload that nobody registered": "/topics/{met}",
    "a filter that cannot be used": "/campaigns/{spring}/recipients?state=gone&code=abc",
    "a list in which nothing is found": "/campaigns?word=nothing",
    "a campaign of which half was given up": "/campaigns/{cancelled}",
}
AT_FIRST = ("home", "topics", "topic-form", "compose", "campaigns", "people")


@pytest.fixture
def window(page: Any) -> Iterator[Any]:
    """The window, and what it complained of: of a script or a style that the content policy refuses, too."""
    said: list[str] = []

    def hear(one: Any) -> None:
        if one.type == "error" and "Failed to load resource" not in one.text:  # that is an answer other than 200
            said.append(one.text)

    page.on("console", hear)
    yield page
    page.remove_listener("console", hear)
    assert said == []


def faults(page: Any) -> list[tuple[str, str, list[str]]]:
    """What axe-core finds, however slight: rule, what it wants, and where."""
    return [(one["id"], one["help"], [str(node["target"]) for node in one["nodes"]]) for one in page.evaluate(AXE)]


def look(page: Any, name: str = "", shades: tuple[str, ...] = SHADES) -> None:
    """Look at the page that is open, in each shade and width."""
    from axe_playwright_python.base import AXE_SCRIPT

    page.wait_for_load_state("networkidle")
    page.evaluate(AXE_SCRIPT)
    assert page.locator("h1").count() == 1
    for width, (across, _) in WIDTHS.items():
        page.set_viewport_size({"width": across, "height": 844})
        page.evaluate("new Promise(requestAnimationFrame)")  # the page hears of its new size before it is drawn
        wide, room = page.evaluate(FITS)
        assert wide <= room, f"{wide} px on a screen of {room} px"
        for shade in shades:
            page.evaluate("dark => document.documentElement.classList.toggle('dark', dark)", shade == "dark")
            assert faults(page) == [], f"{shade}, {width}"
            if name:
                keep(page, f"{name}-{shade}-{width}", width)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_readable_by_everybody(window: Any, site: Any, name: str) -> None:
    window.goto(site.address(PAGES[name]))
    look(window, name)


@pytest.mark.parametrize("name", UNUSUAL)
def test_what_is_unusual_fits_too(window: Any, site: Any, name: str) -> None:
    window.goto(site.address(UNUSUAL[name]))
    look(window, shades=("dark",))


@pytest.mark.parametrize("name", AT_FIRST)
def test_an_installation_that_has_nothing_says_what_to_do(window: Any, site: Any, name: str) -> None:
    window.goto(site.address(PAGES[name].split("?")[0], "new"))
    look(window, shades=("light",))
    if name not in ("topic-form", "people"):
        assert window.locator(".empty").count() > 0


@pytest.mark.parametrize("name", WRONG_FORMS)
def test_a_form_that_cannot_be_taken_is_readable(window: Any, site: Any, name: str) -> None:
    path, typed = WRONG_FORMS[name]
    window.goto(site.address("/people"))
    with window.expect_navigation() as sent:
        window.evaluate(SEND, [site.address(path), typed])
    assert sent.value.status == 422
    look(window, shades=("dark",))
    assert window.locator("[role=alert]").is_visible()
    assert window.locator("[aria-invalid=true]").first.is_visible()


SEND = """([action, typed]) => {
  const form = document.createElement("form");
  form.method = "post";
  form.action = action;
  for (const [name, value] of Object.entries(typed)) {
    const field = document.createElement("input");
    field.name = name;
    field.value = value;
    form.append(field);
  }
  document.body.append(form);
  form.submit();
}"""
