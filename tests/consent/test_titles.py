"""Titles: words that Meta may object to are found in many languages, and ordinary titles are left alone."""

from __future__ import annotations

import pytest

from otn.consent.titles import lint


@pytest.mark.parametrize(
    ("title", "words", "grounds"),
    [
        ("Win a FREE gift!", ["win", "free", "gift"], {"incentive"}),
        ("50 % off", ["50 %"], {"incentive"}),
        ("Our daily news", ["daily"], {"recurring"}),
        ("News every  day", ["every day"], {"recurring"}),
        ("Weekly coupons", ["coupons", "weekly"], {"incentive", "recurring"}),
        ("Täglich Rabatte", ["rabatte", "taglich"], {"incentive", "recurring"}),
        ("TAGLICH", ["taglich"], {"recurring"}),
        ("Cadeau gratuit", ["cadeau", "gratuit"], {"incentive"}),
        ("Bon d’achat", ["bon d'achat"], {"incentive"}),  # noqa: RUF001 - as phones write it
        ("Boletín semanal", ["boletin", "semanal"], {"recurring"}),
        ("Desconto todo mês", ["desconto", "todo mes"], {"incentive", "recurring"}),
        ("İNDİRİM", ["indirim"], {"incentive"}),
        ("Скидки каждый день", ["скидки", "каждыи день"], {"incentive", "recurring"}),
        ("Giảm giá", ["giam gia"], {"incentive"}),
        ("هدية كل يوم", ["هدية", "كل يوم"], {"incentive", "recurring"}),
        ("מבצע: הנחה", ["הנחה"], {"incentive"}),
        ("मुफ्त उपहार", ["मुफ्त", "उपहार"], {"incentive"}),
        ("รับส่วนลดทุกวัน", ["ส่วนลด", "ทุกวัน"], {"incentive", "recurring"}),
        ("新品每周折扣", ["折扣", "每周"], {"incentive", "recurring"}),
        ("毎日のクーポン", ["クーポン", "毎日"], {"incentive", "recurring"}),
        ("ｸｰﾎﾟﾝ", ["クーポン"], {"incentive"}),
        ("매일 할인", ["할인", "매일"], {"incentive", "recurring"}),
    ],
)
def test_words_are_found(title, words, grounds):
    found = lint(title)
    assert [finding.word for finding in found] == words
    assert {finding.ground for finding in found} == grounds
    assert all(finding.why for finding in found)


@pytest.mark.parametrize(
    "title",
    [
        *("", "Back in stock", "Winter collection", "The window is open", "Freedom concert", "Order 4711 was shipped"),
        *("When registration opens", "Der neue Roman erscheint", "Nueva temporada", "Nova coleção", "再入荷", "재입고"),
        *("Rabat city tour", "Para ti", "100% wool is back"[4:], "Carpaccio", "Presentation at 5", "Новая коллекция"),
    ],
)
def test_ordinary_titles_are_left_alone(title):
    assert lint(title) == []


def test_a_hostile_title_is_read_at_once():
    assert lint("every " * 20_000) == []
    assert len(lint("free " * 20_000)) == 1
