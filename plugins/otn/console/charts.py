"""Charts as SVG made on the server: nothing to load, and they print. The figures stand in a table beside each."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from functools import lru_cache
from typing import Any, NamedTuple

import pygal
from markupsafe import Markup
from pygal.style import Style

# pygal puts a finder for its maps before every later import, of a kind that Python warns of and then drops (3.12).
sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__name__ != "PluginImportFixer"]

# Told apart by people who see colours otherwise too (the palette of Okabe and Ito).
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#999999")
MOST_SERIES = len(COLOURS)
TICKS = 4  # of the upright axis, about
MARGIN = 8
MOST_KEPT = 100  # drawings of each kind: the same figures are the same picture, and it takes a tenth of a second
_MONTH = {"broad": "%b %Y", "narrow": "%b"}


Fixed = tuple[tuple[str, tuple[int, ...]], ...]  # series that a drawing may be kept by


class Size(NamedTuple):
    """Of a drawing, in units that are pixels where it is shown: writing shrinks with a drawing that does not fit.

    Args:
        name: class of its frame; the style shows one of the two.
        width: of the whole.
        height: of the whole.
        moments: labels for which the axis of a line over time has room.
    """

    name: str
    width: int
    height: int
    moments: int


NARROW = Size("narrow", 360, 220, 3)
WHOLE = (Size("broad", 1_100, 260, 0), NARROW)
COLUMN = (Size("broad", 700, 230, 6), NARROW)
_STYLE = Style(
    background="transparent",
    plot_background="transparent",
    foreground="currentColor",
    foreground_strong="currentColor",
    foreground_subtle="currentColor",
    colors=COLOURS,
    font_family="inherit",
    label_font_size=12,
    major_label_font_size=12,
    guide_stroke_color="rgba(128, 128, 128, .35)",
    major_guide_stroke_color="rgba(128, 128, 128, .5)",
    opacity=".9",
    transition="0s",
)
_PLAIN = {
    "style": _STYLE,
    "js": (),
    "disable_xml_declaration": True,
    "margin": MARGIN,
    "margin_right": 3 * MARGIN,  # the last label is wider than its bar
    "truncate_label": -1,
    "spacing": 8,
    "show_y_guides": True,
    "show_legend": False,  # it stands below, where it wraps and can be read at any width
    "value_formatter": "{:,.0f}".format,
    "no_data_text": "",
}


def months_chart(months: Sequence[str], topics: Mapping[str, Sequence[int]]) -> Markup:
    """Stacked bars: how many consents end in which month.

    Args:
        months: as ``2026-11``.
        topics: title to figures, one a month; beyond eight topics the rest stands together.
    """
    return _months_chart(tuple(months), _fixed(_most(topics))) if topics else Markup("")


@lru_cache(MOST_KEPT)
def _months_chart(months: tuple[str, ...], topics: Fixed) -> Markup:
    shown = dict(topics)
    top = max(sum(month) for month in zip(*shown.values(), strict=True))
    drawings = []
    for size in WHOLE:
        chart = pygal.StackedBar(**_PLAIN, width=size.width, height=size.height, y_labels=ticks(top))
        chart.x_labels = [date.fromisoformat(f"{month}-01").strftime(_MONTH[size.name]) for month in months]
        drawings.append(_drawing(chart, size, shown))
    return Markup("").join([*drawings, _legend(shown)])


def times_chart(moments: Sequence[str], figures: Mapping[str, Sequence[int]]) -> Markup:
    """Bars over time, in the column of a page.

    Args:
        moments: labels of the axis.
        figures: name to figures, one a moment.
    """
    return _times_chart(tuple(moments), _fixed(figures))


@lru_cache(MOST_KEPT)
def _times_chart(moments: tuple[str, ...], series: Fixed) -> Markup:
    figures = dict(series)
    top = max((max(values, default=0) for values in figures.values()), default=0)
    drawings = []
    for size in COLUMN:
        chart = pygal.Bar(
            **_PLAIN,
            width=size.width,
            height=size.height,
            y_labels=ticks(top),
            series_margin=0,
            x_labels_major_count=size.moments,
            show_minor_x_labels=False,
        )
        chart.x_labels = list(moments)
        drawings.append(_drawing(chart, size, figures))
    return Markup("").join([*drawings, _legend(figures)])


def ticks(top: int) -> list[int]:
    """Round whole figures from nothing to the top, or a little above it: people are not divided.

    Args:
        top: the greatest figure.
    """
    least = max(top, 1) / TICKS
    unit = 10 ** max(0, math.floor(math.log10(least)))
    step = next(unit * round_one for round_one in (1, 2, 5, 10) if unit * round_one >= least)
    return [step * place for place in range(-(-max(top, 1) // step) + 1)]


def _fixed(series: Mapping[str, Sequence[int]]) -> Fixed:
    return tuple((name, tuple(figures)) for name, figures in series.items())


def _drawing(chart: Any, size: Size, series: Mapping[str, Sequence[int]]) -> Markup:
    for name, figures in series.items():
        chart.add(name, list(figures))
    chart.add_xml_filter(_without_scripts)
    drawn = Markup(chart.render(is_unicode=True))  # noqa: S704 - pygal escapes what it is given
    return Markup('<div class="{}">{}</div>').format(size.name, drawn)


def _legend(series: Mapping[str, Sequence[int]]) -> Markup:
    """Names beside their colours; one alone needs none."""
    if len(series) < 2:
        return Markup("")
    lines = Markup("").join(
        Markup('<li><span class="swatch" style="background: {}"></span><bdi>{}</bdi></li>').format(colour, name)
        for colour, name in zip(COLOURS, series, strict=False)
    )
    return Markup('<ul class="legend">{}</ul>').format(lines)


def _most(topics: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
    ranked = sorted(topics.items(), key=lambda one: -sum(one[1]))
    kept = {name: list(figures) for name, figures in ranked[: MOST_SERIES - (len(ranked) > MOST_SERIES)]}
    if rest := ranked[len(kept) :]:
        kept[f"{len(rest)} more"] = [sum(month) for month in zip(*(figures for _, figures in rest), strict=True)]
    return kept


def _without_scripts(root: Any) -> Any:
    """Take out the settings of a script that is not loaded."""
    for parent in root.iter():
        for child in [one for one in parent if str(one.tag).endswith("script")]:
            parent.remove(child)
    return root
