"""What is shipped beside the metrics names what the code sends, and nothing else; and values of tags."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from otn.settings import ROOT
from otn.watch import labels
from otn.watch.metrics import METRICS, Figure, Metric

FOLDER = ROOT / "docs" / "metrics"
WORDS = {"sum", "max", "by", "absent", "time", "delta", "topk", "or", "label_values"}
BY_NAME = {f"airflow_{one.name.replace('.', '_')}": one for one in METRICS.values()}


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"]
    return list(group["rules"])


def board() -> dict[str, Any]:
    return dict(json.loads((FOLDER / "grafana.json").read_text()))


def panels() -> list[dict[str, Any]]:
    return [one for one in board()["panels"] if one["type"] != "row"]


def asked() -> list[str]:
    """Every expression of rules and dashboard."""
    of_board = [target["expr"] for one in panels() for target in one["targets"]]
    return [one["expr"] for one in rules()] + of_board


def names(expression: str) -> set[str]:
    """Its metrics: words outside of quotes and braces that are no functions."""
    bare = re.sub(r'"[^"]*"', "", expression)
    bare = re.sub(r"by \([^)]*\)|\{[^}]*\}|\[[^\]]*\]", "", bare)
    return set(re.findall(r"[a-zA-Z_][a-zA-Z0-9_]*", bare)) - WORDS


def tags(expression: str) -> set[str]:
    grouped = {tag.strip() for text in re.findall(r"by \(([^)]*)\)", expression) for tag in text.split(",")}
    return grouped | set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expression))


@pytest.mark.parametrize("expression", asked())
def test_an_expression_asks_for_metrics_and_tags_that_there_are(expression: str) -> None:
    found = names(expression)
    assert found
    assert found <= set(BY_NAME)
    known = {tag for name in found for tag in BY_NAME[name].tags}
    assert tags(expression) <= known
    for opening, closing in ("()", "{}", "[]"):
        assert expression.count(opening) == expression.count(closing)
    assert expression.count('"') % 2 == 0


def test_the_dashboard_shows_each_metric_and_the_variable_is_one() -> None:
    shown = {name for one in panels() for target in one["targets"] for name in names(target["expr"])}
    assert shown == set(BY_NAME)
    variables = {one["name"]: one for one in board()["templating"]["list"]}
    assert set(variables) == {"datasource", "page"}
    metric, tag = re.fullmatch(r"label_values\((\w+), (\w+)\)", variables["page"]["definition"]).groups()  # type: ignore[union-attr]
    assert tag in BY_NAME[metric].tags
    assert variables["page"]["query"]["query"] == variables["page"]["definition"]


def test_the_dashboard_is_one_that_grafana_can_lay_out() -> None:
    everything = board()["panels"]
    assert len({one["id"] for one in everything}) == len(everything)
    taken: set[tuple[int, int]] = set()
    for one in everything:
        place = one["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, one["title"]
        taken |= cells
    for one in panels():
        assert one["title"]
        assert one["description"].endswith(".")
        assert [target["refId"] for target in one["targets"]] == list("ABC")[: len(one["targets"])]
        for target in one["targets"]:
            legend = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert legend <= tags(target["expr"]), target


def test_a_rule_says_what_to_do_and_where_it_stands() -> None:
    found = rules()
    assert len({one["alert"] for one in found}) == len(found)
    for one in found:
        assert one["labels"]["severity"] in {"warning", "critical"}
        summary = one["annotations"]["summary"]
        assert summary.count(".") > 1 or ";" in summary, summary  # what it is, and what to do
        grouped = {tag.strip() for text in re.findall(r"by \(([^)]*)\)", one["expr"]) for tag in text.split(",")}
        assert set(re.findall(r"\$labels\.(\w+)", summary)) <= grouped
        path, _, heading = one["annotations"]["runbook"].partition("#")
        text = (ROOT / path).read_text()
        heads = {
            re.sub(r"[^a-z0-9 -]", "", head.lower()).replace(" ", "-") for head in re.findall(r"(?m)^#+ (.+)$", text)
        }
        assert not heading or heading in heads, one["annotations"]["runbook"]


def test_alarms_that_have_an_alert_of_their_own_are_kinds_that_there_are() -> None:
    documented = (ROOT / "docs" / "watching.md").read_text()
    for expression in asked():
        for kinds in re.findall(r'kind(?:=|=~|!~)"([^"]*)"', expression):
            assert [kind for kind in kinds.split("|") if f"`{kind}`" not in documented] == []


def test_the_mapping_gives_each_name_with_tags_its_tags_in_order() -> None:
    found = {
        one["match"]: (one["name"], one["labels"])
        for one in yaml.safe_load((FOLDER / "statsd-mapping.yml").read_text())["mappings"]
    }
    wanted = {
        f"airflow.{one.name}" + ".*" * len(one.tags): (
            f"airflow_{one.name.replace('.', '_')}",
            {tag: f"${place}" for place, tag in enumerate(one.tags, 1)},
        )
        for one in METRICS.values()
        if one.tags
    }
    assert found == wanted


def test_no_two_globs_take_the_same_name() -> None:
    for one in METRICS.values():
        name = Figure(one.name, 1, dict.fromkeys(one.tags, "x")).dotted
        fits = [
            other.name
            for other in METRICS.values()
            if other.tags and re.fullmatch(re.escape(other.name) + r"\.[^.]*" * len(other.tags), name)
        ]
        assert fits == ([one.name] if one.tags else []), name


def test_the_page_about_them_has_the_table() -> None:
    rows = re.findall(r"(?m)^\| `(otn\.[\w.]+)` \| (.*?) \| (.*) \|$", (ROOT / "docs" / "metrics.md").read_text())
    found = [Metric(name, tuple(re.findall(r"`(\w+)`", tagged)), tells) for name, tagged, tells in rows]
    assert found == list(METRICS.values())


@pytest.mark.parametrize(
    ("key", "label"),
    [
        ("restock", "restock"),
        ("Back-in_stock2", "Back-in_stock2"),
        ("a.b", "topic-7"),
        ("a,b=c", "topic-7"),
        ("a:1|c", "topic-7"),
        ("a b", "topic-7"),
        ("é", "topic-7"),
        ("restock\n", "topic-7"),
        ("x" * 65, "topic-7"),
        ("user-7123456789012345", "topic-7"),
        ("sale-20261124", "sale-20261124"),
        ("topic-8", "topic-7"),
        ("other", "topic-7"),
        ("unregistered", "topic-7"),
        ("-", "topic-7"),
    ],
)
def test_a_topic_that_does_not_fit_is_its_number(key: str, label: str) -> None:
    assert labels.topic_label(7, key) == label


@pytest.mark.parametrize(
    ("code", "subcode", "label"),
    [
        (551, None, "551"),
        (10, 2018108, "10-2018108"),
        (551, 4_242_424, "551"),
        (4_242_424, 1, "other"),
        (None, None, "other"),
        (-1, None, "-1"),
    ],
)
def test_codes_are_those_of_the_error_table(code: int | None, subcode: int | None, label: str) -> None:
    assert labels.code_label(code, subcode) == label


def test_a_page_is_its_number_at_facebook() -> None:
    assert labels.page_label(3, "1234567890123456") == "1234567890123456"
    assert labels.page_label(3, "1:2|c") == "page-3"
