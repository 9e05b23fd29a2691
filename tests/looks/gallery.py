"""Which pages the console has, and which pictures of them stand in docs/images/console."""

from __future__ import annotations

import os
from typing import Any

from otn.settings import ROOT

IMAGES = ROOT / "docs" / "images" / "console"
WRITE = "WRITE_IMAGES"
WIDTHS = {"wide": (1280, 1_200), "phone": (390, 1_300)}  # pixels: across, and of a picture at most down
SHADES = ("light", "dark")
# Name of a page, and its address with what the shop has in braces.
PAGES = {
    "home": "/",
    "topics": "/topics",
    "topic": "/topics/{topic}",
    "topic-form": "/topics/new",
    "topic-edit": "/topics/{topic}/edit",
    "topic-adopt": "/topics/{met}/adopt",
    "compose": "/compose?from={spring}",
    "campaigns": "/campaigns",
    "campaign": "/campaigns/{spring}",
    "campaign-sending": "/campaigns/{running}",
    "campaign-waiting": "/campaigns/{waiting}",
    "recipients": "/campaigns/{spring}/recipients",
    "recipient": "/campaigns/{spring}/recipients/{person}",
    "left-out": "/campaigns/{spring}/left-out",
    "people": "/people",
    "person": "/people/{person}",
    "run": "/runs",
    "not-found": "/campaigns/9999",
}
# Each page in one shade and width at least; the busy ones in both.
VIEWS = {
    "home": ("light-wide", "dark-phone"),
    "topics": ("light-wide", "dark-phone"),
    "topic": ("dark-wide",),
    "topic-form": ("light-wide",),
    "topic-edit": ("light-phone",),
    "topic-adopt": ("dark-wide",),
    "compose": ("light-wide", "dark-phone"),
    "campaigns": ("light-wide",),
    "campaign": ("light-wide", "dark-phone"),
    "campaign-sending": ("dark-wide", "light-phone"),
    "campaign-waiting": ("light-wide",),
    "recipients": ("light-wide", "dark-phone"),
    "recipient": ("dark-wide",),
    "left-out": ("light-phone",),
    "people": ("light-wide",),
    "person": ("dark-wide",),
    "run": ("dark-phone",),
    "not-found": ("light-wide",),
}
PICTURES = frozenset(f"{name}-{view}" for name, views in VIEWS.items() for view in views)
OF_AIRFLOW = frozenset({"airflow-light-wide", "airflow-dark-wide"})  # tests/operators makes them


def keep(page: Any, name: str, width: str) -> None:
    """Write a picture, where somebody wants the pictures made; of a long page the beginning.

    Args:
        page: of the browser.
        name: of the picture.
        width: of ``WIDTHS``.
    """
    if os.environ.get(WRITE) != "1":
        return
    across, most = WIDTHS[width]
    down = min(most, page.evaluate("document.documentElement.scrollHeight"))
    IMAGES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=IMAGES / f"{name}.png", full_page=True, clip={"x": 0, "y": 0, "width": across, "height": down})
