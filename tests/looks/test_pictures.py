"""The pictures of docs/images/console: each page in light and dark, wide and on a phone, each shown, together small."""

from __future__ import annotations

import re

from fastapi.routing import APIRoute

from otn.console.app import ROUTERS
from otn.settings import ROOT
from tests.looks.gallery import IMAGES, OF_AIRFLOW, PAGES, PICTURES

MOST_BYTES = 3_000_000  # of all: whoever clones the project gets them
ALL = PICTURES | OF_AIRFLOW
FRAGMENTS = ("/live", "/count")


def test_every_page_has_a_name() -> None:
    paths = [
        route.path
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute) and "GET" in route.methods
    ]
    pages = [path for path in paths if not path.endswith((*FRAGMENTS, ".csv"))]
    known = [address.split("?")[0] for address in PAGES.values()]
    for path in pages:
        shape = re.compile(re.sub(r"\{.*?\}", "[^/]+", path))
        assert any(shape.fullmatch(address) for address in known), f"{path}: give it a name in tests/looks/gallery.py"


def test_the_pictures_are_there_and_small() -> None:
    files = list(IMAGES.glob("*"))
    assert {one.name for one in files} == {f"{name}.webp" for name in ALL}, "make them anew: see CONTRIBUTING.md"
    assert sum(one.stat().st_size for one in files) < MOST_BYTES


def test_every_picture_is_shown() -> None:
    guides = ("README.md", "docs/console.md", "docs/console-pages.md")
    texts = "".join((ROOT / name).read_text(encoding="utf-8") for name in guides)
    assert set(re.findall(r"\]\((?:docs/)?images/console/([\w-]+)\.webp\)", texts)) == ALL
