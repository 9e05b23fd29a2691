"""Stats as Airflow sends them: a StatsD that listens on loopback, and what a statsd_exporter makes of it."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from otn.settings import ROOT

MAPPING = ROOT / "docs" / "metrics" / "statsd-mapping.yml"
Series = tuple[str, tuple[tuple[str, str], ...]]


@dataclass
class StatsD:
    """A socket that keeps what comes; nothing is lost on loopback as long as the buffer holds it."""

    socket: socket.socket

    @property
    def port(self) -> int:
        return int(self.socket.getsockname()[1])

    def datagrams(self) -> list[str]:
        """All that came since it was asked last."""
        found = []
        while True:
            try:
                found.append(self.socket.recv(65_536).decode())
            except BlockingIOError:
                return found

    def ours(self) -> dict[str, float]:
        """Our gauges, the last of a name."""
        lines = (one.rsplit(":", 1) for one in self.datagrams() if one.startswith("airflow.otn."))
        return {name.removeprefix("airflow."): _gauge(value) for name, value in lines}


def _gauge(value: str) -> float:
    number, kind = value.split("|")
    assert kind == "g", value
    assert number[0] not in "+-", f"{value} is a change, not a value"
    return float(number)


@contextmanager
def listening(monkeypatch: pytest.MonkeyPatch, **settings: str) -> Iterator[StatsD]:
    """Airflow configured for a StatsD on loopback, as its variables do it, and initialised as each task process is."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("127.0.0.1", 0))
        found.setblocking(False)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        there = {"statsd_on": "True", "statsd_host": "127.0.0.1", "statsd_port": str(found.getsockname()[1])}
        with configured(monkeypatch, **there, **settings):
            yield StatsD(found)


@contextmanager
def configured(monkeypatch: pytest.MonkeyPatch, **settings: str) -> Iterator[None]:
    """Airflow's section ``metrics``."""
    for name, value in settings.items():
        monkeypatch.setenv(f"AIRFLOW__METRICS__{name.upper()}", value)
    _initialise()
    yield
    for name in settings:
        monkeypatch.delenv(f"AIRFLOW__METRICS__{name.upper()}")
    _hang_up()
    _initialise()


def _initialise() -> None:
    """As ``airflow.sdk.execution_time.task_runner.main`` does it."""
    from airflow.sdk.observability import stats
    from airflow.sdk.observability.metrics import stats_utils

    stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=True)


def _hang_up() -> None:
    """A task's process ends, and its socket with it; this one goes on."""
    from airflow._shared.observability.metrics import stats as of_core
    from airflow.sdk._shared.observability.metrics import stats as of_tasks

    for one in (of_core, of_tasks):
        client = getattr(one._backend, "statsd", None)
        if client is not None:
            client.close()
            one._backend = None


def mapped(figures: dict[str, float], mapping: Path = MAPPING) -> dict[Series, float]:
    """What Prometheus reads from a statsd_exporter with our mapping: its globs, its tags, its default names."""
    rules = yaml.safe_load(mapping.read_text())["mappings"]
    found: dict[Series, float] = {}
    for name, value in figures.items():
        bare, *tags = f"airflow.{name}".split(",")
        series = _by_rule(rules, bare) or (bare.replace(".", "_"), {})
        labels = {**series[1], **dict(tag.split("=") for tag in tags)}
        key = (series[0], tuple(sorted(labels.items())))
        assert key not in found, f"{name} hides another one"
        found[key] = value
    return found


def _by_rule(rules: list[dict[str, Any]], name: str) -> tuple[str, dict[str, str]] | None:
    for rule in rules:
        parts = [r"([^.]*)" if part == "*" else re.escape(part) for part in rule["match"].split(".")]
        match = re.fullmatch(r"\.".join(parts), name)
        if match:
            labels = {label: match[int(text.removeprefix("$"))] for label, text in rule.get("labels", {}).items()}
            return rule["name"], labels
    return None


def labelled(figures: dict[Series, float], name: str, *tags: str) -> dict[Any, float]:
    """One metric by the values of some of its tags."""
    found = {}
    for (metric, labels), value in figures.items():
        if metric == name:
            values = tuple(dict(labels)[tag] for tag in tags)
            found[values if len(values) > 1 else "".join(values)] = value
    return found
