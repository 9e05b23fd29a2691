"""Which pages the console has, and which pictures of them stand in docs/images/console."""

from __future__ import annotations

import base64
import os
from typing import Any

from otn.settings import ROOT

IMAGES = ROOT / "docs" / "images" / "console"
WRITE = "WRITE_IMAGES"
QUALITY = 70  # per cent; below it letters blur
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
PICTURES = frozenset(f"{name}-{shade}-{width}" for name in PAGES for shade in SHADES for width in WIDTHS)
OF_AIRFLOW = frozenset({"airflow-light-wide", "airflow-dark-wide"})  # tests/operators makes them


def keep(page: Any, name: str, width: str) -> None:
    """Write a picture, where somebody wants the pictures made; of a long page the beginning.

    WebP, which Playwright cannot ask for, takes a third of a PNG's room.

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
    clip = {"x": 0, "y": 0, "width": across, "height": down, "scale": 1}
    chromium = page.context.new_cdp_session(page)
    made = chromium.send(
        "Page.captureScreenshot", {"format": "webp", "quality": QUALITY, "clip": clip, "captureBeyondViewport": True}
    )
    chromium.detach()
    (IMAGES / f"{name}.webp").write_bytes(base64.b64decode(made["data"]))
