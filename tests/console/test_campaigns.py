"""The list of campaigns: what it finds, and how it is walked."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from otn.campaign import control
from otn.console import campaigns, figures
from otn.console.campaigns import Search
from tests.console.shop import Shop

Visit = Callable[..., TestClient]


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    get_all = figures.FIGURES.get_all
    monkeypatch.setattr(figures.FIGURES, "get_all", lambda *a, **_: get_all(*a, patience_s=30))


@pytest.fixture
def seller(visit: Visit) -> TestClient:
    return visit("user")


def keys(page: str) -> list[str]:
    return re.findall(r'href="/campaigns/\d+">([^<]+)</a>', page)


def test_an_empty_list_says_what_to_do(visit: Visit) -> None:
    assert "Compose the first one" in visit("user").get("/campaigns").text
    assert "Compose the first one" not in visit("viewer").get("/campaigns").text
    assert "No campaign yet" in visit("viewer").get("/campaigns").text


def test_campaigns_stand_newest_first_with_their_figures(seller: TestClient, shop: Shop) -> None:
    shop.opt_in("restock", 7)
    shop.planned("first")
    shop.campaign("second", topic="sale")
    page = seller.get("/campaigns").text
    assert keys(page) == ["second", "first"]
    first, second = re.findall(r"<tr>\n<th.*?</tr>", page, re.DOTALL)[::-1]
    assert re.findall(r'<td class="num[^>]*>(\S+)</td>', first) == ["7", "0", "0", "0"]
    assert re.findall(r'<td class="num[^>]*>(\S+)</td>', second) == ["-", "-", "-", "-"]


FOUND = {
    "word=SPRING": ["spring-2", "spring-1"],
    "word=%25": [],  # a sign, not a pattern
    "state=scheduled": ["spring-2"],
    "state=cancelled": ["spring-1"],
    "state=under_way": ["autumn"],
    "state=nonsense": ["spring-2", "autumn", "spring-1"],
    "page=messenger_default": ["spring-2", "autumn", "spring-1"],
    "page=other": [],
    "word=spring&state=cancelled&page=messenger_default": ["spring-1"],
    "before=x": ["spring-2", "autumn", "spring-1"],
    "before=99999999999999999999&word=a%00u": ["autumn"],
}


def test_a_search_finds(seller: TestClient, shop: Shop) -> None:
    shop.opt_in("restock", 1)
    control.cancel(shop.engine, shop.campaign("spring-1"), actor="ann")
    shop.planned("autumn")
    shop.campaign("spring-2", topic="sale")
    for query, found in FOUND.items():
        for path in ("/campaigns", "/campaigns/live"):
            answer = seller.get(f"{path}?{query}")
            assert (query, answer.status_code, keys(answer.text)) == (query, 200, found)
            assert ("No campaign fits" in answer.text) is not bool(found)


def test_what_was_searched_for_stays_in_the_form(seller: TestClient, shop: Shop) -> None:
    page = seller.get('/campaigns?word="spring"&state=paused&page=gone').text
    assert 'value="&#34;spring&#34;"' in page
    assert '<option value="paused" selected>' in page
    assert "<option selected>gone</option>" in page
    assert 'data-live="/campaigns/live?page=gone&amp;state=paused&amp;word=%22spring%22"' in page


def test_the_list_is_walked_without_a_gap(seller: TestClient, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaigns, "ROWS", 2)
    for number in range(5):
        shop.campaign(f"spring-{number}")
    seen, path = [], "/campaigns?word=spring"
    for _ in range(5):
        page = seller.get(path).text
        seen.append(keys(page))
        following = re.search(r'href="(/campaigns\?[^"]*)" rel="next"', page)
        if following is None:
            break
        path = following[1].replace("&amp;", "&")
    assert seen == [["spring-4", "spring-3"], ["spring-2", "spring-1"], ["spring-0"]]
    assert 'href="/campaigns?word=spring">Newest' in page


def test_figures_that_are_not_counted_yet_say_so(
    seller: TestClient, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.opt_in("restock", 7)
    shop.planned("first")
    monkeypatch.setattr(figures.FIGURES, "get_all", lambda *_, **__: {})
    page: Any = seller.get("/campaigns")
    assert page.status_code == 200
    assert re.findall(r'<td class="num[^>]*><span class="faint">(\S+)</span></td>', page.text) == ["counting"] * 4


def test_a_search_reads_what_stands_in_an_address() -> None:
    assert Search.of("", "", "", "٣").before is None  # a digit, and none of ours
    assert Search.of("", "", "", "9" * 19).before == 2**63 - 1
    assert Search.of("", "", " x ", "").word == "x"
    assert Search.of("", "", "", "5").query(7) == "before=7"
