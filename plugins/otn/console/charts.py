"""Charts as SVG made on the server: nothing to load, and they print. The figures stand in a table beside each."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import pygal
from markupsafe import Markup
from pygal.style import Style

# pygal puts a finder for its maps before every later import, of a kind that Python warns of and then drops (3.12).
sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__name__ != "PluginImportFixer"]

# Told apart by people who see colours otherwise too (the palette of Okabe and Ito).
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#999999")
MOST_SERIES = len(COLOURS)
LEGEND_COLUMNS = 4
LEGEND_ROW = 20  # units of the drawing
MARGIN = 8
_STYLE = Style(
    background="transparent",
    plot_background="transparent",
    foreground="currentColor",
    foreground_strong="currentColor",
    foreground_subtle="currentColor",
    colors=COLOURS,
    font_family="inherit",
    label_font_size=11,
    major_label_font_size=11,
    legend_font_size=12,
    guide_stroke_color="rgba(128, 128, 128, .35)",
    major_guide_stroke_color="rgba(128, 128, 128, .5)",
    opacity=".9",
    transition="0s",
)
_PLAIN = {
    "style": _STYLE,
    "js": (),
    "disable_xml_declaration": True,
    "height": 280,
    "width": 1000,
    "margin": MARGIN,
    "spacing": 8,
    "show_y_guides": True,
    "legend_at_bottom": True,
    "legend_at_bottom_columns": LEGEND_COLUMNS,
    "no_data_text": "",
}


def months_chart(months: Sequence[str], topics: Mapping[str, Sequence[int]]) -> Markup:
    """Stacked bars: how many consents end in which month.

    Args:
        months: as ``2026-11``.
        topics: title to figures, one a month; beyond eight topics the rest stands together.
    """
    shown = _most(topics)
    chart = pygal.StackedBar(**_PLAIN, **_legend(len(shown)))
    chart.x_labels = list(months)
    for name, figures in shown.items():
        chart.add(name, list(figures))
    return _svg(chart)


def times_chart(moments: Sequence[str], figures: Mapping[str, Sequence[int]]) -> Markup:
    """Lines over time.

    Args:
        moments: labels of the axis.
        figures: name to figures, one a moment.
    """
    chart = pygal.Line(
        **_PLAIN,
        show_dots=False,
        fill=True,
        x_labels_major_count=6,
        show_minor_x_labels=False,
        truncate_label=-1,
        include_x_axis=True,
        **_legend(len(figures)),
    )
    chart.x_labels = list(moments)
    for name, values in figures.items():
        chart.add(name, list(values))
    return _svg(chart)


def _legend(series: int) -> dict[str, Any]:
    """Room for it: pygal draws it below what it has left."""
    if series < 2:
        return {"show_legend": False}
    return {"margin_bottom": MARGIN + LEGEND_ROW * -(-series // LEGEND_COLUMNS)}


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


def _svg(chart: Any) -> Markup:
    chart.add_xml_filter(_without_scripts)
    return Markup(chart.render(is_unicode=True))  # noqa: S704 - pygal escapes what it is given
