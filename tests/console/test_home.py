"""What stands on the first page."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from fastapi.testclient import TestClient

Visit = Callable[..., TestClient]


def test_an_empty_installation_says_what_to_do(visit: Visit) -> None:
    page = visit("user").get("/").text
    assert "No page is registered yet" in page
    assert "Compose the first one" in page
    assert "No consent is in stock" in page
    assert "Compose the first one" not in visit("viewer").get("/").text


def test_the_stock_stands_by_the_month_in_which_it_ends(visit: Visit, shop: Any) -> None:
    shop.opt_in("restock", 3, ends_in="10 days")
    shop.opt_in("restock", 2, ends_in="100 days")
    shop.opt_in("sale", 1, ends_in="365 days")
    page = visit("viewer").get("/").text
    assert re.search(r"Back in stock.*?<strong>5</strong>", page, re.DOTALL)
    assert re.search(r"Sale.*?<strong>1</strong>", page, re.DOTALL)
    assert "<svg" in page
    assert "<script" not in page.split("<svg", 1)[1].split("</svg>", 1)[0]


def test_a_title_is_text_and_never_markup(visit: Visit, shop: Any, write: Callable[..., Any]) -> None:
    write("UPDATE otn.topic SET title = '<script>alert(1)</script>'")
    shop.opt_in("restock", 1, ends_in="10 days")
    assert "<script>alert" not in visit("viewer").get("/").text


def test_a_halted_page_and_an_alarm_are_seen_at_once(visit: Visit, shop: Any, write: Callable[..., Any]) -> None:
    write("UPDATE otn.page SET halted_at = now(), halt_reason = 'the token was refused'")
    assert "Nothing is sent: the token was refused" in visit("viewer").get("/live").text
