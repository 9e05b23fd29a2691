"""The pictures of docs/images/console: one of each page at least, each shown somewhere, none too many."""

from __future__ import annotations

import re

from fastapi.routing import APIRoute

from otn.console.app import ROUTERS
from otn.settings import ROOT
from tests.looks.gallery import IMAGES, OF_AIRFLOW, PAGES, PICTURES

MOST_BYTES = 3_000_000  # of all: whoever clones the project gets them
ALL = PICTURES | OF_AIRFLOW
FRAGMENTS = ("/live", "/count")


def test_every_page_has_a_name_and_a_picture() -> None:
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
    for name in PAGES:
        assert any(re.fullmatch(rf"{name}-(light|dark)-(wide|phone)", one) for one in PICTURES), (
            f"{name} has no picture"
        )


def test_the_pictures_are_there_and_small() -> None:
    files = list(IMAGES.glob("*"))
    assert {one.name for one in files} == {f"{name}.png" for name in ALL}, "make them anew: see CONTRIBUTING.md"
    assert sum(one.stat().st_size for one in files) < MOST_BYTES


def test_every_picture_is_shown() -> None:
    readme, guide = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/console.md"))
    shown = set(re.findall(r"docs/images/console/([\w-]+)\.png", readme)) | set(
        re.findall(r"\]\(images/console/([\w-]+)\.png", guide)
    )
    assert shown == ALL
